import { assert } from "../base/assert.ts";

/** One submission queue entry. Pure: it knows the layout of `struct io_uring_sqe` and nothing else. */

/**
 * What an entry says, under the kernel's names, all but its user data. Where the kernel has several names for a field, for several operations, this has the one
 * of reads and writes.
 */
export interface Sqe {
  readonly opcode: number;
  /** IOSQE_* */
  readonly flags: number;
  readonly fd: number;
  /** A position in the file, -1: the file's own. */
  readonly off: number | bigint;
  /** Of memory; of a splice or fallocate a position or length. */
  readonly addr: number | bigint;
  readonly len: number;
  /** rw_flags, fsync_flags, open_flags, … */
  readonly opFlags: number;
  readonly bufIndex: number;
  readonly spliceFdIn: number;
}

/** 32-bit words of an entry; an IORING_SETUP_SQE128 ring has twice as many. */
export const sqeWords = 16;

const twoTo32 = 2 ** 32;

function writeLong(words: Int32Array, index: number, value: number | bigint): void {
  if (typeof value === "number") {
    const low = value | 0;
    words[index] = low;
    words[index + 1] = low === value ? low >> 31 : Math.floor(value / twoTo32);
  } else {
    words[index] = Number(BigInt.asIntN(32, value));
    words[index + 1] = Number(BigInt.asIntN(32, value >> 32n));
  }
}

/**
 * Fills the entry that begins at `words[base]`, every word of it.
 * @param flags - of `sqe`, or more
 * @param fd - that of `sqe`, or its index in the registered table
 */
export function writeSqe(words: Int32Array, base: number, sqe: Sqe, flags: number, fd: number, userData: number): void {
  const { len } = sqe;
  assert(len < twoTo32, "a request's length has 32 bits");
  words[base] = sqe.opcode | (flags << 8);
  words[base + 1] = fd;
  writeLong(words, base + 2, sqe.off);
  writeLong(words, base + 4, sqe.addr);
  words[base + 6] = len;
  words[base + 7] = sqe.opFlags;
  writeLong(words, base + 8, userData);
  words[base + 10] = sqe.bufIndex;
  words[base + 11] = sqe.spliceFdIn;
  words[base + 12] = 0;
  words[base + 13] = 0;
  words[base + 14] = 0;
  words[base + 15] = 0;
}
