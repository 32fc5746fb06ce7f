/**
 * io_uring for Bun, with fixed buffers that are registered once and cloned into every ring that needs them. Importing
 * the module compiles nothing and works on every platform. The first use of a class requires Linux.
 *
 * @module
 * @mergeModuleWith <project>
 */

export { assertNoOpenHandles, type OpenHandle, openHandles, trackHandles } from "./base/handles.ts";
export { UringError } from "./errors/uring-error.ts";
export { type CopyFileOptions, type CopyProgress, copyFile } from "./files/copy.ts";
export type { CopyFileResult } from "./files/copy-content.ts";
export { type CopyTreeOptions, type CopyTreeProgress, type CopyTreeResult, copyTree } from "./files/copy-tree.ts";
export { type HashFileOptions, type HashProgress, hashFile } from "./files/hash.ts";
export { type HashTreeOptions, type HashTreeResult, hashTree } from "./files/hash-tree.ts";
/** For `bun-uring/promises`. @internal */
export { nodePromises } from "./files/node-promises.ts";
export { type RemoveTreeOptions, removeTree } from "./files/remove-tree.ts";
export type { RingAndPool } from "./files/ring-and-pool.ts";
export { BufferPool, type BufferPoolOptions, type PoolHandle, type PoolStats } from "./pool/buffer-pool.ts";
export { FixedBuffer, type SlotToken } from "./pool/fixed-buffer.ts";
export type { Advice } from "./requests/builders.ts";
export type { Alignment } from "./requests/open-file.ts";
export type { Statx } from "./requests/statx.ts";
export { Appender, type AppenderOptions } from "./ring/appender.ts";
export { Batch } from "./ring/batch.ts";
export type { FixedTransferOptions, FixedWriteOptions, OperationOptions, TransferOptions } from "./ring/core.ts";
export { type FileTarget, RingFile } from "./ring/file.ts";
export type { FileData, FileOptions, ReadOptions, WriteFileOptions } from "./ring/file-arguments.ts";
export type { PumpCallback, PumpLane, PumpOptions } from "./ring/pump.ts";
export type { ReadFileResult, ReadFilesOptions } from "./ring/read-files.ts";
export type { ReadableOptions } from "./ring/readable.ts";
export {
  type FixedPart,
  type OpenOptions,
  type PathReadOptions,
  type PathWriteOptions,
  Ring,
  type RingOptions,
  type RingStats,
} from "./ring/ring.ts";
export type { StreamOptions } from "./ring/stream-options.ts";
export type { WritableChunk, WritableOptions } from "./ring/writable.ts";
export { constants } from "./uring/constants.ts";
export type { Memlock } from "./uring/memlock.ts";
export type { RawRingOptions } from "./uring/options.ts";
export { type Probe, probe } from "./uring/probe.ts";
export { type CloneOptions, RawRing } from "./uring/raw-ring.ts";
export type { Registrable } from "./uring/registration.ts";
