/** Writes one submission queue entry. Pure: it knows the layout of `struct io_uring_sqe` and nothing else. */

import { assert } from "./assert.ts";

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
 *
 * @param sqeFlags - `sqe->flags`, IOSQE_*
 * @param position - `sqe->off`: a file position, or -1 for the file's own
 * @param address - `sqe->addr`; of a splice or fallocate a position or length
 * @param operationFlags - `sqe->rw_flags` and its other names
 * @param bufferIndex - `sqe->buf_index`
 * @param spliceFd - `sqe->splice_fd_in` and its other names
 */
export function writeSqe(
  words: Int32Array,
  base: number,
  opcode: number,
  sqeFlags: number,
  fd: number,
  position: number | bigint,
  address: number | bigint,
  length: number,
  operationFlags: number,
  userData: number,
  bufferIndex: number,
  spliceFd = 0,
): void {
  assert(length < twoTo32, "a request's length has 32 bits");
  words[base] = opcode | (sqeFlags << 8);
  words[base + 1] = fd;
  writeLong(words, base + 2, position);
  writeLong(words, base + 4, address);
  words[base + 6] = length;
  words[base + 7] = operationFlags;
  writeLong(words, base + 8, userData);
  words[base + 10] = bufferIndex;
  words[base + 11] = spliceFd;
  words[base + 12] = 0;
  words[base + 13] = 0;
  words[base + 14] = 0;
  words[base + 15] = 0;
}

/** What `writeSqe` takes of a request. */
export type SqeFields = Parameters<typeof writeSqe> extends [Int32Array, number, ...infer Fields] ? Fields : never;
