/**
 * Mixes everything for a number of seconds, round after round: Workers start and end in every way, rings and pools are
 * made and closed, files are written, read, streamed and copied, operations are aborted, and slots are handed over.
 * Between two rounds nothing is in use, and the program measures what is left. Arguments: a seed, and the seconds.
 */
import { readFileSync, rmSync } from "node:fs";
import { BufferPool, copyFile, hashFile, RawRing, Ring } from "bun-uring";
import { bundleWorkers } from "../support/bundled-workers.ts";
import { directFlags } from "../support/direct.ts";
import { Folder } from "../support/files.ts";
import { sockets } from "../support/pipes.ts";
import { Random } from "../support/random.ts";
import { openFds, pinnedKb, residentKb, ringFds } from "../support/resources.ts";
import { TestWorker } from "../support/workers.ts";
import type {
  Activity,
  DoomedJob,
  Ending,
  SettlerAnswer,
  SettlerJob,
  VerifierAnswer,
  VerifierJob,
} from "../workers/jobs.ts";

/** What the process had after a round. */
export interface Look {
  readonly seconds: number;
  /** How many Workers had started and ended by then. */
  readonly workers: number;
  readonly residentKb: number;
  readonly descriptors: number;
  readonly rings: number;
  readonly pinnedKb: number;
}

export interface Soaked {
  readonly looks: readonly Look[];
  readonly faults: readonly string[];
  readonly done: Readonly<Record<string, number>>;
}

const [seed = 0, seconds = 0] = process.argv.slice(2).map(Number);
const random = new Random(seed);
const roundMs = 2500;
const started = performance.now();
const faults: string[] = [];
const done: Record<string, number> = {};
let workers = 0;

using _bundled = await bundleWorkers("doomed", "verifier", "receiver", "settler");
using folder = new Folder();
using ends = sockets();
const slotBytes = 16384;
const known = folder.random("known", 2 ** 20);
const knownHash = new Bun.CryptoHasher("sha256").update(known.content).digest("hex");
const hashes = BigUint64Array.from({ length: known.content.length / slotBytes }, (_, part) =>
  BigInt(Bun.hash(known.content.subarray(part * slotBytes, (part + 1) * slotBytes))),
);
/** A file in which each 32-bit word is its own index. */
const numbered = folder.write(
  "numbered",
  new Uint8Array(Uint32Array.from({ length: 2 ** 16 }, (_, word) => word).buffer),
);

function count(what: string): void {
  done[what] = (done[what] ?? 0) + 1;
}

function must(isRight: boolean, what: string): void {
  count(what);
  if (!isRight && faults.length < 10)
    faults.push(`${what} was wrong after ${Math.round((performance.now() - started) / 1000)} s`);
}

/** A Worker that ends in the middle of its work. */
async function doomed(pool: BufferPool): Promise<void> {
  const ending: Ending = random.pick([
    "terminate",
    "terminate",
    "terminate",
    "process.exit",
    "throw",
    "fall off",
    "spin",
  ]);
  const activity: Activity = random.pick(["read", "pump", "batch", "abort", "acquire", "wait", "lock"]);
  const worker = new TestWorker<string>("doomed", {
    pool: pool.share(),
    path: known.path,
    pipeFd: ends.readFd,
    ending,
    activity,
    slots: 4,
  } satisfies DoomedJob);
  workers++;
  const isEarly = ending === "terminate" && random.below(3) === 0;
  const works = worker.answer().catch(() => undefined);
  if (!isEarly) await works;
  if (ending === "terminate" || ending === "spin") {
    await Bun.sleep(random.fraction() * 20);
    await worker.terminate();
  } else {
    await worker.ended;
  }
  count(`Workers ended by ${isEarly ? "early terminate" : ending}`);
}

/** Hands slots to another thread, which hands them back with other content. */
async function transfers(pool: BufferPool): Promise<void> {
  const worker = new TestWorker<{ right: boolean; token: Parameters<BufferPool["receive"]>[0] }>("receiver", {
    attach: pool.share(),
  });
  workers++;
  for (let round = 0; round < 50; round++) {
    const buffer = await pool.acquire();
    buffer.bytes.fill(round);
    worker.tell({ token: buffer.handOver(), expected: round, answer: 255 - round });
    const { right, token } = await worker.answer();
    using back = pool.receive(token);
    must(right && back.bytes.every((byte) => byte === 255 - round), "transfers");
  }
  await worker.terminate();
}

/** A Worker that starts operations of all kinds and aborts a tenth of them. */
async function settler(pool: BufferPool): Promise<void> {
  const operations = 2000;
  const job: SettlerJob = {
    pool: pool.share(),
    operations,
    paths: [numbered],
    directPath: numbered,
    fileBytes: 2 ** 18,
    silentFd: ends.readFd,
  };
  const worker = new TestWorker<SettlerAnswer>("settler", job);
  workers++;
  const answer = await worker.answer();
  must(
    answer.settledOnce === operations && answer.faults.length === 0 && answer.inFlight.every((left) => left === 0),
    "thousands of operations settled",
  );
  if (answer.faults.length > 0) faults.push(...answer.faults.slice(0, 2));
  if (random.below(2) === 0) {
    worker.tell("close");
    await worker.ended;
  } else {
    await worker.terminate();
  }
}

/**
 * Uses a pool, a ring and files of its own in this thread: writes with a stream, reads, copies, hashes, and aborts some
 * of that.
 */
