/** Reads files with Ring.readFiles. */
import { Ring } from "bun-uring";
import { consume, inFile } from "./consumers.ts";
import { serveFiles } from "./files.ts";
import { pool } from "./shared-pool.ts";

const ring = new Ring({ pool });

await serveFiles(async (paths) => {
  let sum = 0;
  for await (const { bytes, error } of ring.readFiles(paths)) {
    if (bytes === undefined) throw error;
    sum += consume(bytes);
  }
  return sum;
}, inFile);
