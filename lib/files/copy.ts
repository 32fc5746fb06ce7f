import { onAbort, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, checkOptions, checkSignal, invalidType, invalidValue } from "../base/arguments.ts";
import { Buffer, Promise, process } from "../base/globals.ts";
import { pathText } from "../base/path.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import type { FixedBuffer } from "../pool/fixed-buffer.ts";
import { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_WRONLY } from "../requests/open-flags.ts";
import { deviceNumber, type Statx } from "../requests/statx.ts";
import type { RingFile } from "../ring/file.ts";
import type { Ring } from "../ring/ring.ts";
import { STATX_BASIC_STATS } from "../uring/uapi.ts";
import { chunkBytesOf, repeat } from "./chunks.ts";
import { reflink } from "./reflink.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";

/** As `fs.constants` has them. */
const COPYFILE_EXCL = 1;
const COPYFILE_FICLONE = 2;
const COPYFILE_FICLONE_FORCE = 4;

/** Of a larger slot only so much is used: what is in the page cache is copied on the event loop, which has other work too. */
const largestChunkBytes = 2 ** 18;
const largestDepth = 1024;

/** Permissions that a copy gets of its source: all but setuid and setgid, which would give the rights of whoever has copied. */
const copiedPermissions = 0o1777;
const allPermissions = 0o7777;
const ownersPermissions = 0o700;
const fileType = 0o170000;
const folder = 0o040000;
const regularFile = 0o100000;

/** How far a copy is. */
export interface CopyProgress {
  /** Never less than before, unless the source is cut off meanwhile. */
  readonly copiedBytes: number;
  /** The source's size; more while it grows. */
  readonly totalBytes: number;
}

/** Options of `copyFile`. */
export interface CopyFileOptions extends RingAndPool {
  /** Chunks in flight, 1 to 1024, each of up to 256 KiB; with a pool each in a slot, and fewer while the pool has fewer. Default 8. */
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
  readonly source: RingFile;
  readonly destination: RingFile;
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
  /** Whether what the destination had before may be gone. */
  replaced: boolean;
}

function pathOf(name: string, path: unknown): string {
  const text = pathText(path, name);
  if (text.includes("\0")) throw invalidValue(`${name} must be a path without null bytes, not ${JSON.stringify(text)}`);
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

/** System calls on one of the two, of which an error names both. */
const callsOnFiles = ["openat", "open", "statx", "read", "write", "read_fixed", "write_fixed", "ftruncate", "fsync", "fchmod", "close", "ioctl_ficlone"];

/** What the library itself refused says why, and stays as it is. */
function named(error: unknown, paths: Paths): unknown {
  if (!(error instanceof Error && "errno" in error && "syscall" in error)) return error;
  const { errno, syscall } = error;
  if (typeof errno !== "number" || typeof syscall !== "string" || !callsOnFiles.includes(syscall)) return error;
  if (error instanceof UringError) {
    const { path, dest } = error;
    const plain = new UringError(errno, syscall, path === undefined ? {} : { path });
    if (dest !== undefined || error.message !== plain.message) return error;
  }
  return new UringError(errno, syscall === "openat" ? "open" : syscall, { ...paths, cause: error });
}

function checkRegular(paths: Paths, which: keyof Paths, { mode }: Statx): void {
  const type = mode & fileType;
  if (type === folder) throw new UringError("EISDIR", "open", paths);
  if (type !== regularFile) throw new UringError("EINVAL", "open", { ...paths, message: `the ${which === "path" ? "source" : which} is not a regular file` });
}

const basicStats = { mask: STATX_BASIC_STATS };

/** What is at a path; where that is nothing, or cannot be looked at, open says why. */
function lookAt(ring: Ring, path: string): Promise<Statx | undefined> {
  return path === "" ? Promise.resolve(undefined) : ring.statx(path, basicStats).catch(() => undefined);
}

/** Opens one of the two, which was looked at before, for a FIFO would be waited for; or is new. */
async function openRegular(ring: Ring, paths: Paths, which: keyof Paths, flags: number, found: Statx | undefined, mode?: number) {
  const path = paths[which];
  if (path === "") throw new UringError("ENOENT", "open", paths);
  if (found !== undefined) checkRegular(paths, which, found);
  const file = await ring.open(path, flags, mode);
  try {
    const stats = await ring.statx(file, basicStats);
    checkRegular(paths, which, stats);
    return { file, stats };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Opens the destination, and says whether that made it. Nobody but its owner may open a new one before it is all there. */
async function openDestination(ring: Ring, paths: Paths, permissions: number, exclusive: boolean, found: Statx | undefined) {
  const mode = permissions & ownersPermissions;
  let existing = found;
  if (existing === undefined || exclusive) {
    try {
      return { created: true, ...(await openRegular(ring, paths, "destination", O_WRONLY | O_CREAT | O_EXCL, undefined, mode)) };
    } catch (error) {
      if (exclusive || !(error instanceof UringError && error.code === "EEXIST")) throw error;
      existing = await lookAt(ring, paths.destination);
    }
  }
  // The name may be that of a link to nothing, which is created then.
  return { created: false, ...(await openRegular(ring, paths, "destination", O_WRONLY | O_CREAT, existing, mode)) };
}

function isSame(one: Statx, other: Statx): boolean {
  return one.ino === other.ino && one.devMajor === other.devMajor && one.devMinor === other.devMinor;
}

/** What chmod says of a file of somebody else, and of file systems that have no permissions. */
const noPermissions = ["EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL"];

/** Changes the permissions where that can be: they stay as they are where not. */
async function setPermissions(file: RingFile, permissions: number): Promise<void> {
  try {
    await file.chmod(permissions);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && typeof error.code === "string" && noPermissions.includes(error.code))) throw error;
  }
}

/** What a reflink says that changed nothing. */
const noReflink = ["EOPNOTSUPP", "EXDEV", "EINVAL", "ENOTTY", "EBADF", "EMFILE", "EAGAIN", "ENOMEM"];

/** Has the destination share the source's blocks. */
async function shareBlocks(copy: Copy): Promise<void> {
  const { source, destination, size, oldSize } = copy;
  const share = async () => {
    try {
      await reflink(source.fd, destination.fd);
      copy.replaced = true;
    } catch (error) {
      copy.replaced ||= !(error instanceof UringError && noReflink.includes(error.code));
      throw error;
    }
  };
  try {
    await share();
  } catch (error) {
    // A longer file cannot share a block that the source ends in.
    if (oldSize <= size || !(error instanceof UringError && error.code === "EINVAL")) throw error;
    copy.replaced = true;
    await destination.truncate(size);
    await share();
  }
  // Of a longer one the rest is there still; the source may have become shorter since it was looked at.
  const end = Math.min(size, await sizeOf(source));
  if (oldSize > end) await destination.truncate(end);
}

async function sizeOf(file: RingFile): Promise<number> {
  return (await file.stat()).size;
}

/** Whether every byte is 0: the first is, and each is what the one before it is. */
function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0;
}

