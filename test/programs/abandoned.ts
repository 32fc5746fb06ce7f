/**
 * Drops rings and files without closing them, some with an operation in flight. Prints how many rings, files and slots
 * are left after the garbage collections.
 */
import { writeSync } from "node:fs";
import { BufferPool, Ring, type RingFile, trackHandles } from "bun-uring";
import { collect } from "../support/collect.ts";
import { sockets } from "../support/pipes.ts";
import { fdsOf, ringFds } from "../support/resources.ts";

trackHandles(false);
const ends = sockets();
const pool = new BufferPool({ count: 4, size: 4096 });
const poolRings = ringFds();
async function dropIdle(): Promise<void> {
  const ring = new Ring({ pool });
  const file = await ring.open(import.meta.path);
  using buffer = await pool.acquire();
  await file.readFixed(buffer);
}

function dropBusy(): Promise<string> {
  const ring = new Ring({ pool });
  const buffer = pool.tryAcquire();
  if (buffer === undefined) throw new Error("no slot");
  const read = ring.readFixed(ends.readFd, buffer, { length: 1 });
  buffer.release();
  return read.then((bytesRead) => `a dropped ring read ${bytesRead}`);
}

async function keepFile(): Promise<RingFile> {
  const ring = new Ring({ pool });
  return ring.open(import.meta.path);
}

for (let ring = 0; ring < 20; ring++) await dropIdle();
const read = dropBusy();
const file = await keepFile();
await collect(() => ringFds() - poolRings <= 2);
// Left are the busy ring and the ring whose file is still in use.
console.log(`left: ${ringFds() - poolRings} rings, ${fdsOf(import.meta.path)} files`);
console.log(`a file kept its ring: ${(await file.readFile("utf8")).length > 0}`);
writeSync(ends.writeFd, "x");
console.log(await read);
await collect(() => ringFds() - poolRings <= 1);
console.log(`left: ${ringFds() - poolRings} rings, ${pool.available} slots free`);
await file.close();
