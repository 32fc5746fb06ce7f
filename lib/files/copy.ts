import { onAbort, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, checkSignal, invalidType, invalidValue, readOptions } from "../base/arguments.ts";
import { Buffer, Promise, process } from "../base/globals.ts";
import { pathText } from "../base/path.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import type { FixedBuffer } from "../pool/fixed-buffer.ts";
import { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_WRONLY } from "../requests/open-flags.ts";
import { deviceNumber, type Statx } from "../requests/statx.ts";
import { CacheAdvice } from "../ring/cache-advice.ts";
import type { RingFile } from "../ring/file.ts";
import type { Ring } from "../ring/ring.ts";
import { STATX_BASIC_STATS } from "../uring/uapi.ts";
import { chunkBytesOf, repeat } from "./chunks.ts";
import { reflink } from "./reflink.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";

/** The values of `fs.constants`. */
const COPYFILE_EXCL = 1;
const COPYFILE_FICLONE = 2;
const COPYFILE_FICLONE_FORCE = 4;

/**
 * Maximum size of a chunk, in bytes, even if the pool's slots are larger: copying from the page cache blocks the event
 * loop, which has other work too.
 */
const largestChunkBytes = 2 ** 18;
const largestDepth = 1024;

/**
 * The permission bits that a copy takes from its source: all except setuid and setgid, which would grant the rights of
 * the user who makes the copy.
 */
const copiedPermissions = 0o1777;
const allPermissions = 0o7777;
const ownersPermissions = 0o700;
const fileType = 0o170000;
const folder = 0o040000;
const regularFile = 0o100000;

/** Progress of a copy. */
export interface CopyProgress {
  /** Bytes copied so far. Never decreases, unless the source is truncated meanwhile. */
  readonly copiedBytes: number;
  /** The source's size. Increases if the source grows meanwhile. */
  readonly totalBytes: number;
}

/** Options of `copyFile`. */
export interface CopyFileOptions extends RingAndPool {
  /**
   * Maximum number of chunks in flight, 1 to 1024. Each chunk is up to 256 KiB. With a pool, each chunk takes one slot,
   * so fewer are in flight while the pool has fewer free slots. Default 8.
   */
  readonly depth?: number;
  /**
   * COPYFILE_* of `fs.constants`. COPYFILE_EXCL fails if the destination exists. COPYFILE_FICLONE_FORCE fails if a
   * reflink is not possible. COPYFILE_FICLONE has no effect, because copyFile always tries a reflink first. Default 0.
   */
  readonly mode?: number;
  /**
   * Do not leave the two files in the page cache (RWF_DONTCACHE), so that a large copy does not evict what others use.
   * Pages that were in the cache before stay. This is advice: where the kernel or a file system does not support it,
   * the copy goes on without it. Since Linux 6.14, on ext4, XFS and others. Default false.
   */
  readonly dontCache?: boolean;
  /** Resolve only when the copy, and its name if the file is new, are on stable storage. Default false. */
  readonly durable?: boolean;
  /**
   * Rejects the promise with the signal's reason when the signal aborts. The promise rejects only after the chunks in
   * flight have completed, or the current reflink or sync, which cannot be interrupted.
   */
  readonly signal?: AbortSignal;
  /**
   * Called at the start and after each chunk. In the last call of a successful copy, both numbers are equal. If it
   * throws, the copy ends and rejects with that error.
   */
  readonly onProgress?: (progress: CopyProgress) => void;
}

/** Result of `copyFile`. */
export interface CopyFileResult {
  /** The length of the copy, in bytes. 0 if there was nothing to do. */
  readonly copiedBytes: number;
  /**
   * "reflink": the two files share their blocks. "read_write": the bytes were read and written. "none": nothing was
   * done, because both paths name the same file.
   */
  readonly method: "reflink" | "read_write" | "none";
}

