/** Reads files with readFile of node:fs/promises. */
import { readFile } from "node:fs/promises";
import { consume, inFile } from "./consumers.ts";
import { inLanes, serveFiles } from "./files.ts";

await serveFiles((paths) => inLanes(paths, async (path) => consume(await readFile(path))), inFile);
