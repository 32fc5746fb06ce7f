/** Reads files one after the other with readFileSync. */
import { readFileSync } from "node:fs";
import { consume, inFile } from "./consumers.ts";
import { serveFiles } from "./files.ts";

await serveFiles((paths) => {
  let sum = 0;
  for (const path of paths) sum += consume(readFileSync(path));
  return sum;
}, inFile);
