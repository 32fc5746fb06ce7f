/**
 * Memory that cannot move while the kernel uses it. A file's transfers use it in place of the program's own memory,
 * which could move.
 */

import { bufferOf, isSharedMemory } from "../base/view.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { addressOf } from "../uring/native.ts";

/** Allocates memory of this size, aligned as the file requires. */
export function transferMemory(sizeBytes: number, { memoryBytes }: OpenFile): Uint8Array {
  const memory = new SharedArrayBuffer(sizeBytes + memoryBytes - 1);
  return new Uint8Array(memory, memoryBytes === 1 ? 0 : -addressOf(memory) & (memoryBytes - 1), sizeBytes);
}

/** Returns memory to read into: the bytes themselves if they cannot move, otherwise other memory of the same size. */
export function memoryFor(bytes: Uint8Array, file: OpenFile): Uint8Array {
  return isSharedMemory(bufferOf(bytes)) ? bytes : transferMemory(bytes.length, file);
}

/** Returns memory to write from, with the content of the bytes. */
export function memoryOf(bytes: Uint8Array, file: OpenFile): Uint8Array {
  const memory = memoryFor(bytes, file);
  if (memory !== bytes) memory.set(bytes);
  return memory;
}
