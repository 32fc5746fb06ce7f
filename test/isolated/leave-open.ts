/** What each isolated test file does: leaves a ring with a read in flight behind, and looks whether its memory stays. */
import { expect } from "bun:test";
import { writeSync } from "node:fs";
import { BufferPool, RawRing, Ring } from "bun-uring";
import { pipe } from "../support/pipes.ts";

export async function leaveOpen(): Promise<void> {
  const ends = pipe();
  const pool = new BufferPool({ count: 4, size: 65536 });
  const ring = new Ring({ pool });
  const buffer = await pool.acquire();
  const raw = new RawRing();
  const bytes = new Uint8Array(new SharedArrayBuffer(65536));
  raw.registerBuffers([bytes]);
  raw.prepReadFixed(ends.readFd, bytes, -1, 0, 1);
  raw.submit();
  ring.readFixed(ends.readFd, buffer).catch(() => undefined);
  for (let round = 0; round < 5; round++) {
    Bun.gc(true);
    await new Promise(setImmediate);
  }
  setTimeout(() => writeSync(ends.writeFd, Buffer.alloc(65536, 7)), 20).unref();
  expect(ring.inFlight).toBe(1);
}
