import { throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, checkSignal, invalidType, invalidValue, readOptions } from "../base/arguments.ts";
import { Promise, process } from "../base/globals.ts";
import { pathText } from "../base/path.ts";
import { UringError } from "../errors/uring-error.ts";
import * as operations from "../requests/builders.ts";
import { isSeekable } from "../requests/descriptor.ts";
import { OpenFile } from "../requests/open-file.ts";
import { O_DIRECTORY, O_RDONLY, O_WRONLY } from "../requests/open-flags.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { isServed } from "../requests/served-mounts.ts";
import { CacheAdvice } from "../ring/cache-advice.ts";
import { openFile } from "../ring/opening.ts";
import { coreOf, type Ring } from "../ring/ring.ts";
import {
  COPYFILE_EXCL,
  COPYFILE_FICLONE,
  COPYFILE_FICLONE_FORCE,
  type Copy,
  type CopyFileResult,
  copyContent,
} from "./copy-content.ts";
import { close, examined, type Opened, openDestination, openRegular, type Paths } from "./copy-opening.ts";
import { joinTarget, leaveTarget, type Target } from "./copy-targets.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";
import { copiersOf, copySmall, type Held, isSparse, type Unfinished } from "./small-copy.ts";
import { isSame, narrowedTo, permissionsOf, setPermissions } from "./status.ts";

const largestDepth = 1024;

const allPermissions = 0o7777;

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
   * COPYFILE_* of `fs.constants`. COPYFILE_EXCL fails if the destination exists. COPYFILE_FICLONE tries a reflink
   * also for a file of less than 64 KiB, which is otherwise read and written: that is quicker. COPYFILE_FICLONE_FORCE
   * fails if a reflink is not possible. Default 0.
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
  readonly signal?: AbortSignal | undefined;
  /**
   * Called at the start and after each chunk. In the last call of a successful copy, both numbers are equal. If it
   * throws, the copy ends and rejects with that error.
   */
  readonly onProgress?: (progress: CopyProgress) => void;
}

/** Checks and converts a path. */
export function pathOf(name: string, path: unknown): string {
  const text = pathText(path, name);
  if (text.includes("\0")) throw invalidValue(`${name} must be a path without null bytes, not ${JSON.stringify(text)}`);
  return text;
}

const defaults = { depth: 8, mode: 0, dontCache: false, durable: false };

type CheckedOptions = ReturnType<typeof copyOptions>;

