/** Which requests are reads and writes or change a file otherwise, and how many bytes they transfer. */
import {
  IORING_OP_FALLOCATE,
  IORING_OP_FTRUNCATE,
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_READV,
  IORING_OP_READV_FIXED,
  IORING_OP_SPLICE,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IORING_OP_WRITEV,
  IORING_OP_WRITEV_FIXED,
} from "./uapi.ts";

/** The most parts that a vectored transfer can have: UIO_MAXIOV. */
export const largestVector = 1024;

/** The most bytes that one transfer can move: MAX_RW_COUNT. */
export const largestTransferBytes = 0x7ffff000;

/** Flags of preadv2(2) and pwritev2(2). */
export const RWF_DSYNC = 2;
export const RWF_NOWAIT = 8;
/** Like O_APPEND, for a single write. */
export const RWF_APPEND = 16;
/** Do not leave the pages in the page cache. Since Linux 6.14, on some file systems; EOPNOTSUPP elsewhere. */
export const RWF_DONTCACHE = 0x80;

function opcodeSet(...opcodes: readonly number[]): readonly boolean[] {
  const has = new Array<boolean>(256).fill(false);
  for (const opcode of opcodes) has[opcode] = true;
  return has;
}

const reading = [IORING_OP_READ, IORING_OP_READ_FIXED, IORING_OP_READV, IORING_OP_READV_FIXED];
const writing = [IORING_OP_WRITE, IORING_OP_WRITE_FIXED, IORING_OP_WRITEV, IORING_OP_WRITEV_FIXED];

// Tables by opcode, since each operation is looked up several times.
const transfers = opcodeSet(...reading, ...writing);
const writes = opcodeSet(...writing);
const changing = opcodeSet(...writing, IORING_OP_SPLICE, IORING_OP_FALLOCATE, IORING_OP_FTRUNCATE);
const vectors = opcodeSet(IORING_OP_READV, IORING_OP_READV_FIXED, IORING_OP_WRITEV, IORING_OP_WRITEV_FIXED);

/** Whether the request is a read or write of any kind. */
export function isTransfer(opcode: number): boolean {
  return transfers[opcode] === true;
}

export function isWrite(opcode: number): boolean {
  return writes[opcode] === true;
}

/** Whether the request may change a file's content. */
export function changesContent(opcode: number): boolean {
  return changing[opcode] === true;
}

/** Whether the request's `len` is a number of iovecs. */
export function isVectored(opcode: number): boolean {
  return vectors[opcode] === true;
}

/** How many bytes a transfer is meant to move. */
export function transferBytes({ len, vectorBytes }: { readonly len: number; readonly vectorBytes: number }): number {
  return vectorBytes === -1 ? len : vectorBytes;
}
