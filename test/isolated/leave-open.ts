/**
 * Shared by the isolated test files. One file leaves rings behind with reads in flight. The next one completes these
 * reads, and checks that the kernel's late writes do not hit its own memory.
 */
import { expect } from "bun:test";
import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { RawRing } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const note = process.env["BUN_URING_NOTE"] ?? "";
const memoryBytes = 65536;
const ringCount = 24;

/**
 * Leaves rings behind with reads in flight. The descriptor of the pipe's other end is written to a file, because the
 * next test file has a new global object.
 */
export function leaveOpen(): void {
  const ends = pipe();
  writeFileSync(note, String(ends.writeFd));
  for (let count = 0; count < ringCount; count++) {
    const ring = new RawRing({ entries: 1 });
    const bytes = new Uint8Array(new SharedArrayBuffer(memoryBytes));
    bytes.fill(1);
    ring.registerBuffers([bytes]);
    ring.prepReadFixed(ends.readFd, bytes.subarray(0, 1024), -1, 0, 1);
    ring.submit();
  }
}

/** Completes these reads. The memory that they write to must still belong to the rings. */
export async function completeLate(): Promise<void> {
  const mine: Uint8Array[] = [];
  for (let round = 0; round < 10; round++) {
    Bun.gc(true);
    await new Promise(setImmediate);
    for (let count = 0; count < ringCount; count++)
      mine.push(new Uint8Array(new SharedArrayBuffer(memoryBytes)).fill(2));
  }
  const writeFd = Number(readFileSync(note, "utf8"));
  for (let write = 0; write < ringCount; write++) writeSync(writeFd, Buffer.alloc(1024, 7));
  await Bun.sleep(50); // there is no event to wait for: the rings' global object is gone
  expect(mine.filter((bytes) => bytes.some((byte) => byte !== 2)).length).toBe(0);
}