async function files(lane: number): Promise<void> {
  const path = (name: string) => `${folder.path}/${lane}-${name}`;
  using pool = new BufferPool({ count: 8, size: slotBytes, hugePages: false });
  await using ring = new Ring({ pool });
  {
    await using file = await ring.open(path("written"), "w+");
    const writer = file.writable({ pool }).getWriter();
    for (let part = 0; part < known.content.length; part += 100_000)
      await writer.write(known.content.subarray(part, part + 100_000));
    await writer.close();
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of file.readable({ pool, zeroCopy: random.below(2) === 0, depth: 1 + random.below(6) }))
      hash.update(chunk);
    must(hash.digest("hex") === knownHash, "streams");
    const buffer = Buffer.alloc(5000);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 12_345);
    must(bytesRead === 5000 && Buffer.compare(buffer, known.content.subarray(12_345, 17_345)) === 0, "reads");
  }
  await copyFile(path("written"), path("copied"), random.below(2) === 0 ? {} : { ring, pool });
  must(Buffer.compare(readFileSync(path("copied")), known.content) === 0, "copies");
  must((await hashFile(path("copied"))) === knownHash, "hashes");
  const controller = new AbortController();
  const aborted = copyFile(known.path, path("aborted"), {
    depth: 1,
    signal: controller.signal,
    onProgress: ({ copiedBytes }) => copiedBytes > 0 && controller.abort("aborted"),
  });
  must((await aborted.catch((reason) => reason)) === "aborted", "copies aborted");
  const waiting = new AbortController();
  const reads = Array.from({ length: 8 }, async () => {
    using buffer = await pool.acquire();
    return ring.readFixed(ends.readFd, buffer, { signal: waiting.signal }).catch((reason) => reason);
  });
  await ring.nop();
  waiting.abort("aborted");
  must(
    (await Promise.all(reads)).every((reason) => reason === "aborted"),
    "reads aborted",
  );
  for (const name of ["written", "copied", "aborted"]) rmSync(path(name), { force: true });
}

/** Closes rings in the middle of reads. */
async function rings(pool: BufferPool): Promise<void> {
  const ring = new Ring({ pool });
  const file = await ring.open(known.path, directFlags(known.path));
  const reads = Array.from({ length: 4 }, async (_, part) => {
    using buffer = await pool.acquire();
    await ring.readFixed(file, buffer, { position: part * slotBytes });
    must(BigInt(Bun.hash(buffer.bytes)) === hashes[part], "fixed reads");
  });
  const settled = Promise.allSettled(reads);
  if (random.below(2) === 0) await settled;
  await ring.close();
  await settled;
  using raw = new RawRing({ entries: 8 });
  const memory = new Uint8Array(new SharedArrayBuffer(65536));
  raw.registerBuffers([memory]);
  raw.prepReadFixed(ends.readFd, memory, -1, 0, 1);
  raw.submit();
  count("rings closed with reads in flight");
}

/** Repeats each activity until the round is over, all of them concurrently. */
async function lanes(until: number, pool: BufferPool): Promise<void> {
  const repeat = async (act: () => Promise<void>) => {
    while (performance.now() < until) await act();
  };
  await Promise.all([
    repeat(() => doomed(pool)),
    repeat(() => doomed(pool)),
    repeat(() => transfers(pool)),
    repeat(() => settler(pool)),
    repeat(() => files(1)),
    repeat(() => files(2)),
    repeat(() => rings(pool)),
  ]);
}

async function round(): Promise<void> {
  using pool = new BufferPool({ count: 48, size: slotBytes, hugePages: false });
  const verifier = new TestWorker<VerifierAnswer>("verifier", {
    pool: pool.share(),
    path: known.path,
    hashes,
    depth: 4,
  } satisfies VerifierJob);
  workers++;
  await verifier.answer();
  await lanes(performance.now() + roundMs, pool);
  verifier.tell("stop");
  const { right, wrong } = await verifier.answer();
  must(wrong === 0 && right > 0, "Workers that verified all the time");
  await verifier.ended;
  const { available, othersAttached, inTransit } = pool.stats();
  must(available === pool.count && othersAttached === 0 && inTransit === 0, "pools that all Workers have left");
}

/**
 * Measures what is left between two rounds. Waiters stop listening in the next turn of the event loop, and older
 * kernels unpin memory some time after a ring was closed, so this waits until it is no more than at the first look.
 */
async function look(first: Look | undefined): Promise<Look> {
  const now = () => ({ descriptors: openFds(), rings: ringFds(), pinnedKb: pinnedKb() });
  const isFlat = () =>
    first === undefined || (openFds() <= first.descriptors && ringFds() <= first.rings && pinnedKb() <= first.pinnedKb);
  await Bun.sleep(100);
  for (let turn = 0; turn < 200 && !isFlat(); turn++) await Bun.sleep(10);
  return { seconds: Math.round((performance.now() - started) / 1000), workers, residentKb: residentKb(), ...now() };
}

const looks: Look[] = [];
while (performance.now() - started < seconds * 1000) {
  await round();
  const found = await look(looks[0]);
  looks.push(found);
  console.log(
    `stress soak: ${found.seconds} s, ${found.workers} Workers came and went, ${(found.residentKb / 1024).toFixed(0)} MiB RSS, ` +
      `${found.descriptors} descriptors, ${found.rings} rings, ${found.pinnedKb} kB pinned`,
  );
}
console.log(JSON.stringify({ looks, faults, done } satisfies Soaked));