function chunksOf(sizeBytes: number, chunkBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / chunkBytes));
}

/** Memory of a chunk, as its bytes travel: a slot, or some of the copy's own. No signal interrupts its transfers: an abort waits for them. */
interface ChunkMemory {
  readonly bytes: Uint8Array;
  read(position: number, offset: number, length: number): Promise<number>;
  write(position: number, offset: number, length: number): Promise<number>;
}

function slotMemory(ring: Ring, { source, destination }: Copy, buffer: FixedBuffer): ChunkMemory {
  return {
    bytes: buffer.bytes,
    read: (position, offset, length) => ring.readFixed(source, buffer, { position, offset, length }),
    write: (position, offset, length) => ring.writeFixed(destination, buffer, { position, offset, length }),
  };
}

function ownMemory(ring: Ring, { source, destination }: Copy, sizeBytes: number): ChunkMemory {
  const bytes = new Uint8Array(new SharedArrayBuffer(sizeBytes));
  return {
    bytes,
    read: (position, offset, length) => ring.read(source, bytes.subarray(offset, offset + length), { position }),
    write: (position, offset, length) => ring.write(destination, bytes.subarray(offset, offset + length), { position }),
  };
}

/** Copies by way of memory. Returns where the source's end was met. */
async function readAndWrite(copy: Copy, ring: Ring, pool: BufferPool | undefined): Promise<number> {
  const { destination, size, oldSize, sparse, signal, advance } = copy;
  const chunkBytes = Math.min(pool?.size ?? chunkBytesOf(size), largestChunkBytes);
  const stop = new Stop();
  let next = 0;
  let end = Number.POSITIVE_INFINITY;
  let writtenEnd = 0;
  let emptied: Promise<void> | undefined;

  /** What the destination had goes when the first bytes to replace it are there. */
  function empty(): Promise<void> {
    copy.replaced = true;
    emptied ??= oldSize > 0 ? destination.truncate() : Promise.resolve();
    return emptied;
  }

  async function copyChunk(memory: ChunkMemory, position: number): Promise<void> {
    const length = await repeat(chunkBytes, (done) => memory.read(position + done, done, chunkBytes - done));
    if (length < chunkBytes) end = Math.min(end, position + length);
    if (length === 0) return;
    await empty();
    if (!sparse || !isZero(memory.bytes.subarray(0, length))) {
      const written = await repeat(length, (done) => memory.write(position + done, done, length - done));
      if (written < length) throw new UringError("EIO", pool === undefined ? "write" : "write_fixed");
      writtenEnd = Math.max(writtenEnd, position + length);
    }
    advance(length);
  }

  /** Has one slot at a time, and needs no other to go on: copies that share a pool never wait for each other in a circle. */
  async function copyBySlot(slots: BufferPool, position: number): Promise<void> {
    using buffer = await slots.acquire({ signal: stop.signal });
    await copyChunk(slotMemory(ring, copy, buffer), position);
  }

  async function lane(index: number): Promise<void> {
    const memory = pool ?? ownMemory(ring, copy, chunkBytes);
    // The first one also finds out what lies behind the size.
    while (next < (index === 0 ? end : Math.min(end, size)) && !stop.signal.aborted) {
      const position = next;
      next += chunkBytes;
      if (memory instanceof BufferPool) await copyBySlot(memory, position);
      else await copyChunk(memory, position);
    }
  }

  throwIfAborted(signal);
  const forget = signal && onAbort(signal, () => stop.abort(reasonOf(signal)));
  const lanes = Array.from({ length: Math.min(copy.depth, chunksOf(size, chunkBytes)) }, (_, index) => lane(index).catch((error) => stop.abort(error)));
  await Promise.all(lanes);
  forget?.();
  throwIfAborted(stop.signal);
  await empty();
  if (writtenEnd !== end) await destination.truncate(end);
  return end;
}

