import type { FileHandle } from "node:fs/promises";
import { onAbort } from "./abort.ts";
import { checkBoolean, checkInteger, checkOptions, checkSignal, invalidType } from "./arguments.ts";
import { UringError } from "./errors.ts";
import type { FixedBuffer } from "./fixed-buffer.ts";
import { kernel } from "./kernel.ts";
import { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_WRONLY } from "./open-flags.ts";
import type { BufferPool } from "./pool.ts";
import type { Ring } from "./ring.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";

/** Loaded when it is needed: importing it takes a while. */
const files = () => process.getBuiltinModule("node:fs/promises");

/** As `fs.constants` has them. */
const COPYFILE_EXCL = 1;
const COPYFILE_FICLONE = 2;
const COPYFILE_FICLONE_FORCE = 4;

/** Of a larger slot only so much is used: what is in the page cache is copied on the event loop, which has other work too. */
const largestChunkBytes = 2 ** 18;
const largestDepth = 1024;
const allPermissions = 0o7777;
/** S_ISUID | S_ISGID */
const setsId = 0o6000;

/** How far a copy is. */
export interface CopyProgress {
  /** Never less than before, unless the source is cut off meanwhile. */
  readonly copiedBytes: number;
  /** The source's size; more while it grows. */
  readonly totalBytes: number;
}

/** Options of `copyFile`. */
export interface CopyFileOptions extends RingAndPool {
  /** Chunks in flight, 1 to 1024, each in a slot, of which up to 256 KiB are used; fewer while the pool has fewer. Default 8. */
  readonly depth?: number;
  /**
   * COPYFILE_* of `fs.constants`: _EXCL refuses a destination that exists, _FICLONE_FORCE everything but a reflink. _FICLONE changes nothing, for a reflink is
   * always tried. Default 0.
   */
  readonly mode?: number;
  /** Resolve when the copy, and its name where that is new, are on stable storage. Default false. */
  readonly durable?: boolean;
  /** Rejects the promise with its reason when aborted: after the chunks in flight, or the reflink or sync, which cannot be interrupted. */
  readonly signal?: AbortSignal;
  /** Called at the start and after each chunk; the last time both numbers are the same. What it throws ends the copy. */
  readonly onProgress?: (progress: CopyProgress) => void;
}

/** What `copyFile` did. */
export interface CopyFileResult {
  /** The copy's length. 0 where nothing was to be done. */
  readonly copiedBytes: number;
  /** The two files share their blocks; the bytes were read and written; or nothing was done, for the two are one file. */
  readonly method: "reflink" | "read_write" | "none";
}

/** A copy under way. */
interface Copy {
  readonly source: FileHandle;
  readonly destination: FileHandle;
  /** The source's size at the start, in bytes. */
  readonly size: number;
  /** What the destination had before, in bytes. */
  readonly oldSize: number;
  /** The source has holes. */
  readonly sparse: boolean;
  readonly depth: number;
  readonly signal: AbortSignal | undefined;
  /** Adds to what is copied. */
  readonly advance: (bytes: number) => void;
}

function pathOf(name: string, path: unknown): string {
  const text = path instanceof URL ? Bun.fileURLToPath(path) : path;
  if (typeof text !== "string") throw invalidType(name, "a string or a file: URL", path);
  return text;
}

function checkCopyOptions(options: CopyFileOptions): void {
  checkOptions(options, ["ring", "pool", "depth", "mode", "durable", "signal", "onProgress"]);
  const { depth = 1, mode = 0, durable = false, signal, onProgress } = options;
  checkRingAndPool(options);
  checkInteger("options.depth", depth, 1, largestDepth);
  checkInteger("options.mode", mode, 0, COPYFILE_EXCL | COPYFILE_FICLONE | COPYFILE_FICLONE_FORCE);
  checkBoolean("options.durable", durable);
  if (signal !== undefined) checkSignal(signal);
  if (onProgress !== undefined && typeof onProgress !== "function") throw invalidType("options.onProgress", "a function", onProgress);
}

