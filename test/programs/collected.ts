/** Reads a file through a pool and through a clone, with a full garbage collection between any two steps. */
import { readFileSync } from "node:fs";
import { BufferPool, probe, RawRing, Ring } from "bun-uring";
import { times } from "../support/effort.ts";

const parts = 8 * times(32); // read by Ring, and as many by RawRing
const path = process.execPath;
const expected = readFileSync(path).subarray(0, 2 * parts * 4096);

const step = <Value>(value: Value): Value => {
  Bun.gc(true);
  return value;
};

let right = 0;
const pool = step(new BufferPool({ count: 8, size: 4096 }));
const ring = step(new Ring({ pool: step(BufferPool.attach(step(pool.share()))) }));
const file = step(await ring.open(path));
for (let part = 0; part < parts; part += 8) {
  const reads = Array.from({ length: 8 }, async (_, index) => {
    const buffer = step(await pool.acquire());
    const position = (part + index) * 4096;
    const read = ring.readFixed(file, buffer, { position });
    if (index === 0) step(undefined);
    const bytesRead = await read;
    if (Buffer.compare(buffer.bytes.subarray(0, bytesRead), expected.subarray(position, position + 4096)) === 0)
      right++;
    buffer.release();
  });
  step(undefined);
  await Promise.all(reads);
}

// RawRing: here nothing but the ring references the buffers that are registered first.
const raw = step(new RawRing({ entries: 8 }));
const clone = step(new RawRing({ entries: 8 }));
step(raw.registerBuffers(Array.from({ length: 8 }, () => step(new SharedArrayBuffer(4096)))));
if (probe().clone.whole) {
  step(clone.cloneBuffers(raw));
  step(raw.close());
  clone.unregisterBuffers();
} else {
  step(raw.close());
}
const pages = Array.from({ length: 8 }, () => new Uint8Array(new SharedArrayBuffer(4096)));
step(clone.registerBuffers(pages));
for (let part = parts; part < 2 * parts; part += 8) {
  for (const [index, page] of pages.entries())
    step(clone.prepReadFixed(file.fd, page, (part + index) * 4096, index, index));
  step(clone.submitAndWait(8));
  clone.forEachCompletion((index, result) => {
    step(undefined);
    const position = (part + index) * 4096;
    if (
      result === 4096 &&
      Buffer.compare(pages[index] ?? new Uint8Array(0), expected.subarray(position, position + 4096)) === 0
    )
      right++;
  });
}
step(clone.close());
console.log(`${right} of ${2 * parts} right, ${ring.inFlight} in flight, ${pool.available} of ${pool.count} free`);
