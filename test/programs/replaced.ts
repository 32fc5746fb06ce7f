/**
 * Uses the library while globals are replaced, and when they are back: replaced.ts WHAT WHEN FOLDER. The library is loaded `before` they are replaced or `after`. Prints each part that
 * came to its end.
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