/** A copy in progress. */
interface Copy {
  readonly source: RingFile;
  readonly destination: RingFile;
  /** The source's size at the start, in bytes. */
  readonly size: number;
  /** The destination's size before the copy, in bytes. */
  readonly oldSize: number;
  /** Whether the source has holes. */
  readonly sparse: boolean;
  readonly depth: number;
  /** The page cache of the source and that of the destination: they may be of different file systems. */
  readonly reading: CacheAdvice;
  readonly writing: CacheAdvice;
  readonly signal: AbortSignal | undefined;
  /** Adds to the number of bytes copied, and reports progress. */
  readonly advance: (bytes: number) => void;
  /**
   * Whether the destination's previous content may be lost. If it is not, a failed copy restores the destination's
   * permissions.
   */
  replaced: boolean;
}

function pathOf(name: string, path: unknown): string {
  const text = pathText(path, name);
  if (text.includes("\0")) throw invalidValue(`${name} must be a path without null bytes, not ${JSON.stringify(text)}`);
  return text;
}

type CheckedOptions = ReturnType<typeof copyOptions>;

/** The options, each read once and checked, with the defaults. */
function copyOptions(given: CopyFileOptions) {
  const known = ["ring", "pool", "depth", "mode", "dontCache", "durable", "signal", "onProgress"];
  const options = { depth: 8, mode: 0, dontCache: false, durable: false, ...readOptions(given, known) };
  const { depth, mode, dontCache, durable, signal, onProgress } = options;
  checkRingAndPool(options);
  checkInteger("options.depth", depth, 1, largestDepth);
  checkInteger("options.mode", mode, 0, COPYFILE_EXCL | COPYFILE_FICLONE | COPYFILE_FICLONE_FORCE);
  checkBoolean("options.dontCache", dontCache);
  checkBoolean("options.durable", durable);
  if (signal !== undefined) checkSignal(signal);
  if (onProgress !== undefined && typeof onProgress !== "function")
    throw invalidType("options.onProgress", "a function", onProgress);
  return options;
}

/** The paths of a copy, under the names that its errors use. */
interface Paths {
  readonly path: string;
  readonly destination: string;
}

/** System calls on one of the two files. Their errors name both paths. */
const callsOnFiles = [
  "openat",
  "open",
  "statx",
  "read",
  "write",
  "read_fixed",
  "write_fixed",
  "ftruncate",
  "fsync",
  "fchmod",
  "close",
  "ioctl_ficlone",
];

/**
 * Adds both paths to an error of a system call. Returns errors that the library itself made unchanged, because their
 * messages already give the reason.
 */
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
  if (type !== regularFile)
    throw new UringError("EINVAL", "open", {
      ...paths,
      message: `the ${which === "path" ? "source" : which} is not a regular file`,
    });
}

const basicStats = { mask: STATX_BASIC_STATS };

/**
 * Returns the metadata of the file at a path. Undefined if there is no file or it is not accessible: opening it then
 * reports the error.
 */
function lookAt(ring: Ring, path: string): Promise<Statx | undefined> {
  return path === "" ? Promise.resolve(undefined) : ring.statx(path, basicStats).catch(() => undefined);
}

/**
 * Opens one of the two files and requires that it is a regular file. An existing file is checked before it is opened,
 * because opening a FIFO would block; and again afterwards, because the path may have been replaced meanwhile.
 */
