/** What RingFile, and Ring by a path, do to an open file with one or more requests. */
import { throwIfAborted } from "../base/abort.ts";
import { Promise, process } from "../base/globals.ts";
import { invalidState } from "../errors/node.ts";
import { UringError } from "../errors/uring-error.ts";
import * as operations from "../requests/builders.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { positionAfter } from "../requests/own-position.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { kernel } from "../uring/kernel.ts";
import { largestTransferBytes } from "../uring/transfers.ts";
import { IORING_OP_FTRUNCATE } from "../uring/uapi.ts";
import { memoryFor, memoryOf } from "./transfer-memory.ts";

/**
 * Transfers any memory. If the memory could move while the kernel uses it, the data is copied: before a write out of it,
 * after a read into it.
 */
export async function transferAny(
  requests: RequestQueue,
  file: OpenFile,
  direction: "read" | "write",
  bytes: Uint8Array,
  position: number | bigint | undefined,
  signal?: AbortSignal,
): Promise<number> {
  const memory = (direction === "read" ? memoryFor : memoryOf)(bytes, file);
  const transferred = await requests.run(() => operations.transfer(direction, file, memory, position), signal);
  if (direction === "read" && memory !== bytes) bytes.set(memory.subarray(0, transferred));
  return transferred;
}

/** The error for data whose memory was detached or shrank. */
export function changedData(written: number, totalBytes: number): Error {
  return invalidState(`data was detached or resized after ${written} of its ${totalBytes} bytes were written`);
}

/**
 * Writes all of the bytes, by several requests if need be.
 * @param note - called with the number of bytes that each request has written
 */
export async function writeAll(
  requests: RequestQueue,
  file: OpenFile,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
  position?: number | bigint,
  note?: (bytesWritten: number) => void,
): Promise<void> {
  throwIfAborted(signal); // even if there is nothing to write
  // Read the length once: if the memory is detached or shrinks meanwhile, the length does too, and the loop would end
  // early without an error.
  const totalBytes = bytes.length;
  for (let written = 0; written < totalBytes; ) {
    if (bytes.length !== totalBytes) throw changedData(written, totalBytes);
    const part = bytes.subarray(written, written + largestTransferBytes);
    const at = position === undefined ? undefined : positionAfter(position, written);
    const bytesWritten = await transferAny(requests, file, "write", part, at, signal);
    if (bytesWritten === 0) throw operations.noMoreTaken(written, totalBytes);
    written += bytesWritten;
    note?.(bytesWritten);
  }
}

/**
 * Turns a call of node:fs, which runs on its thread pool, into a promise. Not with promisify of node:util, because that
 * module takes long to load.
 */
export function promised<Value>(act: (done: (error: Error | null, value: Value) => void) => void): Promise<Value> {
  return new Promise((resolve, reject) => act((error, value) => (error === null ? resolve(value) : reject(error))));
}

// Loaded on first use, because loading it takes longer than making a ring.
export const fs = () => process.getBuiltinModule("node:fs");

/** Truncates the file to a length, or extends it with zeros. Before Linux 6.9, it uses node:fs. */
export function truncate(requests: RequestQueue, file: OpenFile, sizeBytes: number): Promise<void> {
  if (kernel().opcodes.has(IORING_OP_FTRUNCATE)) return requests.run(() => operations.ftruncate(file, sizeBytes));
  return requests.outside(file, "ftruncate", (fd) => promised<void>((done) => fs().ftruncate(fd, sizeBytes, done)));
}

/** Writes the content and metadata back. Ignores the EINVAL of a file without storage, such as a pipe. */
export async function flush(requests: RequestQueue, file: OpenFile): Promise<void> {
  try {
    await requests.run(() => operations.sync("fsync", file));
  } catch (error) {
    if (!(error instanceof UringError && error.code === "EINVAL")) throw error;
  }
}
