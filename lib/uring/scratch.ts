/** Memory for the arguments of one system call. It stays where it is and is reused: valid until the next call of `scratch`. */
import { addressOf } from "./native.ts";

/** Scratch memory, seen as what system calls take. */
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

/** At least `sizeBytes` of zeroed memory. */
export function scratch(sizeBytes: number): Scratch {
  if (current === undefined || current.words.byteLength < sizeBytes) current = allocate(sizeBytes);
  current.words.fill(0, 0, Math.ceil(sizeBytes / 4));
  return current;
}
