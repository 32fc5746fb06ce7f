import type { BigIntStats } from "node:fs";
import { onAbort, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, checkSignal, invalidType, readOptions } from "../base/arguments.ts";
import { Promise, process } from "../base/globals.ts";
import { UringError } from "../errors/uring-error.ts";
import { O_NOFOLLOW } from "../requests/open-flags.ts";
import { isServed } from "../requests/served-mounts.ts";
import { coreOf, type Ring } from "../ring/ring.ts";
import { copyPaths, pathOf } from "./copy.ts";
import { COPYFILE_EXCL } from "./copy-content.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";
import { copiersOf, readSmall } from "./small-copy.ts";
import { permissionsOf } from "./status.ts";
import { joined, namesIn, nodeFiles } from "./tree.ts";

/** Progress of `copyTree`: what has been copied so far. */
export interface CopyTreeProgress {
  /** Files, without links and folders. */
  readonly copiedFiles: number;
  /** The content of these files, in bytes. */
  readonly copiedBytes: number;
  /** The path of the source that was copied last. */
  readonly path: string;
}

/** Options of `copyTree`. */
export interface CopyTreeOptions extends RingAndPool {
  /** The most files that are copied at a time, 1 to 64. Default 32. */
  readonly concurrency?: number;
  /** Overwrite files and links that exist. Otherwise they stay as they are. Default true. */
  readonly force?: boolean;
  /** With `force: false`: fail with EEXIST if a file or a link exists. Default false. */
  readonly errorOnExist?: boolean;
  /**
   * Called with the source and the destination of each file, link, folder and special file in the tree. If it returns
   * false, or a promise of false, the entry is left out, with all that is in it. If it throws, the copy ends and rejects
   * with that error.
   */
  readonly filter?: (from: string, to: string) => boolean | Promise<boolean>;
  /**
   * Rejects the promise with the signal's reason when the signal aborts. What has been copied by then stays, and nothing
   * is in flight.
   */
  readonly signal?: AbortSignal | undefined;
  /** Called after each file. If it throws, the copy ends and rejects with that error. */
  readonly onProgress?: (progress: CopyTreeProgress) => void;
}

/** Result of `copyTree`: what was copied. */
export interface CopyTreeResult {
  /** Files, without links and folders. */
  readonly copiedFiles: number;
  /** The content of these files, in bytes. */
  readonly copiedBytes: number;
  /** Symbolic links. */
  readonly copiedLinks: number;
  /** Folders that were created. */
  readonly createdFolders: number;
}

function treeOptions(given: CopyTreeOptions) {
  const known = ["ring", "pool", "concurrency", "force", "errorOnExist", "filter", "signal", "onProgress"];
  const options = { concurrency: 32, force: true, errorOnExist: false, ...readOptions(given, known) };
  const { concurrency, force, errorOnExist, filter, signal, onProgress } = options;
  checkRingAndPool(options);
  checkInteger("options.concurrency", concurrency, 1, 64);
  checkBoolean("options.force", force);
  checkBoolean("options.errorOnExist", errorOnExist);
  if (filter !== undefined && typeof filter !== "function") throw invalidType("options.filter", "a function", filter);
  if (signal !== undefined) checkSignal(signal);
  if (onProgress !== undefined && typeof onProgress !== "function")
    throw invalidType("options.onProgress", "a function", onProgress);
  return options;
}

type CheckedOptions = ReturnType<typeof treeOptions>;

const ownersPermissions = 0o700;
/** The permission bits that a folder takes from its source. setgid is the destination's: it comes from its parent. */
const copiedPermissions = 0o1777;
const setGroup = 0o2000;

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return codes.some((one) => one === code);
}

/** A folder that the copy has created. */
interface Created {
  readonly path: string;
  readonly permissions: number;
}

/** A copy of a tree in progress. */
class TreeCopy {
  readonly #ring: Ring;
  readonly #options: CheckedOptions;
  readonly #stop: Stop;
  readonly #umask = process.umask();
  #running = 0;
  /** Called when no more than this many copies are running. */
  #waiter: { readonly most: number; call(): void } | undefined;
  readonly #created: Created[] = [];
  copiedFiles = 0;
  copiedBytes = 0;
  copiedLinks = 0;

  constructor(ring: Ring, options: CheckedOptions, stop: Stop) {
    this.#ring = ring;
    this.#options = options;
    this.#stop = stop;
  }

