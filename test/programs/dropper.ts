/**
 * Makes rings, files, pools, slots and streams, uses them, and drops them without closing them, under permanent garbage
 * collection. The rounds need more slots than there are, so the program makes progress only if dropped slots come back.
 * Prints what it read and what is left. Arguments: rounds, seed.
 */
import { openSync, writeSync } from "node:fs";
import { BufferPool, type FixedBuffer, probe, RawRing, Ring, type RingFile, trackHandles } from "bun-uring";
import { collect } from "../support/collect.ts";
import { Folder } from "../support/files.ts";
import { sockets } from "../support/pipes.ts";
import { Random } from "../support/random.ts";
import { eventfds, fdsOf, pinnedKb, ringFds } from "../support/resources.ts";
import { shared } from "../support/rings.ts";

const [rounds = 0, seed = 1] = process.argv.slice(2).map(Number);
trackHandles(false);
const random = new Random(seed);
using folder = new Folder();
const { path, content } = folder.random("file", 64 * 4096);
using ends = sockets();
const descriptor = openSync(path, "r");
const wholeClones = probe().clone.whole;
using pool = new BufferPool({ count: 16, size: 4096, hugePages: false });
await using keptRing = new Ring({ pool });

let right = 0;
let wrong = 0;
/** How many operations were started that wait for a byte from the socket. */
let waiting = 0;
let settled = 0;

function check(bytes: Uint8Array, position: number): void {
  if (Buffer.compare(bytes, content.subarray(position, position + bytes.length)) === 0) right++;
  else wrong++;
}

async function readInto(ring: Ring, file: RingFile | number, buffer: FixedBuffer): Promise<void> {
  const position = 4096 * random.below(64);
  const bytesRead = await ring.readFixed(file, buffer, { position });
  check(buffer.bytes.subarray(0, bytesRead), position);
}

/** Starts an operation that is still waiting when the program drops its ring and its slot. */
async function waitFor(ring: Ring, buffer: FixedBuffer): Promise<void> {
  waiting++;
  const bytesRead = await ring.readFixed(ends.readFd, buffer, { length: 1 });
  if (bytesRead !== 1) wrong++;
  settled++;
}

const kinds: readonly [() => Promise<unknown> | undefined, ...(() => Promise<unknown> | undefined)[]] = [
  async () => {
    const ring = new Ring({ pool });
    await readInto(ring, await ring.open(path), await pool.acquire());
  },
  async () => {
    const own = new BufferPool({ count: 2, size: 4096, hugePages: false });
    const ring = new Ring({ pool: [pool, own] });
    await readInto(ring, descriptor, await own.acquire());
    await readInto(ring, await ring.open(path), await pool.acquire());
  },
  async () => readInto(keptRing, await keptRing.open(path), await pool.acquire()),
  async () => {
    const ring = new Ring({ pool });
    const buffer = await pool.acquire();
    void waitFor(ring, buffer);
    writeSync(ends.writeFd, "x");
  },
  async () => {
    const attached = BufferPool.attach(pool.share());
    attached.receive((await pool.acquire()).handOver()).bytes.fill(1);
  },
  async () => {
    const file = await keptRing.open(path);
    const reader = file.readable({ pool, depth: 2, zeroCopy: random.below(2) === 0 }).getReader();
    const { value } = await reader.read();
    if (value !== undefined) check(value, 0);
  },
  async () => {
    const ring = new RawRing({ entries: 4 });
    const bytes = shared(4096);
    ring.registerBuffers([bytes]);
    ring.prepReadFixed(descriptor, bytes, 4096, 0, 1);
    ring.submitAndWait(1);
    ring.forEachCompletion(() => check(bytes, 4096));
    ring.prepNop(2);
  },
  () => {
    const source = new RawRing({ entries: 4 });
    const ring = new RawRing({ entries: 4 });
    const bytes = shared(4096);
    source.registerBuffers([bytes]);
    if (wholeClones) ring.cloneBuffers(source);
    else ring.registerBuffers([bytes]);
    ring.prepReadFixed(descriptor, bytes, 0, 0, 1); // may still be in flight when everything is dropped
    ring.submit();
    return undefined;
  },
];

let collecting = true;
/** Collects garbage in each turn of the event loop. Returns how often it did. */
async function collectAlways(): Promise<number> {
  let collections = 0;
  for (; collecting; collections++) {
    Bun.gc(true);
    await new Promise(setImmediate);
  }
  return collections;
}

async function someRounds(count: number): Promise<void> {
  for (let round = 0; round < count; round++) await random.pick(kinds)();
}

/** Waits for a slot once: the first wait creates an eventfd, which the pool keeps. */
async function waitOnce(): Promise<void> {
  const all = Array.from({ length: 16 }, () => pool.tryAcquire());
  const next = pool.acquire();
  for (const buffer of all) buffer?.release();
  (await next).release();
}

const eventfdsAtFirst = eventfds();
await waitOnce();
// Bun closes its own duplicate of the eventfd some turns after the last wait has ended.
await collect(() => eventfds() === eventfdsAtFirst + 1);
const before = { rings: ringFds(), eventfds: eventfds(), pinnedKb: pinnedKb() };
const isBack = () =>
  ringFds() === before.rings &&
  pool.available === 16 &&
  fdsOf(path) === 1 &&
  pinnedKb() === before.pinnedKb &&
  settled === waiting;

const collections = collectAlways();
const lanes = 8;
const warmUp = Math.ceil(rounds / 5);
const rssKb: number[] = [];
for (const part of [warmUp, rounds - warmUp]) {
  await Promise.all(Array.from({ length: lanes }, (_, lane) => someRounds(Math.ceil((part - lane) / lanes))));
  await collect(isBack);
  rssKb.push(Math.round(process.memoryUsage.rss() / 1024));
}
collecting = false;
const collected = await collections;
await collect(() => isBack() && eventfds() <= before.eventfds);
console.log(
  JSON.stringify({
    right,
    wrong,
    unsettled: waiting - settled,
    rings: ringFds() - before.rings,
    eventfds: eventfds() - before.eventfds,
    files: fdsOf(path) - 1,
    slots: pool.available,
    others: pool.stats().othersAttached,
    pinnedKb: pinnedKb() - before.pinnedKb,
    collected,
    rssKb,
  }),
);
