/** Reads files with Ring.readFile. */
import { Ring } from "bun-uring";
import { consume, inFile } from "./consumers.ts";
import { inLanes, serveFiles } from "./files.ts";
import { pool } from "./shared-pool.ts";

const ring = new Ring({ pool });

await serveFiles((paths) => inLanes(paths, async (path) => consume(await ring.readFile(path))), inFile);
