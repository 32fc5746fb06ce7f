/**
 * Memory for the arguments of one system call. It never moves, and every call of `scratch` uses the same memory: what
 * one call returned is valid until the next call.
 */
import { addressOf } from "./native.ts";

/** The memory in the forms that system calls need. */
export interface Scratch {
  readonly address: number;
  readonly words: Int32Array;
  readonly longs: BigUint64Array;
}

function allocate(sizeBytes: number): Scratch {
  const memory = new SharedArrayBuffer(Math.ceil(sizeBytes / 4096) * 4096);
  return { address: addressOf(memory), words: new Int32Array(memory), longs: new BigUint64Array(memory) };
}

let current: Scratch | undefined;

/** Returns at least `sizeBytes` of zeroed memory. */
export function scratch(sizeBytes: number): Scratch {
  if (current === undefined || current.words.byteLength < sizeBytes) current = allocate(sizeBytes);
  current.words.fill(0, 0, Math.ceil(sizeBytes / 4));
  return current;
}
