/**
 * Starts Workers, several at once, ends each at a random moment of its work, and checks what they leave. Arguments: a
 * seed, the number of Workers, and their kind: "doomed", or "compiled" for Workers that only compile the shim, as a
 * baseline. Prints what it measured.
 */
import { BufferPool } from "bun-uring";
import { bundleWorkers } from "../support/bundled-workers.ts";
import { Folder } from "../support/files.ts";
import { pipe } from "../support/pipes.ts";
import { Random } from "../support/random.ts";
import { eventfds, openFds, pinnedKb, residentKb, ringFds } from "../support/resources.ts";
import { TestWorker } from "../support/workers.ts";
import type { Activity, DoomedJob, Ending, VerifierAnswer, VerifierJob } from "../workers/jobs.ts";

export interface Terminated {
  /** How many Workers ended, by their activity or by how they ended; "starting": before their first message. */
  readonly workers: Readonly<Record<string, number>>;
  /** How often the main thread, and another thread, got a slot that they had asked for. */
  readonly visits: Readonly<Record<"here" | "elsewhere", number>>;
  readonly verified: VerifierAnswer;
  /** What Workers left behind, of all looks; empty if nothing. */
  readonly left: readonly string[];
  readonly available: number;
  readonly residentKb: readonly number[];
  /**
   * The growth of memory in RAM, by least squares. The first look is left out, because by then not everything has been
   * used once.
   */
  readonly growthKbPerWorker: number;
}

const [seed = 0, count = 0] = process.argv.slice(2, 4).map(Number);
const isDoomed = process.argv[4] === "doomed";
const random = new Random(seed);
const atOnce = 6;
/** The number of Workers between two looks. */
const stretch = Math.ceil(count / 10);
const slots = 64;

using _workers = await bundleWorkers("compiler", "doomed", "verifier", "waiter");
using folder = new Folder();
using ends = pipe();
const { path } = folder.random("doomed", 2 ** 20);
using pool = new BufferPool({ count: slots, size: 16384, hugePages: false });
const survivor = folder.random("survivor", 2 ** 20);
const hashes = BigUint64Array.from({ length: survivor.content.length / pool.size }, (_, part) =>
  BigInt(Bun.hash(survivor.content.subarray(part * pool.size, (part + 1) * pool.size))),
);
const workers: Record<string, number> = {};

/** Takes a slot for a moment, here or in another thread, and waits for one if none is free. */
type Visit = () => Promise<void>;
const visits = { here: 0, elsewhere: 0 };

async function visitHere(of = pool): Promise<void> {
  (await of.acquire()).release();
  visits.here++;
}

/**
 * Runs a Worker for some milliseconds, counted from its start or from its message that it is at work, and ends it.
 */
async function oneDoomed(visitElsewhere: Visit): Promise<void> {
  const ending: Ending =
    random.below(25) > 0 ? "terminate" : random.pick(["process.exit", "throw", "fall off", "spin"]);
  const activity: Activity = random.pick(["read", "pump", "batch", "abort", "acquire", "wait", "lock"]);
  const isEarly = ending === "terminate" && random.below(3) === 0;
  const momentMs = random.fraction() * (isEarly ? 60 : 15);
  // If the Worker has all slots of a pool to which only the main thread is attached as well, nothing but its end can
  // serve a waiter.
  const isAlone = !isEarly && activity === "read" && random.below(2) === 0;
  using alone = isAlone ? new BufferPool({ count: 8, size: 4096, hugePages: false }) : undefined;
  const used = alone ?? pool;
  const worker = new TestWorker<string>("doomed", {
    pool: used.share(),
    path,
    pipeFd: ends.readFd,
    ending,
    activity,
    slots: 8,
  } satisfies DoomedJob);
  const works = worker.answer().then(
    () => true,
    () => false,
  );
  const kind = isEarly ? "starting" : isAlone ? "alone" : ending === "terminate" ? activity : ending;
  workers[kind] = (workers[kind] ?? 0) + 1;
  if (!isEarly && !(await works)) throw new Error(`a Worker (${kind}) ended before it worked`);
  // Slots are asked for while the Worker may hold all of them, or the pool's lock. They come at the latest when it
  // ends.
  const served = [visitHere(used), visitElsewhere()];
  if (ending === "terminate" || ending === "spin") {
    await Bun.sleep(momentMs);
    await worker.terminate();
  } else {
    await worker.ended;
  }
  await Promise.all(served);
}