async function openRegular(
  ring: Ring,
  paths: Paths,
  which: keyof Paths,
  flags: number,
  found: Statx | undefined,
  mode?: number,
) {
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

/**
 * Opens the destination, and reports whether this created it. A new file is accessible only to its owner until the copy
 * is complete.
 */
async function openDestination(
  ring: Ring,
  paths: Paths,
  permissions: number,
  exclusive: boolean,
  found: Statx | undefined,
) {
  const mode = permissions & ownersPermissions;
  let existing = found;
  if (existing === undefined || exclusive) {
    try {
      return {
        created: true,
        ...(await openRegular(ring, paths, "destination", O_WRONLY | O_CREAT | O_EXCL, undefined, mode)),
      };
    } catch (error) {
      if (exclusive || !(error instanceof UringError && error.code === "EEXIST")) throw error;
      existing = await lookAt(ring, paths.destination);
    }
  }
  // Without O_EXCL: the name may be a dangling symbolic link, and then the open creates the link's target.
  return { created: false, ...(await openRegular(ring, paths, "destination", O_WRONLY | O_CREAT, existing, mode)) };
}

function isSame(one: Statx, other: Statx): boolean {
  return one.ino === other.ino && one.devMajor === other.devMajor && one.devMinor === other.devMinor;
}

/** Errors of chmod for a file of another user, and on file systems without permissions. */
const noPermissions = ["EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL"];

/** Changes the permissions. If that is not possible, leaves them unchanged. */
async function setPermissions(file: RingFile, permissions: number): Promise<void> {
  try {
    await file.chmod(permissions);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (!noPermissions.some((one) => one === code)) throw error;
  }
}

/** Errors of a reflink that has changed nothing. */
const noReflink = ["EOPNOTSUPP", "EXDEV", "EINVAL", "ENOTTY", "EBADF", "EMFILE", "EAGAIN", "ENOMEM"];

/** Makes the destination share the source's blocks. */
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
    // If the destination is longer than the source, it cannot share the block in which the source ends. Truncate it
    // first.
    if (oldSize <= size || !(error instanceof UringError && error.code === "EINVAL")) throw error;
    copy.replaced = true;
    await destination.truncate(size);
    await share();
  }
  // A reflink does not shorten a longer destination. Ask for the source's size again, because the source may have been
  // truncated meanwhile.
  const end = Math.min(size, await sizeOf(source));
  if (oldSize > end) await destination.truncate(end);
}

async function sizeOf(file: RingFile): Promise<number> {
  return (await file.stat()).size;
}

/** Whether every byte is 0: the first byte is 0, and every other byte equals the one before it. */
function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0;
}

/**
 * Memory of a chunk: a slot, or memory of the copy's own. Its transfers take no signal: an abort waits until they have
 * completed.
 */
interface ChunkMemory {
  readonly bytes: Uint8Array;
  read(position: number, offset: number, length: number): Promise<number>;
  write(position: number, offset: number, length: number): Promise<number>;
}

function slotMemory(ring: Ring, { source, destination, reading, writing }: Copy, buffer: FixedBuffer): ChunkMemory {
  return {
    bytes: buffer.bytes,
    read: (position, offset, length) =>
      reading.follow((dontCache) => ring.readFixed(source, buffer, { position, offset, length, dontCache })),
    write: (position, offset, length) =>
      writing.follow((dontCache) => ring.writeFixed(destination, buffer, { position, offset, length, dontCache })),
  };
}

function ownMemory(ring: Ring, { source, destination, reading, writing }: Copy, sizeBytes: number): ChunkMemory {
  const bytes = new Uint8Array(new SharedArrayBuffer(sizeBytes));
  const part = (offset: number, length: number) => bytes.subarray(offset, offset + length);
  return {
    bytes,
    read: (position, offset, length) =>
      reading.follow((dontCache) => ring.read(source, part(offset, length), { position, dontCache })),
    write: (position, offset, length) =>
      writing.follow((dontCache) => ring.write(destination, part(offset, length), { position, dontCache })),
  };
}

