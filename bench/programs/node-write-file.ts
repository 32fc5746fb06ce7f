/** Writes files with writeFile of node:fs/promises. */
import { writeFile } from "node:fs/promises";
import { content, serveWrites } from "./written.ts";

await serveWrites((path) => writeFile(path, content));
