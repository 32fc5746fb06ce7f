/** Reads or writes blocks through node:fs/promises. */
import { open } from "node:fs/promises";
import { BufferPool } from "bun-uring";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, openFlags, Positions, runLanes } from "./transfers.ts";

const file = await open(job.path, openFlags);
const positions = new Positions();
// O_DIRECT needs aligned memory, which a pool provides.
const pool = new BufferPool({ count: job.depth, size: job.blockBytes });
const buffers = await Promise.all(Array.from({ length: job.depth }, () => pool.acquire()));

await serveRounds((operations) =>
  runLanes(operations, job.depth, async (index, count) => {
    const bytes = buffers[index]?.bytes;
    if (bytes === undefined) throw new Error(`no buffer ${index}`);
    for (let operation = 0; operation < count; operation++) {
      const position = positions.next();
      if (job.isWrite) checkResult((await file.write(bytes, 0, job.blockBytes, position)).bytesWritten);
      else checkResult((await file.read(bytes, 0, job.blockBytes, position)).bytesRead);
    }
  }),
);