/**
 * Copies by a reflink where that goes, otherwise by reads and writes. Not by copy_file_range(2): io_uring has no such request, and node:fs none for part of a
 * file, so it could be neither aborted nor watched; from page cache to page cache it is no quicker.
 */
async function copyContent(copy: Copy, ring: Ring, options: CopyFileOptions): Promise<CopyFileResult> {
  const forced = ((options.mode ?? 0) & COPYFILE_FICLONE_FORCE) !== 0;
  if (copy.size > 0 || forced) {
    try {
      await shareBlocks(copy);
      return { copiedBytes: await sizeOf(copy.destination), method: "reflink" };
    } catch (error) {
      if (forced) throw error;
    }
    throwIfAborted(copy.signal);
  }
  return { copiedBytes: await readAndWrite(copy, ring, options.pool), method: "read_write" };
}

/** Of node:fs, which opens nothing for these; the ring may be closed by then. It is loaded when it is needed: importing it takes a while. */
const files = () => process.getBuiltinModule("node:fs/promises");

/** A destination's path, while copies of this thread write there: whoever tries again after an abort may open the file that the aborted copy is about to remove. */
interface Target {
  readonly path: string;
  users: number;
  /** The file that one of the copies has made, as long as none has succeeded. */
  unfinished: Statx | undefined;
  /** The last of them has failed. */
  removing: Promise<void> | undefined;
}

const targets = new Map<string, Target>();

/** Joins those that write there; what is being removed is gone first. */
async function joinTarget(given: string): Promise<Target> {
  const path = process.getBuiltinModule("node:path").resolve(given);
  let target = targets.get(path);
  while (target?.removing !== undefined) {
    await target.removing;
    target = targets.get(path);
  }
  target ??= { path, users: 0, unfinished: undefined, removing: undefined };
  targets.set(path, target);
  target.users++;
  return target;
}

/** The last to leave, where all have failed, removes what one of them made. */
async function leaveTarget(target: Target): Promise<void> {
  if (target.users === 1 && target.unfinished !== undefined) {
    target.removing = removeSame(target.path, target.unfinished);
    await target.removing;
  }
  if (--target.users === 0) targets.delete(target.path);
}

/** Removes a file, unless somebody has put another in its place. */
async function removeSame(path: string, { ino, devMajor, devMinor }: Statx): Promise<void> {
  try {
    const now = await files().lstat(path, { bigint: true });
    if (now.ino === ino && now.dev === BigInt(deviceNumber(devMajor, devMinor))) await files().unlink(path);
  } catch {
    // It is not there any more, or may not be removed: why the copy failed is what is told.
  }
}

async function syncFolder(ring: Ring, path: string): Promise<void> {
  await using folder = await ring.open(path, O_RDONLY | O_DIRECTORY);
  await folder.sync();
}

