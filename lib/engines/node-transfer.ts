/** Transfers by the threads of node:fs, where io_uring does not do them right, see `Descriptor.fuse`. */
import { Buffer, Bun, process } from "../base/globals.ts";
import { EAGAIN, EIO } from "../errors/errno.ts";
import { mapped } from "../uring/native.ts";
import type { Sqe } from "../uring/sqe.ts";
import { isVectored, isWrite } from "../uring/transfers.ts";

const fs = () => process.getBuiltinModule("node:fs"); // loaded when it is needed: it takes longer than making a ring

/** Whether node:fs has all that the transfer asks for. */
export function canTransferOnThread({ off, opFlags }: Sqe): boolean {
  return opFlags === 0 && off <= Number.MAX_SAFE_INTEGER;
}

/** The memory of a transfer, part by part. */
function partsOf({ opcode, addr, len }: Sqe): Uint8Array[] {
  if (!isVectored(opcode)) return [bytesAt(Number(addr), len)];
  const vector = new BigUint64Array(mapped(Number(addr), 16 * len));
  return Array.from({ length: len }, (_, index) => bytesAt(Number(vector[2 * index]), Number(vector[2 * index + 1])));
}

function bytesAt(address: number, length: number): Uint8Array {
  return length === 0 ? new Uint8Array() : new Uint8Array(mapped(address, length));
}

/** Copies what was read into the parts that it was read for. */
function distribute(bytes: Uint8Array, parts: readonly Uint8Array[]): void {
  let offset = 0;
  for (const part of parts) {
    if (offset === bytes.length) return;
    const piece = bytes.subarray(offset, offset + part.length);
    part.set(piece);
    offset += piece.length;
  }
}

/**
 * Carries out a transfer, and calls `settle` once with the number of bytes, or -errno. A read of a Worker that is terminated would land in its memory afterwards, when another
 * thread may have the slot: there the bytes go by way of memory that is nobody else's.
 */
export function transferOnThread(request: Sqe, settle: (result: number) => void): void {
  try {
    transfer(request, settle);
  } catch {
    settle(EIO); // no memory for it, say: nothing was begun
  }
}

function transfer(request: Sqe, settle: (result: number) => void): void {
  const { fd, opcode, off } = request;
  const at = off === -1 ? null : Number(off);
  const parts = partsOf(request);
  const isRead = !isWrite(opcode);
  const own = Bun.isMainThread ? undefined : Buffer.allocUnsafeSlow(parts.reduce((sum, { length }) => sum + length, 0));
  if (own !== undefined && !isRead) Buffer.concat(parts).copy(own);
  const done = (error: NodeJS.ErrnoException | null, transferred: number) => {
    if (error !== null) return settle(error.code === "EAGAIN" ? EAGAIN : (error.errno ?? EIO));
    if (own !== undefined && isRead) distribute(own.subarray(0, transferred), parts);
    settle(transferred);
  };
  const memory = own === undefined ? parts : [own];
  if (isRead) fs().readv(fd, memory, at, done);
  else fs().writev(fd, memory, at, done); // the last that may throw: `done` is not called then
}
