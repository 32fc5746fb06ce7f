/**
 * Sets up a RawRing like the ring of bench/c/transfer.c. The file is registered at index 0. Each lane has its own part
 * of the only buffer.
 */
import { openSync } from "node:fs";
import { BufferPool, constants, RawRing } from "bun-uring";
import { job, openFlags } from "./transfers.ts";

const { IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER } = constants;

const pool = new BufferPool({ count: 1, size: job.depth * job.blockBytes });
const buffer = await pool.acquire();
export const ring = new RawRing({
  entries: 256,
  cqEntries: 4096,
  flags: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
});
ring.registerBuffers([buffer.bytes]);
ring.registerFiles([openSync(job.path, openFlags)]);
export const lanes = Array.from({ length: job.depth }, (_, lane) =>
  buffer.bytes.subarray(lane * job.blockBytes, (lane + 1) * job.blockBytes),
);