async function copyPaths(paths: Paths, ring: Ring, options: CopyFileOptions): Promise<CopyFileResult> {
  const target = await joinTarget(paths.destination);
  try {
    const result = await copyTo(target, paths, ring, options);
    target.unfinished = undefined;
    return result;
  } finally {
    await leaveTarget(target);
  }
}

async function copyTo(target: Target, paths: Paths, ring: Ring, options: CopyFileOptions): Promise<CopyFileResult> {
  const { depth = 8, mode = 0, durable = false, signal, onProgress } = options;
  const [from, to] = await Promise.all([lookAt(ring, paths.path), lookAt(ring, paths.destination)]);
  const { file, stats } = await openRegular(ring, paths, "path", O_RDONLY, from);
  await using source = file;
  const permissions = stats.mode & copiedPermissions;
  const { file: destination, stats: old, created } = await openDestination(ring, paths, permissions, (mode & COPYFILE_EXCL) !== 0, to);
  if (created) target.unfinished = old;
  const oldPermissions = old.mode & allPermissions;
  const narrowed = oldPermissions & permissions;
  let copy: Copy | undefined;
  try {
    if (isSame(old, stats)) {
      await destination.close();
      return { copiedBytes: 0, method: "none" };
    }
    throwIfAborted(signal);

    let copiedBytes = 0;
    let totalBytes = Number(stats.size);
    const advance = (bytes: number) => {
      copiedBytes += bytes;
      totalBytes = Math.max(totalBytes, copiedBytes);
      onProgress?.({ copiedBytes, totalBytes });
    };
    const sparse = stats.blocks * 512n < stats.size;
    copy = { source, destination, size: totalBytes, oldSize: Number(old.size), sparse, depth, signal, advance, replaced: false };
    // Before the first byte is there, who may not read the source must not be able to open the copy.
    if (oldPermissions !== narrowed) await setPermissions(destination, narrowed);
    advance(0);
    const result = await copyContent(copy, ring, options);
    if (copiedBytes !== result.copiedBytes || totalBytes !== result.copiedBytes)
      onProgress?.({ copiedBytes: result.copiedBytes, totalBytes: result.copiedBytes });

    if (narrowed !== permissions) await setPermissions(destination, permissions);
    throwIfAborted(signal);
    if (durable) await destination.sync();
    await Promise.all([destination.close(), source.close()]);
    if (durable && created) await syncFolder(ring, process.getBuiltinModule("node:path").dirname(paths.destination));
    return result;
  } catch (error) {
    if (!created && oldPermissions !== narrowed && copy?.replaced === false) await setPermissions(destination, oldPermissions).catch(() => undefined);
    await destination.close().catch(() => undefined);
    throw error;
  }
}

/**
 * Copies a file's content and permissions, as `copyFile` of node:fs/promises does, with progress, and so that it can be aborted. Where the file system can
 * share blocks (btrfs, xfs, …) it does, at once; otherwise the bytes go through memory, or slots of a pool, several chunks at once, and holes of whole chunks stay holes.
 *
 * The destination is created, or replaced: what it had stays until the first of the new bytes are there. Copying a file onto itself does
 * nothing. A copy that fails or is aborted leaves nothing in flight and no file open; a destination that it created is removed, one that was there stays with
 * what it holds by then. A source that grows or shrinks meanwhile is copied up to where its end was met. For large files: one of a few KiB is copied sooner by
 * node:fs.
 *
 * The destination is at no moment more permissive than the source. A new file is readable by its owner alone until the copy is complete. An existing one loses what the source does not
 * allow before its first byte is replaced; if the copy fails before that, it gets its permissions back, and later they stay narrow. setuid and setgid are neither copied nor kept. Where
 * permissions cannot be changed, as those of somebody else's file, they stay as they are, as with cp(1), and the copy succeeds.
 *
 * @param from - a regular file: a path, or a file: URL
 * @param to - a path, or a file: URL
 * @throws TypeError, RangeError: an argument's or option's type or value
 * @throws UringError ENOENT, EACCES, ENOSPC, … with both paths; EEXIST: COPYFILE_EXCL, and the destination exists; EISDIR: one of the two is a folder; EINVAL: one is
 * no regular file; EOPNOTSUPP, EXDEV: COPYFILE_FICLONE_FORCE, and no reflink is possible; and the errors of `new Ring()`
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
  throwIfAborted(options.signal);
  try {
    return await withRing(options, (ring) => copyPaths(paths, ring, options));
  } catch (error) {
    throw error === options.signal?.reason ? error : named(error, paths);
  }
}
