/** Reads files with readFile of bun-uring/promises. */
import fs from "bun-uring/promises";
import { consume, inFile } from "./consumers.ts";
import { inLanes, serveFiles } from "./files.ts";

await serveFiles((paths) => inLanes(paths, async (path) => consume(await fs.readFile(path))), inFile);
