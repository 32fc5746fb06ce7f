/** Transfers by the threads of node:fs, where io_uring does not do them right, see `Descriptor.fuse`. */
import { Buffer, Bun, process } from "./globals.ts";
import { mapped } from "./native.ts";
import type { Operation } from "./operation.ts";
import { isVectored, isWrite } from "./transfers.ts";

const EAGAIN = -11;
const EIO = -5;

const fs = () => process.getBuiltinModule("node:fs"); // loaded when it is needed: it takes longer than making a ring

/** Whether node:fs has all that the transfer asks for. */
export function canTransferOnThread({ position, operationFlags }: Operation): boolean {
  return operationFlags === 0 && position <= Number.MAX_SAFE_INTEGER;
}

/** The memory of a transfer, part by part. */
function partsOf({ opcode, address, length }: Operation): Uint8Array[] {
  if (!isVectored(opcode)) return [bytesAt(Number(address), length)];
  const vector = new BigUint64Array(mapped(Number(address), 16 * length));
  return Array.from({ length }, (_, index) => bytesAt(Number(vector[2 * index]), Number(vector[2 * index + 1])));
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
export function transferOnThread(operation: Operation, settle: (result: number) => void): void {
  try {
    transfer(operation, settle);
  } catch {
    settle(EIO); // no memory for it, say: nothing was begun
  }
}

function transfer(operation: Operation, settle: (result: number) => void): void {
  const { fd, opcode, position } = operation;
  const at = position === -1 ? null : Number(position);
  const parts = partsOf(operation);
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
