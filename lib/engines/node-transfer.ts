/** Transfers by the threads of node:fs, for files that io_uring does not handle correctly, see `Descriptor.fuse`. */
import { Buffer, Bun, process } from "../base/globals.ts";
import { EAGAIN, EIO } from "../errors/errno.ts";
import { mapped } from "../uring/native.ts";
import type { Sqe } from "../uring/sqe.ts";
import { isVectored, isWrite } from "../uring/transfers.ts";

const fs = () => process.getBuiltinModule("node:fs"); // loaded on first use: loading it is slower than creating a ring

/** Whether node:fs can do everything that the transfer asks for. */
export function canTransferOnThread({ off, opFlags }: Sqe): boolean {
  return opFlags === 0 && off <= Number.MAX_SAFE_INTEGER;
}

/** The transfer's memory, as one array for each part. */
function partsOf({ opcode, addr, len }: Sqe): Uint8Array[] {
  if (!isVectored(opcode)) return [bytesAt(Number(addr), len)];
  const vector = new BigUint64Array(mapped(Number(addr), 16 * len));
  return Array.from({ length: len }, (_, index) => bytesAt(Number(vector[2 * index]), Number(vector[2 * index + 1])));
}

function bytesAt(address: number, length: number): Uint8Array {
  return length === 0 ? new Uint8Array() : new Uint8Array(mapped(address, length));
}

/** Copies what was read into the parts, in order. */
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
 * Carries out a transfer, and calls `settle` once with the number of bytes, or -errno.
 *
 * A thread of node:fs goes on when its Worker is terminated. By then the slot may belong to another thread: a read
 * would overwrite that thread's data, and a write would write it to the file. In a Worker the bytes therefore go
 * through a buffer that nothing else uses. The main thread ends only with the process, so there the thread uses the
 * request's memory directly.
 */
export function transferOnThread(request: Sqe, settle: (result: number) => void): void {
  try {
    transfer(request, settle);
  } catch {
    settle(EIO); // for example no memory for the buffer: no transfer has begun
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
  else fs().writev(fd, memory, at, done); // if this throws, `done` is not called; nothing after it may throw
}
