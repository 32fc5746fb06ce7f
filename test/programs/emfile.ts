/**
 * Runs with a low limit on descriptors. Uses them all up and prints how each call fails; then waits with a ring and,
 * after freeing the descriptors, with a pool.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { BufferPool, copyFile, hashFile, RawRing, Ring, trackHandles, UringError } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const ends = pipe();
const pool = new BufferPool({ count: 1, size: 4096 });
const ring = new Ring({ pool });
const buffer = await pool.acquire();
const taken: number[] = [];

function takeAll(): void {
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EMFILE")) throw error;
  }
}

async function code(act: () => unknown): Promise<string> {
  try {
    await act();
    return "no error";
  } catch (error) {
    if (error instanceof UringError) return `${error.code} ${error.syscall}`;
    throw error;
  }
}

trackHandles(false); // calls that succeed leave things that nobody closes
takeAll();
console.log("open:", await code(() => ring.open("/dev/null")));
console.log("hashFile:", await code(() => hashFile(import.meta.path, { ring, pool })));
console.log("copyFile:", await code(() => copyFile(import.meta.path, "/nowhere/copy", { ring, pool })));
console.log("new RawRing:", await code(() => new RawRing()));
console.log("new Ring:", await code(() => new Ring()));
console.log("acquire:", await code(() => pool.acquire()));
const before = BufferPool;
console.log("attach:", await code(() => before.attach(pool.share())));
console.log("create:", await code(() => BufferPool.create({ count: 1, size: 4096 })));
const read = ring.readFixed(ends.readFd, buffer, { length: 1 });
setTimeout(() => writeSync(ends.writeFd, "x"), 20);
console.log("read:", await read);
for (const fd of taken) closeSync(fd);
const second = pool.acquire();
console.log("waiting:", pool.stats().waiting);
buffer.release();
(await second).release();
console.log("free:", pool.available);
await ring.close();
pool.close();
