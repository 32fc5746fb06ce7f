/** What promises cost in any case: RawRing's requests, and of a promise no more than its making and its settling. Nothing is checked, kept alive or cancelled. */
import { IOSQE_FIXED_FILE } from "bun-uring";
import { lanes, ring } from "./raw-lanes.ts";
import { serveRounds } from "./rounds.ts";
import { checkResult, job, Positions, runLanes } from "./transfers.ts";

const positions = new Positions();
/** By lane. */
const resolvers: ((result: number) => void)[] = [];
const completed: { lanes: number[]; results: number[] } = { lanes: [], results: [] };
let flushing = false;

function flush(): void {
  flushing = false;
  ring.submit();
  ring.forEachCompletion((lane, result) => {
    completed.lanes.push(lane);
    completed.results.push(result);
  });
  for (const [index, lane] of completed.lanes.entries()) resolvers[lane]?.(completed.results[index] ?? 0);
  completed.lanes.length = completed.results.length = 0;
}

function read(lane: number): Promise<number> {
  return new Promise((resolve) => {
    const bytes = lanes[lane];
    if (bytes === undefined) throw new Error(`no lane ${lane}`);
    resolvers[lane] = resolve;
    ring.prepReadFixed(0, bytes, positions.next(), 0, lane, IOSQE_FIXED_FILE);
    if (flushing) return;
    flushing = true;
    queueMicrotask(flush);
  });
}

await serveRounds((operations) =>
  runLanes(operations, job.depth, async (lane, count) => {
    for (let operation = 0; operation < count; operation++) checkResult(await read(lane));
  }),
);
