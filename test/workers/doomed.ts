/**
 * Holds slots, has files open and reads of a disk and of a pipe in flight, posts "reading", goes on with its activity,
 * and ends in the way that its job says.
 */
import { BufferPool, type FixedBuffer, RawRing, Ring, type RingFile } from "bun-uring";
import { participantOf } from "../../lib/pool/buffer-pool.ts";
import { directFlags } from "../support/direct.ts";
import type { Activity, DoomedJob } from "./jobs.ts";

declare const self: Worker;

const kept: unknown[] = [];

async function readForever(ring: Ring, file: RingFile, buffer: FixedBuffer): Promise<never> {
  for (let position = 0; ; position = (position + 4096) % (1 << 20))
    await ring.readFixed(file, buffer, { position, length: 4096 });
}

function pumpForever(ring: Ring, file: RingFile, buffer: FixedBuffer): Promise<void> {
  let position = 0;
  return ring.pump(
    (lane) => {
      lane.readFixed(file, buffer, position, 0, 4096);
      position = (position + 4096) % (1 << 20);
    },
    { depth: 1 },
  );
}

async function batchForever(ring: Ring, file: RingFile, buffer: FixedBuffer): Promise<never> {
  const batch = ring.batch();
  for (let position = 0; position < 4096 * 4; position += 4096) batch.readFixed(file, buffer, position, position, 4096);
  for (;;) await batch.submit();
}

/** Aborts each read before the kernel can complete it. */
async function abortForever(ring: Ring, file: RingFile | number, buffer: FixedBuffer): Promise<never> {
  for (;;) {
    const controller = new AbortController();
    const read = ring.readFixed(file, buffer, {
      length: 4096,
      signal: controller.signal,
      ...(typeof file === "number" ? {} : { position: 0 }),
    });
    read.catch(() => undefined);
    await new Promise(setImmediate);
    controller.abort();
  }
}

const lanes = {
  read: readForever,
  pump: pumpForever,
  batch: batchForever,
  acquire: readForever,
  wait: readForever,
  lock: readForever,
} satisfies Record<Exclude<Activity, "abort">, unknown>;

/**
 * Holds the pool's lock nearly all the time, and releases it briefly now and then, because the thread that terminates
 * this one may be waiting for it.
 */
function lockForever(pool: BufferPool): never {
  const { control } = participantOf(pool);
  for (;;) {
    control.locked(() => {
      const until = performance.now() + 0.2;
      while (performance.now() < until);
    });
  }
}

self.addEventListener("message", work, { once: true });

async function work({ data }: MessageEvent<DoomedJob>): Promise<void> {
  const { activity = "read", ending, slots } = data;
  const pool = BufferPool.attach(data.pool);
  const ring = new Ring({ pool });
  const raw = new RawRing({ entries: 4 });
  const memory = new Uint8Array(new SharedArrayBuffer(4096));
  raw.registerBuffers([memory]);
  raw.prepReadFixed(data.pipeFd, memory, -1, 0, 1);
  raw.submit();
  const file = await ring.open(data.path, directFlags(data.path));
  kept.push(pool, ring, raw, file, await ring.open(data.path));
  for (let slot = 0; slot < slots; slot++) {
    const buffer = await pool.acquire();
    kept.push(buffer);
    // An operation in flight would keep the thread alive, so it could not fall off its end. The raw ring's read does
    // not.
    if (ending === "fall off") continue;
    const source = slot % 4 === 0 ? data.pipeFd : file;
    const reads =
      activity === "abort"
        ? abortForever(ring, source, buffer)
        : slot % 4 === 0
          ? ring.readFixed(data.pipeFd, buffer)
          : lanes[activity](ring, file, buffer);
    reads.catch(() => undefined);
  }
  await new Promise(setImmediate);
  self.postMessage("reading");
  if (ending === "process.exit") process.exit();
  if (ending === "throw") throw new Error("on purpose");
  if (ending === "spin") for (;;);
  if (ending !== "terminate") return;
  if (activity === "wait") for (;;) raw.submitAndWait(1);
  if (activity === "lock") lockForever(pool);
  if (activity === "acquire") for (;;) kept.push(await pool.acquire());
}
