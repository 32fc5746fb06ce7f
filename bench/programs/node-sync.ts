/** Blocks through node:fs, one after the other. */
import { openSync, readSync, writeSync } from "node:fs";
import { BufferPool } from "bun-uring";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, openFlags, Positions } from "./transfers.ts";

const fd = openSync(job.path, openFlags);
const positions = new Positions();
// Of a pool for its alignment, which O_DIRECT wants.
const { bytes } = await new BufferPool({ count: 1, size: job.blockBytes }).acquire();

await serveRounds((operations) => {
  for (let operation = 0; operation < operations; operation++) {
    const position = positions.next();
    checkResult(job.isWrite ? writeSync(fd, bytes, 0, job.blockBytes, position) : readSync(fd, bytes, 0, job.blockBytes, position));
  }
});
