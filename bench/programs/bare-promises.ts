/**
 * Measures the unavoidable cost of promises: RawRing requests, each with one promise that is created and settled. It
 * has no argument checks, no lifetime tracking and no cancellation.
 */
import { constants } from "bun-uring";
import { lanes, ring } from "./raw-lanes.ts";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, Positions, runLanes } from "./transfers.ts";

const { IOSQE_FIXED_FILE } = constants;

const positions = new Positions();
/** Indexed by lane. */
const resolvers: ((result: number) => void)[] = [];
const completed: { lanes: number[]; results: number[] } = { lanes: [], results: [] };
let flushing = false;
let inFlight = 0;

function flushSoon(): void {
  if (flushing) return;
  flushing = true;
  queueMicrotask(flush);
}

function take(lane: number, result: number): void {
  completed.lanes.push(lane);
  completed.results.push(result);
}

function flush(): void {
  flushing = false;
  ring.submit();
  if (ring.forEachCompletion(take) === 0) {
    ring.submitAndWait(1); // a read missed the page cache
    ring.forEachCompletion(take);
  }
  inFlight -= completed.lanes.length;
  if (inFlight > 0) flushSoon();
  for (const [index, lane] of completed.lanes.entries()) resolvers[lane]?.(completed.results[index] ?? 0);
  completed.lanes.length = completed.results.length = 0;
}

function read(lane: number): Promise<number> {
  return new Promise((resolve) => {
    const bytes = lanes[lane];
    if (bytes === undefined) throw new Error(`no lane ${lane}`);
    resolvers[lane] = resolve;
    ring.prepReadFixed(0, bytes, positions.next(), 0, lane, IOSQE_FIXED_FILE);
    inFlight++;
    flushSoon();
  });
}

await serveRounds((operations) =>
  runLanes(operations, job.depth, async (lane, count) => {
    for (let operation = 0; operation < count; operation++) checkResult(await read(lane));
  }),
);
