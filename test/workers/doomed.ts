/** Holds slots, has reads of a disk and of a pipe in flight and files open, says so, and comes to its end, one way or another. */
import { BufferPool, type FixedBuffer, RawRing, Ring, type RingFile } from "bun-uring";
import { directFlags } from "../support/direct.ts";
import type { DoomedJob } from "./jobs.ts";

declare const self: Worker;

const kept: unknown[] = [];

async function readForever(ring: Ring, file: RingFile, buffer: FixedBuffer): Promise<never> {
  for (let position = 0; ; position = (position + 4096) % (1 << 20)) await ring.readFixed(file, buffer, { position, length: 4096 });
}

self.addEventListener("message", work, { once: true });

async function work({ data }: MessageEvent<DoomedJob>): Promise<void> {
  const { ending, slots } = data;
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
    // A promise in flight would keep the thread from falling off its end; the raw ring's read does not.
    if (ending === "fall off") continue;
    const read = slot % 4 === 0 ? ring.readFixed(data.pipeFd, buffer) : readForever(ring, file, buffer);
    read.catch(() => undefined);
  }
  await new Promise(setImmediate);
  self.postMessage("reading");
  if (ending === "process.exit") process.exit();
  if (ending === "throw") throw new Error("on purpose");
  if (ending === "spin") for (;;);
}
