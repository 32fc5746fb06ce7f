/**
 * io_uring for Bun, with fixed buffers that are registered once and cloned into every ring that needs them.
 * Importing this compiles nothing and works anywhere; the first use of a class needs Linux.
 *
 * @module
 * @mergeModuleWith <project>
 */
export { type CopyFileOptions, type CopyFileResult, type CopyProgress, copyFile } from "./copy-file.ts";
export { UringError } from "./errors.ts";
export { RingFile } from "./file.ts";
export type { FileData, FileOptions, ReadOptions, WriteFileOptions } from "./file-arguments.ts";
export { FixedBuffer, type SlotToken } from "./fixed-buffer.ts";
export { type HashFileOptions, type HashProgress, hashFile } from "./hash-file.ts";
export type { Memlock } from "./memlock.ts";
export type { Alignment } from "./open-file.ts";
export { assertNoOpenHandles, type OpenHandle, openHandles, trackHandles } from "./open-handles.ts";
export type { Advice } from "./operations.ts";
export { BufferPool, type BufferPoolOptions, type PoolHandle, type PoolStats } from "./pool.ts";
export { type Probe, probe } from "./probe.ts";
export { type CloneOptions, RawRing, type RawRingOptions, type Registrable } from "./raw-ring.ts";
export type { ReadableOptions } from "./readable.ts";
export { type FixedPart, type OpenOptions, Ring, type RingOptions, type RingStats } from "./ring.ts";
export type { RingAndPool } from "./ring-and-pool.ts";
export type { FixedTransferOptions, FixedWriteOptions, OperationOptions, TransferOptions } from "./ring-core.ts";
export type { Statx } from "./statx.ts";
export type { StreamOptions } from "./stream-options.ts";
export * from "./uapi.ts";
export type { WritableChunk, WritableOptions } from "./writable.ts";
