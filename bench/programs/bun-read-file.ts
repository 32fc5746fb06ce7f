/** Reads files with Bun.file(path).bytes(). */
import { consume, inFile } from "./consumers.ts";
import { inLanes, serveFiles } from "./files.ts";

await serveFiles((paths) => inLanes(paths, async (path) => consume(await Bun.file(path).bytes())), inFile);
