/** What isolated test files do: one leaves a ring with a read in flight behind, another looks whether the kernel's late write hits memory of its own. */
import { expect } from "bun:test";
import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { RawRing } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const note = process.env["BUN_URING_NOTE"] ?? "";
const memoryBytes = 65536;
const ringCount = 24;

/** Leaves rings with reads in flight behind; the pipe's other end is noted in a file, which outlives this global object. */
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

/** Completes those reads, into memory that must still be the rings'. */
export async function completeLate(): Promise<void> {
  const mine: Uint8Array[] = [];
  for (let round = 0; round < 10; round++) {
    Bun.gc(true);
    await new Promise(setImmediate);
    for (let count = 0; count < ringCount; count++) mine.push(new Uint8Array(new SharedArrayBuffer(memoryBytes)).fill(2));
  }
  const writeFd = Number(readFileSync(note, "utf8"));
  for (let write = 0; write < ringCount; write++) writeSync(writeFd, Buffer.alloc(1024, 7));
  await Bun.sleep(50); // nobody is left to hear of their completion
  expect(mine.filter((bytes) => bytes.some((byte) => byte !== 2)).length).toBe(0);
}
