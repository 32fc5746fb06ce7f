/** Writes a file by bun-uring/promises and reads it, for a test that bundles this program. Argument: the file. */

import * as names from "bun-uring/promises";
import fs, { readFile, stat } from "bun-uring/promises";

const [path = ""] = process.argv.slice(2);
await fs.writeFile(path, "written by a bundle");
const { size } = await stat(path);
console.log(await readFile(path, "utf8"), size, typeof names.appendFile);
