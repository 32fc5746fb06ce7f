/** Blocks through RawRing: what bench/c/transfer.c does, in the same order. */
import { openSync } from "node:fs";
import { BufferPool, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER, IOSQE_FIXED_FILE, RawRing } from "bun-uring";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, openFlags, Positions } from "./transfers.ts";

const pool = new BufferPool({ count: 1, size: job.depth * job.blockBytes });
const buffer = await pool.acquire();
const ring = new RawRing({ entries: 256, cqEntries: 4096, flags: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN });
ring.registerBuffers([buffer.bytes]);
ring.registerFiles([openSync(job.path, openFlags)]);
const lanes = Array.from({ length: job.depth }, (_, lane) => buffer.bytes.subarray(lane * job.blockBytes, (lane + 1) * job.blockBytes));
const positions = new Positions();
let started = 0;
let done = 0;
let wanted = 0;

function prepare(lane: number): void {
  const bytes = lanes[lane];
  if (bytes === undefined) throw new Error(`no lane ${lane}`);
  if (job.isWrite) ring.prepWriteFixed(0, bytes, positions.next(), 0, lane, IOSQE_FIXED_FILE);
  else ring.prepReadFixed(0, bytes, positions.next(), 0, lane, IOSQE_FIXED_FILE);
}

function complete(lane: number, result: number): void {
  checkResult(result);
  done++;
  if (started >= wanted) return;
  started++;
  prepare(lane);
}

await serveRounds((operations) => {
  wanted = operations;
  done = 0;
  started = Math.min(job.depth, operations);
  for (let lane = 0; lane < started; lane++) prepare(lane);
  while (done < operations) {
    ring.submitAndWait(1);
    ring.forEachCompletion(complete);
  }
});
