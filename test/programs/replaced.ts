/**
 * Uses the library while globals are replaced, and again after they are restored: replaced.ts WHAT WHEN FOLDER. WHEN
 * says whether the library is loaded `before` or `after` the replacement. Prints each part that finished.
 */
import { writeSync } from "node:fs";
import { exercise } from "../support/exercise.ts";
import { replacements } from "../support/replacements.ts";

const [what = "", when = "", folder = ""] = process.argv.slice(2);
const { exit } = process;
const say = (line: string) => writeSync(1, `${line}\n`);
const replacement = replacements[what];
if (replacement === undefined) throw new Error(`there is no ${what}`);
const early = when === "before" ? await import("bun-uring") : undefined;
replacement.replace();
try {
  const library = early ?? (await import("bun-uring"));
  await exercise(library, folder, (name) => say(`during: ${name}`));
  await replacement.restore();
  await exercise(library, folder, (name) => say(`after: ${name}`));
} catch (error) {
  say(`${error instanceof Error ? error.stack : error}`);
}
exit();