/** The options, each read once and checked, with the defaults. */
function copyOptions(given: CopyFileOptions) {
  const known = ["ring", "pool", "depth", "mode", "dontCache", "durable", "signal", "onProgress"];
  const options = { ...defaults, ...readOptions(given, known) };
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

/** Writes a folder back: a new name in it is on stable storage then. */
async function syncFolder(requests: RequestQueue, path: string): Promise<void> {
  const folder = await openFile(requests, () => ({
    path,
    flags: O_RDONLY | O_DIRECTORY,
    mode: 0,
    direct: false,
    signal: undefined,
  }));
  try {
    await requests.run(() => operations.sync("fsync", folder));
  } finally {
    await close(requests, folder);
  }
}

/** What a copy of one file needs to know. */
export type CopySettings = Pick<
  CheckedOptions,
  "pool" | "dontCache" | "depth" | "mode" | "durable" | "signal" | "onProgress"
> & {
  /** More flags for both opens. */
  readonly openFlags?: number;
};

/** Copies one file. Errors of system calls name both paths. */
export async function copyPaths(paths: Paths, ring: Ring, settings: CopySettings): Promise<CopyFileResult> {
  const target = await joinTarget(paths.destination);
  try {
    const result = await copyTo(target, paths, ring, settings);
    target.unfinished = undefined;
    return result;
  } catch (error) {
    throw error === settings.signal?.reason ? error : named(error, paths);
  } finally {
    await leaveTarget(target);
  }
}

/** Whether a copier may make the copy: nobody hears of its steps, and it needs no reflink and no sync. */
function isForCopier({ path, destination }: Paths, { mode, dontCache, durable, onProgress }: CopySettings): boolean {
  const isPlain = onProgress === undefined && !durable && !dontCache && (mode & ~COPYFILE_EXCL) === 0;
  return isPlain && path !== "" && destination !== "" && !isServed(path) && !isServed(destination);
}

function openedBy({ fd, fileEntry, descriptor }: Held, path: string, flags: number): OpenFile {
  return new OpenFile(fd, fileEntry, path, flags, undefined, isSeekable(fd, descriptor), descriptor);
}

async function copyTo(target: Target, paths: Paths, ring: Ring, settings: CopySettings): Promise<CopyFileResult> {
  const { requests, pools } = coreOf(ring);
  if (settings.pool !== undefined) pools.assertUsable(settings.pool, "options.pool is");
  let begun: Unfinished = { created: false, replaced: false };
  if (isForCopier(paths, settings) && copiersOf(requests).count > 0) {
    const { mode, signal, openFlags = 0 } = settings;
    const isExclusive = (mode & COPYFILE_EXCL) !== 0;
    const result = await copySmall(requests, { ...paths, isExclusive, openFlags, signal });
    if (typeof result === "number")
      return result < 0 ? { copiedBytes: 0, method: "none" } : { copiedBytes: result, method: "read_write" };
    begun = result;
  }
  const flags = O_RDONLY | (settings.openFlags ?? 0);
  const file = begun.source && openedBy(begun.source, paths.path, flags);
  const destination = begun.destination && openedBy(begun.destination, paths.destination, O_WRONLY);
  if (begun.created) target.unfinished = begun.old;
  try {
    if (begun.error !== undefined) throw begun.error;
    const source = await (file === undefined
      ? openRegular(requests, paths, "path", flags)
      : examined(requests, paths, "path", file));
    try {
      return await copyFrom(source, destination, begun, target, paths, ring, settings);
    } finally {
      await close(requests, source.file);
    }
  } finally {
    if (file !== undefined) await close(requests, file);
    if (destination !== undefined) await close(requests, destination);
  }
}

/** The destination that a copier has opened, or opens it. */
async function destinationOf(
  requests: RequestQueue,
  paths: Paths,
  file: OpenFile | undefined,
  { old, created }: Unfinished,
  permissions: number,
  { mode, openFlags = 0 }: CopySettings,
) {
  if (file === undefined)
    return await openDestination(requests, paths, permissions, (mode & COPYFILE_EXCL) !== 0, openFlags);
  const opened = await examined(requests, paths, "destination", file);
  return { file, status: old ?? opened.status, created };
}

async function copyFrom(
  { file: source, status }: Opened,
  given: OpenFile | undefined,
  begun: Unfinished,
  target: Target,
  paths: Paths,
  ring: Ring,
  settings: CopySettings,
): Promise<CopyFileResult> {
  const { pool, depth, mode, dontCache, durable, signal, onProgress } = settings;
  const core = coreOf(ring);
  const { requests } = core;
  const size = status.sizeBytes;
  const permissions = permissionsOf(status);
  const {
    file: destination,
    status: old,
    created,
  } = await destinationOf(requests, paths, given, begun, permissions, settings);
  if (created) target.unfinished = old;
  const oldPermissions = old.mode & allPermissions;
  const narrowed = narrowedTo(old, status);
  let copy: Copy | undefined;
  try {
    if (isSame(old, status)) {
      await close(requests, destination);
      return { copiedBytes: 0, method: "none" };
    }
    throwIfAborted(signal);

    let copiedBytes = 0;
    let totalBytes = size;
    const advance = (bytes: number) => {
      copiedBytes += bytes;
      totalBytes = Math.max(totalBytes, copiedBytes);
      onProgress?.({ copiedBytes, totalBytes });
    };
    copy = {
      ring,
      core,
      requests,
      source,
      destination,
      size,
      oldSize: old.sizeBytes,
      sparse: isSparse(status),
      mount: status.mount,
      depth,
      reading: new CacheAdvice(dontCache),
      writing: new CacheAdvice(dontCache),
      signal,
      advance,
      replaced: begun.replaced,
    };
    // Narrow the permissions before the first byte is written: a user who may not read the source must not be able to
    // open the copy.
    if (oldPermissions !== narrowed) await setPermissions(requests, destination, old, narrowed);
    advance(0);
    const result = await copyContent(copy, { mode, pool });
    if (copiedBytes !== result.copiedBytes || totalBytes !== result.copiedBytes)
      onProgress?.({ copiedBytes: result.copiedBytes, totalBytes: result.copiedBytes });

    if (narrowed !== permissions) await setPermissions(requests, destination, old, permissions);
    throwIfAborted(signal);
    if (durable) await requests.run(() => operations.sync("fsync", destination));
    await Promise.all([close(requests, destination), close(requests, source)]);
    if (durable && created)
      await syncFolder(requests, process.getBuiltinModule("node:path").dirname(paths.destination));
    return result;
  } catch (error) {
    const isKept = copy === undefined ? !begun.replaced : !copy.replaced;
    if (!created && oldPermissions !== narrowed && isKept)
      await setPermissions(requests, destination, old, oldPermissions).catch(() => undefined);
    await close(requests, destination).catch(() => undefined);
    throw error;
  }
}

/**
 * Copies a file's content and permissions, like `copyFile` of node:fs/promises, but with progress reports, and it can
 * be aborted. If the file system can share blocks (btrfs, xfs, …), the copy of a file of 64 KiB or more is a reflink, which
 * needs no transfer. Otherwise, the bytes go through memory, or through slots of a pool, with several chunks in flight.
 * Holes that span whole chunks stay holes.
 *
 * The destination is created or overwritten. Its old content stays until the first new bytes have been read. Copying a
 * file onto itself does nothing. After a copy has failed or was aborted, no operation is in flight and no file is open.
 * A destination that the copy created is removed; a destination that existed before keeps whatever it contains at that
 * point. If the source grows or shrinks during the copy, it is copied up to the end that the reads reached.
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
  return await withRing(given, (ring) => copyPaths(paths, ring, given));
}
