/**
 * Has Workers that share pools make random calls, sequence after sequence, and checks after each sequence that nothing
 * is left. Arguments: a seed, the number of calls, and a file to which each sequence is written before it runs. With
 * "replay" instead of a number it runs the sequence in the file. Prints what it measured, or fails with the shortest
 * failing sequence as its error.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { BufferPool, type SlotToken } from "bun-uring";
import { bundleWorkers } from "../support/bundled-workers.ts";
import { type Step, sequences } from "../support/calls.ts";
import { Folder } from "../support/files.ts";
import { sockets } from "../support/pipes.ts";
import { fc } from "../support/properties.ts";
import { openFds, pinnedKb, ringFds } from "../support/resources.ts";
import { TestWorker } from "../support/workers.ts";
import type { CallerJob, CallerNews } from "../workers/jobs.ts";

export interface Called {
  readonly calls: number;
  readonly sequences: number;
  readonly tokens: number;
  /** How often each call had each outcome. */
  readonly outcomes: Readonly<Record<string, number>>;
}

const [seed = 0, target = 0] = process.argv.slice(2, 4).map(Number);
const isReplay = process.argv[3] === "replay";
const note = process.argv[4] ?? "";
const threads = 4;
const longest = 200;
const knownBytes = 65536;

using _workers = await bundleWorkers("caller");
using folder = new Folder();
const knownPath = folder.write(
  "known",
  new Uint8Array(Uint32Array.from({ length: knownBytes / 4 }, (_, word) => word).buffer),
);
const knownFd = openSync(knownPath, "r");
using ends = sockets();
let workers: TestWorker<CallerNews>[] = [];
const found = { calls: 0, sequences: 0, tokens: 0, outcomes: {} as Record<string, number> };

/**
 * Receives the messages of one Worker until its sequence ends, and forwards each handle and token to another Worker.
 */
async function listen(index: number, tokens: SlotToken[]): Promise<readonly string[]> {
  for (let others = index; ; ) {
    const worker = workers[index];
    if (worker === undefined) throw new Error("no Worker");
    const news = await worker.answer();
    if ("faults" in news) {
      found.calls += news.calls;
      for (const [outcome, count] of Object.entries(news.outcomes))
        found.outcomes[outcome] = (found.outcomes[outcome] ?? 0) + count;
      return news.faults.map(
        (fault, number) =>
          `Worker ${index}: ${fault}${number === 0 ? `, after\n    ${news.trace.join("\n    ")}` : ""}`,
      );
    }
    others = (others + 1) % threads;
    if (others === index) others = (others + 1) % threads;
    workers[others]?.tell(news);
    if ("token" in news) tokens.push(news.token);
  }
}

const held = () => `${ringFds()} rings, ${openFds()} descriptors, ${pinnedKb()} kB pinned`;

/** Runs one sequence in each Worker. Returns the faults found. */
async function run(steps: readonly (readonly Step[])[]): Promise<string[]> {
  if (!isReplay) writeFileSync(note, JSON.stringify(steps));
  if (workers.length === 0) workers = Array.from({ length: threads }, () => new TestWorker<CallerNews>("caller"));
  const place = `${folder.path}/run`;
  const pools = [8, 3].map((count) => new BufferPool({ count, size: 4096 }));
  const tokens: SlotToken[] = [];
  try {
    for (const [index, worker] of workers.entries()) {
      const own = `${place}/${index}`;
      mkdirSync(own, { recursive: true });
      worker.tell({
        pools: pools.map((pool) => pool.share()),
        steps: steps[index] ?? [],
        knownPath,
        knownBytes,
        knownFd,
        folder: own,
        silentFd: ends.readFd,
      } satisfies CallerJob);
    }
    const faults = (await Promise.all(workers.map((_, index) => listen(index, tokens)))).flat();
    found.sequences += steps.length;
    found.tokens += tokens.length;
    for (const pool of pools) {
      for (const token of tokens) {
        try {
          pool.receive(token).release();
        } catch {
          // The token was used already, or belongs to the other pool.
        }
      }
      const { available, count, held: own, inTransit, othersAttached } = pool.stats();
      if (available !== count)
        faults.push(`${available} of ${count} slots are free, ${own} held, ${inTransit} in transit`);
      if (othersAttached !== 0)
        faults.push(`${othersAttached} others are attached to a pool that all Workers have closed`);
    }
    return faults;
  } finally {
    for (const pool of pools) pool.close();
    rmSync(place, { recursive: true, force: true });
  }
}

let before = "";

async function check(steps: readonly (readonly Step[])[]): Promise<void> {
  const faults = await run(steps);
  let now = held();
  for (let turn = 0; turn < 1000 && before !== "" && now !== before; turn++) {
    await Bun.sleep(10);
    now = held();
  }
  if (before !== "" && now !== before) faults.push(`left: ${now}, not ${before}`);
  if (faults.length === 0) return;
  // After a failure the Workers may have anything in flight: the next sequence starts new Workers.
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
  before = "";
  throw new Error(faults.join("\n"));
}

async function warmUp(): Promise<void> {
  await run([]);
  await Bun.sleep(200); // by then Bun has opened what each Worker needs for itself
  before = held();
}

if (isReplay) {
  await run(JSON.parse(readFileSync(note, "utf8")));
} else {
  for (let round = 0; found.calls < target; round++) {
    const property = fc.asyncProperty(sequences(threads, longest), async (steps) => {
      if (before === "") await warmUp();
      await check(steps);
    });
    await fc.assert(property, {
      seed: (seed + round) | 0,
      numRuns: 20,
      endOnFailure: false,
      interruptAfterTimeLimit: 60_000,
      markInterruptAsFailure: true,
    });
  }
}
closeSync(knownFd);
await Promise.all(workers.map((worker) => worker.terminate()));
console.log(JSON.stringify(found satisfies Called));
