/** Which requests are reads and writes, and how many bytes they are. */
import {
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_READV,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IORING_OP_WRITEV,
  IORING_OP_WRITEV_FIXED,
} from "./uapi.ts";

/** Parts of a vectored transfer, at most: UIO_MAXIOV. */
export const largestVector = 1024;

/** Bytes of one transfer, at most: MAX_RW_COUNT. */
export const largestTransferBytes = 0x7ffff000;

/** Flags of preadv2(2) and pwritev2(2). */
export const RWF_DSYNC = 2;
export const RWF_NOWAIT = 8;
/** As O_APPEND, for one write. */
export const RWF_APPEND = 16;

function opcodeSet(...opcodes: readonly number[]): readonly boolean[] {
  const has = new Array<boolean>(256).fill(false);
  for (const opcode of opcodes) has[opcode] = true;
  return has;
}

// By opcode: asked several times an operation.
const transfers = opcodeSet(
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_READV,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IORING_OP_WRITEV,
  IORING_OP_WRITEV_FIXED,
);
const writes = opcodeSet(IORING_OP_WRITE, IORING_OP_WRITE_FIXED, IORING_OP_WRITEV, IORING_OP_WRITEV_FIXED);
const vectors = opcodeSet(IORING_OP_READV, IORING_OP_READV_FIXED, IORING_OP_WRITEV, IORING_OP_WRITEV_FIXED);

/** Reads and writes of every kind. */
export function isTransfer(opcode: number): boolean {
  return transfers[opcode] === true;
}

export function isWrite(opcode: number): boolean {
  return writes[opcode] === true;
}

/** Whether its length is a number of iovecs. */
export function isVectored(opcode: number): boolean {
  return vectors[opcode] === true;
}

/** Bytes that a transfer is to move. */
export function transferBytes({ len, vectorBytes }: { readonly len: number; readonly vectorBytes: number }): number {
  return vectorBytes === -1 ? len : vectorBytes;
}
