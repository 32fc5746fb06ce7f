/**
 * Drops rings and pools without closing them, with reads in flight. Prints which of their memory was garbage-collected
 * before the reads completed, and which after.
 */
import { writeSync } from "node:fs";
import { BufferPool, probe, RawRing, Ring, trackHandles } from "bun-uring";
import { collect } from "../support/collect.ts";
import { pipe } from "../support/pipes.ts";
import { ringFds } from "../support/resources.ts";

trackHandles(false);

const collected: string[] = [];
const registry = new FinalizationRegistry<string>((name) => collected.push(name));
const ends = pipe();

function dropRawRing(name: string): void {
  const memory = new SharedArrayBuffer(4096);
  registry.register(memory, name);
  const ring = new RawRing();
  const bytes = new Uint8Array(memory);
  ring.registerBuffers([bytes]);
  ring.prepReadFixed(ends.readFd, bytes, -1, 0, 1);
  ring.submit();
}

function dropClone(): void {
  const memory = new SharedArrayBuffer(4096);
  registry.register(memory, "memory of a clone");
  using source = new RawRing();
  const ring = new RawRing();
  const bytes = new Uint8Array(memory);
  source.registerBuffers([bytes]);
  ring.cloneBuffers(source);
  ring.prepReadFixed(ends.readFd, bytes, -1, 0, 1);
  ring.submit();
}

/** Drops a pool that was shared: its handle may be on its way to another thread. */
function dropPool(): void {
  const { control, memories } = new BufferPool({ count: 1, size: 4096 }).share();
  for (const memory of [control, ...memories]) registry.register(memory, "memory of a shared pool");
}

function dropRing(): Promise<string> {
  const pool = new BufferPool({ count: 1, size: 4096 });
  const { control, memories } = pool.share();
  for (const memory of [control, ...memories]) registry.register(memory, "memory of a pool");
  const ring = new Ring({ pool });
  const buffer = pool.tryAcquire();
  if (buffer === undefined) throw new Error("no slot");
  const read = ring.readFixed(ends.readFd, buffer).then((bytesRead) => `the dropped ring read ${bytesRead}`);
  buffer.release();
  pool.close();
  return read;
}

dropPool();
const poolRings = ringFds();
dropRawRing("memory of a raw ring");
if (probe().clone.whole) dropClone();
else dropRawRing("memory of a clone");
const read = dropRing();
await collect(() => false, 20);
console.log(`collected: ${collected.join(", ") || "nothing"}`);
// Three reads of the pipe wait, in an order that the kernel chooses. The program can await only one of them.
for (let write = 0; write < 3; write++) writeSync(ends.writeFd, Buffer.alloc(4096));
console.log(await read);
await collect(() => ringFds() === poolRings && collected.length >= 4);
console.log(`left: ${ringFds() - poolRings} rings; collected: ${collected.sort().join(", ")}`);