/** Copies by reads and writes. Returns the position at which the reads reached the end of the source. */
async function readAndWrite(copy: Copy, ring: Ring, pool: BufferPool | undefined): Promise<number> {
  const { destination, size, oldSize, sparse, signal, advance } = copy;
  const chunkBytes = Math.min(pool?.size ?? chunkBytesOf(size), largestChunkBytes);
  const stop = new Stop();
  let next = 0;
  let end = Number.POSITIVE_INFINITY;
  let writtenEnd = 0;
  let emptied: Promise<void> | undefined;

  /**
   * Truncates the destination, once. This happens only when the first bytes to replace the old content have been read.
   */
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

  async function lane(index: number): Promise<void> {
    const memory = pool ?? ownMemory(ring, copy, chunkBytes);
    // Only the first lane reads on beyond the known size, to find out whether the source has grown.
    while (next < (index === 0 ? end : Math.min(end, size)) && !stop.signal.aborted) {
      const position = next;
      next += chunkBytes;
      if (memory instanceof BufferPool) {
        // One slot for each chunk: a lane never waits for a slot while it holds one, so copies that share a pool cannot
        // deadlock.
        using buffer = await memory.acquire({ signal: stop.signal });
        await copyChunk(slotMemory(ring, copy, buffer), position);
      } else {
        await copyChunk(memory, position);
      }
    }
  }

  throwIfAborted(signal);
  const forget = signal && onAbort(signal, () => stop.abort(reasonOf(signal)));
  const chunks = Math.max(1, Math.ceil(size / chunkBytes));
  const lanes = Array.from({ length: Math.min(copy.depth, chunks) }, (_, index) =>
    lane(index).catch((error) => stop.abort(error)),
  );
  await Promise.all(lanes);
  forget?.();
  throwIfAborted(stop.signal);
  await empty();
  if (writtenEnd !== end) await destination.truncate(end);
  return end;
}

/**
 * Copies by a reflink if possible, otherwise by reads and writes. It does not use copy_file_range(2): io_uring has no
 * such request, and node:fs offers it only for whole files, so such a copy could be neither aborted nor followed. From
 * page cache to page cache, it is no faster.
 */
async function copyContent(copy: Copy, ring: Ring, options: CheckedOptions): Promise<CopyFileResult> {
  const forced = (options.mode & COPYFILE_FICLONE_FORCE) !== 0;
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

/**
 * Used for lstat and unlink, because the ring may be closed by then, and node:fs needs no new descriptor for them.
 * Loaded on first use, because importing it takes a while.
 */
const files = () => process.getBuiltinModule("node:fs/promises");

/**
 * A destination path, for as long as copies of this thread write to it. Copies to the same path must coordinate: a
 * program that retries after an abort may open the very file that the aborted copy is about to remove.
 */
interface Target {
  readonly path: string;
  users: number;
  /** The file that one of the copies has created, as long as no copy has succeeded. */
  unfinished: Statx | undefined;
  /** Set while the last copy, after all have failed, removes the file. New copies wait for it. */
  removing: Promise<void> | undefined;
}

const targets = new Map<string, Target>();

/**
 * Joins the copies that write to this path. If a file is being removed there, waits for that first. No await may
 * separate the loop's last check from `users++`, or leaveTarget could remove the target in between.
 */
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

/**
 * Leaves the copies that write to this path. If all of them have failed, the last one removes the file that one of them
 * created. `users` drops only after the removal, so the target stays in the map and new copies wait for `removing`.
 */
async function leaveTarget(target: Target): Promise<void> {
  if (target.users === 1 && target.unfinished !== undefined) {
    target.removing = removeSame(target.path, target.unfinished);
    await target.removing;
  }
  if (--target.users === 0) targets.delete(target.path);
}

/** Removes a file, unless another file has taken its place. */
async function removeSame(path: string, { ino, devMajor, devMinor }: Statx): Promise<void> {
  try {
    const now = await files().lstat(path, { bigint: true });
    if (now.ino === ino && now.dev === BigInt(deviceNumber(devMajor, devMinor))) await files().unlink(path);
  } catch {
    // The file no longer exists or cannot be removed. Ignore that: the caller reports why the copy failed.
  }
}

async function syncFolder(ring: Ring, path: string): Promise<void> {
  await using folder = await ring.open(path, O_RDONLY | O_DIRECTORY);
  await folder.sync();
}

async function copyPaths(paths: Paths, ring: Ring, options: CheckedOptions): Promise<CopyFileResult> {
  const target = await joinTarget(paths.destination);
  try {
    const result = await copyTo(target, paths, ring, options);
    target.unfinished = undefined;
    return result;
  } finally {
    await leaveTarget(target);
  }
}

async function copyTo(target: Target, paths: Paths, ring: Ring, options: CheckedOptions): Promise<CopyFileResult> {
  const { depth, mode, dontCache, durable, signal, onProgress } = options;
  const [from, to] = await Promise.all([lookAt(ring, paths.path), lookAt(ring, paths.destination)]);
  const { file, stats } = await openRegular(ring, paths, "path", O_RDONLY, from);
  await using source = file;
  const permissions = stats.mode & copiedPermissions;
  const {
    file: destination,
    stats: old,
    created,
  } = await openDestination(ring, paths, permissions, (mode & COPYFILE_EXCL) !== 0, to);
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
    copy = {
      source,
      destination,
      size: totalBytes,
      oldSize: Number(old.size),
      sparse,
      depth,
      reading: new CacheAdvice(dontCache),
      writing: new CacheAdvice(dontCache),
      signal,
      advance,
      replaced: false,
    };
    // Narrow the permissions before the first byte is written: a user who may not read the source must not be able to
    // open the copy.
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
    if (!created && oldPermissions !== narrowed && copy?.replaced === false)
      await setPermissions(destination, oldPermissions).catch(() => undefined);
    await destination.close().catch(() => undefined);
    throw error;
  }
}

