/** Like ring.ts, but in batches of `job.depth` blocks, with one promise for each batch. */
import { BufferPool, Ring } from "bun-uring";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, openFlags, Positions } from "./transfers.ts";

const pool = new BufferPool({ count: job.depth, size: job.blockBytes });
const ring = new Ring({ pool });
const file = await ring.open(job.path, openFlags);
const slots = await Promise.all(Array.from({ length: job.depth }, () => pool.acquire()));
const positions = new Positions();
const batch = ring.batch();

await serveRounds(async (operations) => {
  for (let left = operations; left > 0; left -= batch.size) {
    batch.clear();
    for (const slot of slots) {
      if (batch.size === left) break;
      if (job.isWrite) batch.writeFixed(file, slot, positions.next());
      else batch.readFixed(file, slot, positions.next());
    }
    for (const result of await batch.submit()) checkResult(result);
  }
});
