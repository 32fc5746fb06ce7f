/**
 * `bun-uring/promises`: all of node:fs/promises, some of it faster. `readFile`, `writeFile` and `appendFile` go through
 * an io_uring of the thread's own, where the kernel has one; everything else, and every unusual argument, is node:fs's
 * own. A program needs to change nothing but its import:
 *
 * ```ts
 * import fs from "bun-uring/promises";
 * ```
 *
 * @module
 */
import node from "node:fs/promises";
import { nodePromises } from "./index.ts";

export * from "node:fs/promises";
export const { readFile, writeFile, appendFile } = nodePromises;
export default { ...node, readFile, writeFile, appendFile };
