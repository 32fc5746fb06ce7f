import { assert } from "../base/assert.ts";

/** Writes a submission queue entry. It depends only on the layout of `struct io_uring_sqe`. */

/**
 * The fields of an entry under the kernel's names, except user_data. The kernel has several names for some fields,
 * depending on the operation. These are the names that reads and writes use.
 */
export interface Sqe {
  readonly opcode: number;
  /** IOSQE_* flags. */
  readonly flags: number;
  readonly fd: number;
  /** A position in the file; -1 is the file's own position. */
  readonly off: number | bigint;
  /** A memory address; for a splice or fallocate a position or length. */
  readonly addr: number | bigint;
  readonly len: number;
  /** rw_flags, fsync_flags, open_flags, … */
  readonly opFlags: number;
  readonly bufIndex: number;
  readonly spliceFdIn: number;
}

/** The size of an entry in 32-bit words. Entries of an IORING_SETUP_SQE128 ring are twice as large. */
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
 * Writes all words of the entry that begins at `words[base]`.
 * @param flags - replaces `sqe.flags`, and contains them
 * @param fd - replaces `sqe.fd`: the same descriptor, or its index in the registered table
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
