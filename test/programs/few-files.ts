/**
 * Runs with a limit on open files that is lower than the number of entries in a registered file table. Opens 40 files
 * and reads them.
 */
import { Ring } from "bun-uring";
import { limitOpenFiles } from "../support/restrictions.ts";

limitOpenFiles(60);
const ring = new Ring();
const files = await Promise.all(Array.from({ length: 40 }, () => ring.open(import.meta.path)));
const contents = await Promise.all(files.map((file) => file.readFile("utf8")));
await Promise.all(files.map((file) => file.close()));
console.log(
  `${contents.filter((content) => content === contents[0] && content.includes("limitOpenFiles")).length} files read`,
);
