/** Writes the table to the README, between its two comments that mark the place. */
import { readFileSync, writeFileSync } from "node:fs";

const readme = new URL("../../README.md", import.meta.url).pathname;
const begin = "<!-- npm run test:compat -- --readme -->\n";
const end = "<!-- end of the table -->\n";

export function writeToReadme(table: string): void {
  const text = readFileSync(readme, "utf8");
  const start = text.indexOf(begin);
  const stop = text.indexOf(end);
  if (start === -1 || stop < start) throw new Error(`compat: ${readme} has no place for the table`);
  writeFileSync(readme, `${text.slice(0, start + begin.length)}\n${table}\n${text.slice(stop)}`);
}
