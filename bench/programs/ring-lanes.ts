/** Reads or writes blocks through a Ring, with one promise per block. */
import type { BufferPool, Ring, RingFile } from "bun-uring";
import { checkResult, job, type Positions } from "./transfers.ts";

/** Returns the function that runs one of `job.depth` lanes. Each lane has its own slot. */
export async function laneOf(ring: Ring, file: RingFile, pool: BufferPool, positions: Positions) {
  const buffers = await Promise.all(Array.from({ length: job.depth }, () => pool.acquire()));
  return async (index: number, operations: number): Promise<void> => {
    const buffer = buffers[index];
    if (buffer === undefined) throw new Error(`no buffer ${index}`);
    for (let operation = 0; operation < operations; operation++) {
      const options = { position: positions.next() };
      checkResult(await (job.isWrite ? ring.writeFixed(file, buffer, options) : ring.readFixed(file, buffer, options)));
    }
  };
}