  /** Copies all, or until something fails. Nothing is in flight afterwards. */
  async run(from: string, to: string): Promise<CopyTreeResult> {
    try {
      await this.#folders(from, to);
    } catch (error) {
      this.#stop.abort(error);
    }
    await this.#until(0);
    throwIfAborted(this.#stop.signal);
    // The deepest first: its parent may become one that this user may not search.
    for (const { path, permissions } of this.#created.reverse()) await nodeFiles().chmod(path, permissions);
    const { copiedFiles, copiedBytes, copiedLinks } = this;
    return { copiedFiles, copiedBytes, copiedLinks, createdFolders: this.#created.length };
  }

  async #folders(root: string, destination: string): Promise<void> {
    const folders = [{ from: root, to: destination }];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const { from, to } = folder;
      throwIfAborted(this.#stop.signal);
      const isNew = await this.#makeFolder(from, to, from === root);
      const { files, folders: inner, links, specials } = await namesIn(from);
      for (const name of files) {
        const [source, target] = [joined(from, name), joined(to, name)];
        if (this.#options.filter !== undefined && !(await this.#isWanted(source, target))) continue;
        // Files that are started together share a system call.
        if (this.#running >= this.#options.concurrency) await this.#until(this.#options.concurrency / 2);
        throwIfAborted(this.#stop.signal);
        void this.#start(source, target, isNew);
      }
      for (const name of links)
        if (await this.#isWanted(joined(from, name), joined(to, name)))
          await this.#link(joined(from, name), joined(to, name));
      for (const name of specials)
        if (await this.#isWanted(joined(from, name), joined(to, name)))
          throw new UringError("EINVAL", "open", {
            path: joined(from, name),
            destination: joined(to, name),
            message: "the source is not a regular file, a folder or a symbolic link",
          });
      for (const name of inner.reverse())
        if (await this.#isWanted(joined(from, name), joined(to, name)))
          folders.push({ from: joined(from, name), to: joined(to, name) });
    }
  }

  async #isWanted(from: string, to: string): Promise<boolean> {
    throwIfAborted(this.#stop.signal);
    return this.#options.filter === undefined || (await this.#options.filter(from, to));
  }

  /** Returns whether it has created the folder. Until the whole copy is complete, that is accessible only to its owner. */
  async #makeFolder(from: string, to: string, isRoot: boolean): Promise<boolean> {
    const { stat, lstat, mkdir } = nodeFiles();
    const { mode } = await stat(from);
    try {
      await mkdir(to, ownersPermissions);
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
      const existing = await (isRoot ? stat : lstat)(to);
      if (existing.isDirectory()) return false;
      throw new UringError("ENOTDIR", "mkdir", { path: from, destination: to });
    }
    const { mode: inherited } = await lstat(to);
    this.#created.push({ path: to, permissions: (mode & copiedPermissions) | (inherited & setGroup) });
    return true;
  }

  /** Resolves when no more than `most` copies are running. */
  async #until(most: number): Promise<void> {
    if (this.#running <= most) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiter = { most, call: resolve };
    await promise;
  }

  async #start(from: string, to: string, isNew: boolean): Promise<void> {
    this.#running++;
    try {
      await this.#file(from, to, isNew);
    } catch (error) {
      this.#stop.abort(error);
    }
    this.#running--;
    if (this.#waiter === undefined || this.#running > this.#waiter.most) return;
    this.#waiter.call();
    this.#waiter = undefined;
  }

  async #file(from: string, to: string, isNew: boolean): Promise<void> {
    const { pool, force, errorOnExist, onProgress } = this.#options;
    const { signal } = this.#stop;
    const mode = force ? 0 : COPYFILE_EXCL;
    const settings = {
      ...(pool && { pool }),
      depth: 8,
      mode,
      dontCache: false,
      durable: false,
      signal,
      openFlags: O_NOFOLLOW,
    };
    const copy = () => copyPaths({ path: from, destination: to }, this.#ring, settings);
    let copiedBytes = isNew ? await this.#newFile(from, to) : undefined;
    try {
      copiedBytes ??= (
        await copy().catch(async (error: unknown) => {
          // A symbolic link at the destination is replaced: the copy stays within the destination's tree.
          if (!hasCode(error, "ELOOP") || !(await this.#unlinkLink(to))) throw error;
          return await copy();
        })
      ).copiedBytes;
    } catch (error) {
      if (force || errorOnExist || !hasCode(error, "EEXIST")) throw error;
      return;
    }
    this.copiedFiles++;
    this.copiedBytes += copiedBytes;
    onProgress?.({ copiedFiles: this.copiedFiles, copiedBytes: this.copiedBytes, path: from });
  }

  /**
   * Copies a small file into a folder that this copy has created, and that is accessible only to its owner until the
   * copy is complete. Creating and writing a file takes node:fs one turn of a thread, and a ring two. Returns undefined
   * if the file has to be copied in the general way.
   */
  async #newFile(from: string, to: string): Promise<number | undefined> {
    const { requests } = coreOf(this.#ring);
    const { signal } = this.#stop;
    if (this.#options.pool !== undefined || copiersOf(requests).count === 0 || isServed(from)) return undefined;
    const found = await readSmall(requests, { path: from, destination: to, openFlags: O_NOFOLLOW, signal });
    if (!("content" in found)) {
      const { source } = found;
      if (source !== undefined) await requests.closeFile(source.fd, source.fileEntry);
      return undefined;
    }
    const { content, status, release } = found;
    const { length } = content;
    const mode = permissionsOf(status);
    try {
      throwIfAborted(signal);
      await nodeFiles().writeFile(to, content, { flag: "wx", mode });
    } catch (error) {
      if (hasCode(error, "EEXIST")) return undefined;
      const isCreated = error instanceof Error && "syscall" in error && error.syscall !== "open";
      if (isCreated)
        await nodeFiles()
          .unlink(to)
          .catch(() => undefined);
      throw error;
    } finally {
      release();
    }
    if ((mode & this.#umask) !== 0) await nodeFiles().chmod(to, mode);
    return length;
  }

  /** Removes what is at a path if it is a symbolic link. */
  async #unlinkLink(path: string): Promise<boolean> {
    if (!(await nodeFiles().lstat(path)).isSymbolicLink()) return false;
    await nodeFiles().unlink(path);
    return true;
  }

  async #link(from: string, to: string): Promise<void> {
    const { readlink, symlink, lstat, unlink } = nodeFiles();
    const { force, errorOnExist } = this.#options;
    const text = await readlink(from);
    try {
      await symlink(text, to);
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
      if (!force && !errorOnExist) return;
      if (!force) throw new UringError("EEXIST", "symlink", { path: from, destination: to });
      if ((await lstat(to)).isDirectory()) throw new UringError("EISDIR", "symlink", { path: from, destination: to });
      await unlink(to);
      await symlink(text, to);
    }
    this.copiedLinks++;
  }
}

function isSame(one: BigIntStats, other: BigIntStats): boolean {
  return one.ino === other.ino && one.dev === other.dev;
}

/** Refuses a copy into itself: neither the destination nor a folder above it may be the source. */
async function checkApart(from: string, to: string): Promise<void> {
  const { dirname, resolve } = process.getBuiltinModule("node:path");
  const { stat, realpath } = nodeFiles();
  const source = await stat(from, { bigint: true });
  if (!source.isDirectory()) throw new UringError("ENOTDIR", "open", { path: from, destination: to });
  // The path without links, as far as it exists: ".." of a link's target is not the link's parent.
  let path = resolve(to);
  for (;;) {
    const real = await realpath(path).catch((error: unknown) => {
      if (hasCode(error, "ENOENT") && dirname(path) !== path) return undefined;
      throw error;
    });
    if (real !== undefined) {
      path = real;
      break;
    }
    path = dirname(path);
  }
  for (;;) {
    if (isSame(await stat(path, { bigint: true }), source))
      throw new UringError("EINVAL", "open", {
        path: from,
        destination: to,
        message: "a folder cannot be copied into itself",
      });
    if (dirname(path) === path) return;
    path = dirname(path);
  }
}

/**
 * Copies a folder with everything in it, as `cp` of node:fs/promises does with `recursive`, but it is quicker, can be
 * aborted, and reports progress.
 *
 * - Each file is copied as `copyFile` copies it, with its promises for permissions and for failures.
 * - Symbolic links are copied as they are, and never followed. (`cp` of node:fs makes them absolute, unless it is told
 *   otherwise.) Where a file's destination is a symbolic link, the file replaces the link.
 * - Folders that exist are filled, and keep their permissions. Those that are created get their source's permissions,
 *   without setuid and setgid, when everything has been copied: until then, they are accessible to their owner alone.
 * - A FIFO, a socket or a device fails the copy, unless `filter` leaves it out.
 * - Hard links become separate files. Owners, times and extended attributes are not copied.
 *
 * The first error ends the copy. What has been copied by then stays, folders that were created stay accessible to their
 * owner alone, and files that were not complete are removed. When the promise has settled, nothing is in flight and no
 * file is open.
 * @param from - a folder, or a symbolic link to one: a path or a file: URL
 * @param to - the folder to create or to fill. Its parent must exist. A path or a file: URL
 * @throws TypeError, RangeError: an argument or an option has the wrong type or value
 * @throws UringError, or an Error of node:fs, with `code` and `path`: ENOENT, EACCES, ENOSPC, …; ENOTDIR: the source is
 * not a folder, or a folder's destination exists and is none; EISDIR: a file's or a link's destination is a folder;
 * EINVAL: a copy into itself, or a special file; EEXIST, with `errorOnExist`; and the errors of `new Ring()`. An abort
 * throws the signal's reason.
 * @example
 * ```ts
 * import { copyTree } from "bun-uring";
 *
 * const { copiedFiles } = await copyTree("public", "dist", {
 *   filter: (from) => !from.endsWith(".map"),
 *   onProgress: ({ path }) => console.log(path),
 * });
 * console.log(`${copiedFiles} files`);
 * ```
 */
export async function copyTree(
  from: string | URL,
  to: string | URL,
  options: CopyTreeOptions = {},
): Promise<CopyTreeResult> {
  const [source, destination] = [pathOf("from", from), pathOf("to", to)];
  const given = treeOptions(options);
  const { signal } = given;
  throwIfAborted(signal);
  const stop = new Stop();
  const forget = signal && onAbort(signal, () => stop.abort(reasonOf(signal)));
  try {
    await checkApart(source, destination);
    return await withRing(given, (ring) => new TreeCopy(ring, given, stop).run(source, destination));
  } finally {
    forget?.();
  }
}
