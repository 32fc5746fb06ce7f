/** Reads or writes blocks through RawRing, with the same operations in the same order as bench/c/transfer.c. */
import { constants } from "bun-uring";
import { lanes, ring } from "./raw-lanes.ts";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, Positions } from "./transfers.ts";

const { IOSQE_FIXED_FILE } = constants;

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