async function oneCompiled(): Promise<void> {
  const worker = new TestWorker<string>("compiler", "compile");
  await worker.answer();
  await Bun.sleep(random.fraction() * 15);
  await worker.terminate();
}

const held = () => `${ringFds()} rings, ${eventfds()} eventfds, ${openFds()} descriptors, ${pinnedKb()} kB pinned`;

/** The slope of y over x, by least squares. */
function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const together = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return together / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}

async function run(
  one: () => Promise<void>,
  othersAttached: number,
): Promise<Pick<Terminated, "left" | "residentKb" | "growthKbPerWorker">> {
  const before = held();
  const left: string[] = [];
  const looks: { workers: number; residentKb: number }[] = [];
  for (let started = 0; started < count; ) {
    const until = Math.min(count, started + stretch);
    const lane = async () => {
      while (started < until) {
        started++;
        await one();
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
    // Older kernels unpin memory some time after a ring was closed, and a waiter for a slot stops listening in the next
    // turn of the event loop.
    for (let turn = 0; turn < 200 && held() !== before; turn++) await Bun.sleep(10);
    if (held() !== before) left.push(`after ${started} Workers ${held()}, not ${before}`);
    if (pool.stats().othersAttached !== othersAttached)
      left.push(`after ${started} Workers ${pool.stats().othersAttached} others are attached to the pool`);
    looks.push({ workers: started, residentKb: residentKb() });
  }
  return {
    left,
    residentKb: looks.map(({ residentKb }) => residentKb),
    growthKbPerWorker: slopeOf(looks.slice(1).map((look) => [look.workers, look.residentKb])),
  };
}

async function runDoomed(): Promise<Terminated> {
  const other = new TestWorker<number | string>("waiter", { attach: pool.share() });
  await other.answer();
  let turn = Promise.resolve();
  const visitElsewhere = () => {
    turn = turn.then(async () => {
      other.tell({ acquire: 1, release: true });
      await other.answer();
      await other.answer();
      visits.elsewhere++;
    });
    return turn;
  };
  // All three threads get their eventfd, which they keep, when they wait for the first time.
  const all = Array.from({ length: slots }, () => pool.tryAcquire());
  const first = [visitHere(), visitElsewhere()];
  const verifier = new TestWorker<VerifierAnswer>("verifier", {
    pool: pool.share(),
    path: survivor.path,
    hashes,
    depth: 4,
  } satisfies VerifierJob);
  await verifier.answer();
  while (pool.stats().othersWaiting < 2) await new Promise(setImmediate);
  for (const buffer of all) buffer?.release();
  await Promise.all(first);
  await Bun.sleep(200); // a waiter stops listening in the next turn of its own event loop, without any event here

  const found = await run(() => oneDoomed(visitElsewhere), 2);
  verifier.tell("stop");
  const verified = await verifier.answer();
  other.tell({ end: true });
  await Promise.all([verifier.ended, other.ended]);
  return { workers, visits, verified, available: pool.available, ...found };
}

async function runCompiled(): Promise<Terminated> {
  workers["compiled"] = count;
  await oneCompiled(); // the first Worker leaves the shim's source in memory for the others
  return {
    workers,
    visits,
    verified: { right: 0, wrong: 0 },
    available: pool.available,
    ...(await run(oneCompiled, 0)),
  };
}

console.log(JSON.stringify(await (isDoomed ? runDoomed() : runCompiled())));