/** Of a copy, as its errors name them. */
interface Paths {
  readonly path: string;
  readonly destination: string;
}

/** An error of a system call names both files: a call on a descriptor knows none. What the library itself refused says why. */
function named(error: unknown, paths: Paths): unknown {
  if (!(error instanceof Error && "errno" in error && "syscall" in error)) return error;
  if (error instanceof UringError && !error.syscall.endsWith("_fixed")) return error;
  if (typeof error.errno !== "number" || typeof error.syscall !== "string") return error;
  if (error instanceof UringError && error.message !== new UringError(error.errno, error.syscall).message) return error;
  return new UringError(error.errno, error.syscall, { ...paths, cause: error });
}

function checkRegular(paths: Paths, which: keyof Paths, stats: { isFile(): boolean; isDirectory(): boolean }): void {
  if (stats.isDirectory()) throw new UringError("EISDIR", "open", paths);
  if (!stats.isFile()) throw new UringError("EINVAL", "open", { ...paths, message: `the ${which === "path" ? "source" : which} is not a regular file` });
}

/** Opens one of the two. */
async function openRegular(paths: Paths, which: keyof Paths, flags: number, mode?: number) {
  if ((flags & O_EXCL) === 0) {
    // Before it is opened: a FIFO would be waited for. What else is wrong, open says.
    const found = await files()
      .stat(paths[which])
      .catch(() => undefined);
    if (found !== undefined) checkRegular(paths, which, found);
  }
  const file = await files().open(paths[which], flags, mode);
  try {
    const stats = await file.stat({ bigint: true });
    checkRegular(paths, which, stats);
    return { file, stats };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Opens the destination, and says whether that made it. Until the copy is done its owner may write to it, whatever its permissions are to be. */
async function openDestination(paths: Paths, permissions: number, exclusive: boolean) {
  const mode = (permissions & 0o777) | 0o200;
  try {
    return { created: true, ...(await openRegular(paths, "destination", O_WRONLY | O_CREAT | O_EXCL, mode)) };
  } catch (error) {
    if (exclusive || !(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    // The name may be that of a link to nothing, which is created then.
    return { created: false, ...(await openRegular(paths, "destination", O_WRONLY | O_CREAT, mode)) };
  }
}

/** Has the destination share the source's blocks, on a thread of node:fs: the kernel writes back first what was written to the source. */
async function reflink({ source, destination, size, oldSize }: Copy): Promise<void> {
  const share = () => files().copyFile(`/proc/self/fd/${source.fd}`, `/proc/self/fd/${destination.fd}`, COPYFILE_FICLONE_FORCE);
  try {
    await share();
  } catch (error) {
    // A longer file cannot share a block that the source ends in.
    if (oldSize <= size || !(error instanceof Error && "code" in error && error.code === "EINVAL")) throw error;
    await destination.truncate(size);
    await share();
  }
  // Of a longer one the rest is there still.
  if (oldSize > size) await destination.truncate(Math.min(size, (await source.stat()).size));
}

/** Whether every byte is 0: the first is, and each is what the one before it is. */
function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0;
}

/** Repeats a transfer, from what is done on, until all is done or nothing comes. Returns how much that is. */
async function repeat(length: number, transfer: (done: number) => Promise<number>): Promise<number> {
  let done = 0;
  while (done < length) {
    const transferred = await transfer(done);
    if (transferred === 0) break;
    done += transferred;
  }
  return done;
}

function chunksOf(sizeBytes: number, chunkBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / chunkBytes));
}

/** Copies by way of slots. Returns where the source's end was met. */
async function readAndWrite(copy: Copy, ring: Ring, pool: BufferPool): Promise<number> {
  const { source, destination, size, oldSize, sparse, signal, advance } = copy;
  const chunkBytes = Math.min(pool.size, largestChunkBytes);
  const stop = new AbortController();
  let next = 0;
  let end = Number.POSITIVE_INFINITY;
  let writtenEnd = 0;
  let emptied: Promise<void> | undefined;

  /** What the destination had goes when the first bytes to replace it are there. */
  function empty(): Promise<void> {
    emptied ??= oldSize > 0 ? destination.truncate() : Promise.resolve();
    return emptied;
  }

  /** No signal interrupts its operations: descriptors have to stay open until the kernel is done with them. */
  async function copyChunk(buffer: FixedBuffer, position: number): Promise<void> {
    const length = await repeat(chunkBytes, (done) =>
      ring.readFixed(source.fd, buffer, { position: position + done, offset: done, length: chunkBytes - done }),
    );
    if (length < chunkBytes) end = Math.min(end, position + length);
    if (length === 0) return;
    await empty();
    if (!sparse || !isZero(buffer.bytes.subarray(0, length))) {
      const written = await repeat(length, (done) =>
        ring.writeFixed(destination.fd, buffer, { position: position + done, offset: done, length: length - done }),
      );
      if (written < length) throw new UringError("EIO", "write_fixed");
      writtenEnd = Math.max(writtenEnd, position + length);
    }
    advance(length);
  }

  /** Copies chunk after chunk. It has one slot at a time, and needs no other to go on: copies that share a pool never wait for each other in a circle. */
  async function lane(index: number): Promise<void> {
    // The first one also finds out what lies behind the size.
    while (next < (index === 0 ? end : Math.min(end, size)) && !stop.signal.aborted) {
      const position = next;
      next += chunkBytes;
      using buffer = await pool.acquire({ signal: stop.signal });
      await copyChunk(buffer, position);
    }
  }

  signal?.throwIfAborted();
  const forget = signal && onAbort(signal, () => stop.abort(signal.reason));
  const lanes = Array.from({ length: Math.min(copy.depth, chunksOf(size, chunkBytes)) }, (_, index) => lane(index).catch((error) => stop.abort(error)));
  await Promise.all(lanes);
  forget?.();
  stop.signal.throwIfAborted();
  await empty();
  if (writtenEnd !== end) await destination.truncate(end);
  return end;
}

/**
 * Copies by a reflink where that goes, otherwise by reads and writes. Not by copy_file_range(2): io_uring has no such request, and node:fs none for part of a
 * file, so it could be neither aborted nor watched; from page cache to page cache it is no quicker.
 */
async function copyContent(copy: Copy, options: CopyFileOptions): Promise<CopyFileResult> {
  const forced = ((options.mode ?? 0) & COPYFILE_FICLONE_FORCE) !== 0;
  if (copy.size > 0 || forced) {
    try {
      await reflink(copy);
      return { copiedBytes: (await copy.destination.stat()).size, method: "reflink" };
    } catch (error) {
      if (forced) throw error;
    }
    copy.signal?.throwIfAborted();
  }
  const own = { count: Math.min(copy.depth, chunksOf(copy.size, largestChunkBytes)), size: largestChunkBytes };
  return { copiedBytes: await withRing(options, own, (ring, pool) => readAndWrite(copy, ring, pool)), method: "read_write" };
}

/** Removes a file, unless somebody has put another in its place. */
async function removeSame(path: string, { dev, ino }: { readonly dev: bigint; readonly ino: bigint }): Promise<void> {
  try {
    const now = await files().lstat(path, { bigint: true });
    if (now.dev === dev && now.ino === ino) await files().unlink(path);
  } catch {
    // It is not there any more, or may not be removed: why the copy failed is what is told.
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await files().open(path, O_RDONLY | O_DIRECTORY);
  await folder.sync();
}

async function copyPaths(paths: Paths, options: CopyFileOptions): Promise<CopyFileResult> {
  const { depth = 8, mode = 0, durable = false, signal, onProgress } = options;
  const { file, stats } = await openRegular(paths, "path", O_RDONLY);
  await using source = file;
  const permissions = Number(stats.mode) & allPermissions;
  const { file: destination, stats: old, created } = await openDestination(paths, permissions, (mode & COPYFILE_EXCL) !== 0);
  try {
    if (old.dev === stats.dev && old.ino === stats.ino) {
      await destination.close();
      return { copiedBytes: 0, method: "none" };
    }
    signal?.throwIfAborted();

    let copiedBytes = 0;
    let totalBytes = Number(stats.size);
    const advance = (bytes: number) => {
      copiedBytes += bytes;
      totalBytes = Math.max(totalBytes, copiedBytes);
      onProgress?.({ copiedBytes, totalBytes });
    };
    advance(0);
    const sparse = stats.blocks * 512n < stats.size;
    const result = await copyContent({ source, destination, size: totalBytes, oldSize: Number(old.size), sparse, depth, signal, advance }, options);
    if (copiedBytes !== result.copiedBytes || totalBytes !== result.copiedBytes)
      onProgress?.({ copiedBytes: result.copiedBytes, totalBytes: result.copiedBytes });

    // Last, for writing takes setuid and setgid away.
    if (old.mode !== stats.mode || (permissions & setsId) !== 0) await destination.chmod(permissions);
    signal?.throwIfAborted();
    if (durable) await destination.sync();
    await destination.close();
    if (durable && created) await syncFolder(process.getBuiltinModule("node:path").dirname(paths.destination));
    return result;
  } catch (error) {
    if (created) await removeSame(paths.destination, old);
    await destination.close().catch(() => undefined);
    throw error;
  }
}

/**
 * Copies a file's content and permissions, as `copyFile` of node:fs/promises does, with progress, and so that it can be aborted. Where the file system can
 * share blocks (btrfs, xfs, …) it does, at once; otherwise the bytes go through slots of a pool, several chunks at once, and holes of whole chunks stay holes.
 *
 * The destination is created, or replaced: what it had stays until the first of the new bytes are there. Copying a file onto itself does
 * nothing. A copy that fails or is aborted leaves nothing in flight and no file open; a destination that it created is removed, one that was there stays with
 * what it holds by then. A source that grows or shrinks meanwhile is copied up to where its end was met. For large files: one of a few KiB is copied sooner by
 * node:fs.
 *
 * @param from - a regular file: a path, or a file: URL
 * @param to - a path, or a file: URL
 * @throws TypeError, RangeError: an argument's or option's type or value
 * @throws UringError ENOENT, EACCES, ENOSPC, … with both paths; EEXIST: COPYFILE_EXCL, and the destination exists; EISDIR: one of the two is a folder; EINVAL: one is
 * no regular file; EOPNOTSUPP, EXDEV: COPYFILE_FICLONE_FORCE, and no reflink is possible; and the errors of `new Ring()`
 * and `new BufferPool()`
 *
 * @example
 * ```ts
 * import { copyFile } from "bun-uring";
 *
 * const { copiedBytes, method } = await copyFile("disk.img", "backup.img", {
 *   durable: true,
 *   signal: AbortSignal.timeout(60_000),
 *   onProgress: ({ copiedBytes, totalBytes }) => console.log(`${copiedBytes} of ${totalBytes}`),
 * });
 * console.log(`${copiedBytes} bytes by ${method}`);
 * ```
 *
 * @see ioctl_ficlone(2), io_uring_prep_read_fixed(3), io_uring_prep_write_fixed(3)
 */
export async function copyFile(from: string | URL, to: string | URL, options: CopyFileOptions = {}): Promise<CopyFileResult> {
  const paths = { path: pathOf("from", from), destination: pathOf("to", to) };
  checkCopyOptions(options);
  options.signal?.throwIfAborted();
  kernel(); // a machine without io_uring says so before anything is touched
  try {
    return await copyPaths(paths, options);
  } catch (error) {
    throw error === options.signal?.reason ? error : named(error, paths);
  }
}
