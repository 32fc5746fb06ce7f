/**
 * A file's own position: where transfers without one of their own begin. With O_DIRECT the kernel does not move it on, nor behind the part of a transfer that was
 * done before the rest failed: there it is done here.
 */
import { native } from "./native.ts";
import type { OpenFile } from "./open-file.ts";
import { O_APPEND, O_DIRECT } from "./open-flags.ts";
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

/** Of pwritev2(2): as O_APPEND, for one write. */
export const RWF_APPEND = 16;

const SEEK_SET = 0;
const SEEK_CUR = 1;
const SEEK_END = 2;

const writes = [IORING_OP_WRITE, IORING_OP_WRITE_FIXED, IORING_OP_WRITEV, IORING_OP_WRITEV_FIXED];
/** By opcode: asked several times an operation. */
const transfers = new Array<boolean>(256).fill(false);
for (const opcode of [...writes, IORING_OP_READ, IORING_OP_READ_FIXED, IORING_OP_READV, IORING_OP_READV_FIXED]) transfers[opcode] = true;

/** Reads and writes of every kind. */
export function isTransfer(opcode: number): boolean {
  return transfers[opcode] === true;
}

interface Transfer {
  readonly opcode: number;
  readonly fd: number;
  readonly file: OpenFile | undefined;
  readonly position: number | bigint;
  readonly operationFlags: number;
}

/** open(2)'s flags of a file; 0 where there is none. */
function flagsOf({ fd, file }: Transfer): number {
  return file?.flags ?? Math.max(0, native().descriptorFlags(fd));
}

/** Whether it is a transfer at the file's own position. */
export function isAtOwnPosition({ position, opcode }: Transfer): boolean {
  return position === -1 && isTransfer(opcode);
}

/** Whether it is one at a position that the kernel would not move on. */
export function staysBehind(request: Transfer): boolean {
  return isAtOwnPosition(request) && (flagsOf(request) & O_DIRECT) !== 0;
}

/** Where such a transfer begins, in bytes; -1 where there is no position, as in a pipe. */
export function ownPositionOf({ fd }: Pick<Transfer, "fd">): number {
  return Math.max(-1, native().fileSeek(fd, 0, SEEK_CUR));
}

/** Moves the position on to where a transfer has ended. */
export function moveOn(request: Transfer, end: number): void {
  const isAppended = writes.includes(request.opcode) && ((request.operationFlags & RWF_APPEND) !== 0 || (flagsOf(request) & O_APPEND) !== 0);
  native().fileSeek(request.fd, isAppended ? 0 : end, isAppended ? SEEK_END : SEEK_SET);
}

/** Moves the position on from where a transfer began, if it is there still. */
export function catchUp(request: Transfer, begin: number, transferred: number): void {
  if (ownPositionOf(request) === begin) moveOn(request, begin + transferred);
}
