/** Reads or writes blocks sequentially through the synchronous functions of node:fs. */
import { openSync, readSync, writeSync } from "node:fs";
import { BufferPool } from "bun-uring";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, openFlags, Positions } from "./transfers.ts";

const fd = openSync(job.path, openFlags);
const positions = new Positions();
// O_DIRECT needs aligned memory, which a pool provides.
const { bytes } = await new BufferPool({ count: 1, size: job.blockBytes }).acquire();

await serveRounds((operations) => {
  for (let operation = 0; operation < operations; operation++) {
    const position = positions.next();
    checkResult(
      job.isWrite
        ? writeSync(fd, bytes, 0, job.blockBytes, position)
        : readSync(fd, bytes, 0, job.blockBytes, position),
    );
  }
});