/**
 * Copies a file's content and permissions, like `copyFile` of node:fs/promises, but with progress reports, and it can
 * be aborted. If the file system can share blocks (btrfs, xfs, …), the copy is a reflink, which needs no transfer.
 * Otherwise, the bytes go through memory, or through slots of a pool, with several chunks in flight. Holes that span
 * whole chunks stay holes.
 *
 * The destination is created or overwritten. Its old content stays until the first new bytes have been read. Copying a
 * file onto itself does nothing. After a copy has failed or was aborted, no operation is in flight and no file is open.
 * A destination that the copy created is removed; a destination that existed before keeps whatever it contains at that
 * point. If the source grows or shrinks during the copy, it is copied up to the end that the reads reached. copyFile is
 * meant for large files: for files of a few KiB, node:fs is faster.
 *
 * At no moment is the destination more permissive than the source. A new file is accessible only to its owner until the
 * copy is complete. An existing file loses the permissions that the source does not have before its first byte is
 * replaced. If the copy fails before that byte, the file gets its permissions back; if it fails later, they stay
 * narrow. setuid and setgid are neither copied nor kept. If the permissions cannot be changed, for example on a file of
 * another user, they stay as they are and the copy succeeds, as with cp(1).
 *
 * @param from - a regular file: a path or a file: URL
 * @param to - a path or a file: URL
 * @throws TypeError, RangeError: an argument or an option has the wrong type or value
 * @throws UringError ENOENT, EACCES, ENOSPC, … with both paths; EEXIST: the destination exists, with COPYFILE_EXCL;
 * EISDIR: one of the two is a directory; EINVAL: one of the two is not a regular file; EOPNOTSUPP, EXDEV: a reflink is
 * not possible, with COPYFILE_FICLONE_FORCE; and the errors of `new Ring()`. An abort throws the signal's reason.
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
export async function copyFile(
  from: string | URL,
  to: string | URL,
  options: CopyFileOptions = {},
): Promise<CopyFileResult> {
  const paths = { path: pathOf("from", from), destination: pathOf("to", to) };
  const given = copyOptions(options);
  throwIfAborted(given.signal);
  try {
    return await withRing(given, (ring) => copyPaths(paths, ring, given));
  } catch (error) {
    throw error === given.signal?.reason ? error : named(error, paths);
  }
}
