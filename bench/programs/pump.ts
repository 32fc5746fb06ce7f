/** Like ring.ts, but through a pump, without a promise for each block. */
import { BufferPool, Ring } from "bun-uring";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, openFlags, Positions } from "./transfers.ts";

const pool = new BufferPool({ count: job.depth, size: job.blockBytes });
const ring = new Ring({ pool });
const file = await ring.open(job.path, openFlags);
const slots = await Promise.all(Array.from({ length: job.depth }, () => pool.acquire()));
const positions = new Positions();

await serveRounds(async (operations) => {
  let left = operations;
  await ring.pump(
    (lane, result) => {
      if (result !== undefined) checkResult(result);
      const slot = slots[lane.index];
      if (slot === undefined || left === 0) return;
      left--;
      if (job.isWrite) lane.writeFixed(file, slot, positions.next());
      else lane.readFixed(file, slot, positions.next());
    },
    { depth: job.depth },
  );
});
