/** Memory that cannot move, for what a program gives: a file's transfers read into it and write out of it. */

import { bufferOf, isSharedMemory } from "../base/view.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { addressOf } from "../uring/native.ts";

/** So many bytes, aligned as the file wants them. */
export function transferMemory(sizeBytes: number, { memoryBytes }: OpenFile): Uint8Array {
  const memory = new SharedArrayBuffer(sizeBytes + memoryBytes - 1);
  return new Uint8Array(memory, memoryBytes === 1 ? 0 : -addressOf(memory) & (memoryBytes - 1), sizeBytes);
}

/** Memory to read into: the bytes themselves, where they cannot move, or as much elsewhere. */
export function memoryFor(bytes: Uint8Array, file: OpenFile): Uint8Array {
  return isSharedMemory(bufferOf(bytes)) ? bytes : transferMemory(bytes.length, file);
}

/** Memory to write from, with the same content. */
export function memoryOf(bytes: Uint8Array, file: OpenFile): Uint8Array {
  const memory = memoryFor(bytes, file);
  if (memory !== bytes) memory.set(bytes);
  return memory;
}
