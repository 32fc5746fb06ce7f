import { onAbort, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkSignal, readOptions } from "../base/arguments.ts";
import { Buffer, Bun } from "../base/globals.ts";
import { wait } from "../base/timers.ts";
import { UringError } from "../errors/uring-error.ts";
import * as operations from "../requests/builders.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../requests/open-flags.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { openFile } from "../ring/opening.ts";
import { coreOf } from "../ring/ring.ts";
import { addressOf, native } from "../uring/native.ts";
import { pathOf } from "./copy.ts";
import { closeWhenIdle } from "./file-start.ts";
import { withRing } from "./ring-and-pool.ts";
import { statusOf } from "./status.ts";
import { joined, type Names, namesIn } from "./tree.ts";

const AT_REMOVEDIR = 0x200;

/** How long the event loop may be blocked before it gets its turn, in ms. */
const turnMs = 1;

const nowMs = () => Bun.nanoseconds() / 1e6;

/** Options of `removeTree`. */
export interface RemoveTreeOptions {
  /** Do nothing if there is nothing at the path, instead of failing with ENOENT. Default false. */
  readonly force?: boolean;
  /**
   * Rejects the promise with the signal's reason when the signal aborts. What has been removed by then stays removed,
   * and nothing is in flight.
   */
  readonly signal?: AbortSignal | undefined;
}

/** Memory for a name that a system call takes. */
const nameBytes = 4096;
let nameMemory: { readonly bytes: Buffer; readonly address: number } | undefined;

function addressOfName(name: string): number {
  if (nameMemory === undefined) {
    const memory = new SharedArrayBuffer(nameBytes);
    nameMemory = { bytes: Buffer.from(memory), address: addressOf(memory) };
  }
  const { bytes, address } = nameMemory;
  bytes[bytes.write(name, 0, nameBytes - 1)] = 0;
  return address;
}

/** A removal in progress. */
class Removal {
  readonly #requests: RequestQueue;
  readonly #signal: AbortSignal;
  #turnEndsAt = nowMs() + turnMs;

  constructor(requests: RequestQueue, signal: AbortSignal) {
    this.#requests = requests;
    this.#signal = signal;
  }

  /**
   * Removes a folder and all that is in it.
   * @param parent - the folder's folder; undefined if `name` is a path
   */
  async folder(parent: OpenFile | undefined, isLocal: boolean, name: string, path: string): Promise<void> {
    const opened = await this.#open(parent, name, path);
    try {
      await this.#contentOf(opened, path);
    } finally {
      await closeWhenIdle(this.#requests, opened);
    }
    await this.#remove(parent, isLocal, name, path, AT_REMOVEDIR);
  }

  /** Removes what is not a folder. */
  async file(path: string): Promise<void> {
    await this.#remove(undefined, false, path, path, 0);
  }

  async #contentOf(folder: OpenFile, path: string): Promise<void> {
    const { isLocal } = await statusOf(this.#requests, folder);
    const { files, links, specials, folders } = await this.#namesIn(folder, path);
    this.#turnEndsAt = nowMs() + turnMs; // the event loop has had its turn meanwhile
    for (const name of folders) await this.folder(folder, isLocal, name, joined(path, name));
    for (const names of [files, links, specials])
      for (const name of names) {
        if (isLocal && nowMs() < this.#turnEndsAt) this.#removeNow(folder, name, joined(path, name), 0);
        else await this.#remove(folder, isLocal, name, joined(path, name), 0);
      }
  }

  /** By its descriptor: the path may lead to another folder by now. */
  async #namesIn({ fd }: OpenFile, path: string): Promise<Names> {
    try {
      return await namesIn(`/proc/self/fd/${fd}`);
    } catch (error) {
      const isNamed = error instanceof Error && "errno" in error && typeof error.errno === "number";
      throw isNamed ? new UringError(Number(error.errno), "scandir", { path, cause: error }) : error;
    }
  }

  async #open(parent: OpenFile | undefined, name: string, path: string): Promise<OpenFile> {
    throwIfAborted(this.#signal);
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const from = parent === undefined ? name : `/proc/self/fd/${parent.fd}/${name}`;
    try {
      return await openFile(this.#requests, () => ({ path: from, flags, mode: 0, direct: false, signal: undefined }));
    } catch (error) {
      throw error instanceof UringError ? new UringError(error.errno, "open", { path }) : error;
    }
  }

  /** On a local file system, a thread would take longer to begin than the removal takes. */
  #removeNow(folder: OpenFile, name: string, path: string, flags: number): void {
    this.#check(native().removeAt(folder.fd, addressOfName(name), flags), path, flags);
  }

  async #remove(
    folder: OpenFile | undefined,
    isLocal: boolean,
    name: string,
    path: string,
    flags: number,
  ): Promise<void> {
    throwIfAborted(this.#signal);
    if (folder !== undefined && isLocal) {
      if (nowMs() >= this.#turnEndsAt) {
        await wait(0);
        throwIfAborted(this.#signal);
        this.#turnEndsAt = nowMs() + turnMs;
      }
      this.#removeNow(folder, name, path, flags);
      return;
    }
    const request = { ...operations.unlink(name, flags), fd: folder?.fd ?? AT_FDCWD };
    await this.#requests
      .run(() => request)
      .catch((error: unknown) => {
        if (!(error instanceof UringError)) throw error;
        this.#check(error.errno, path, flags);
      });
  }

  /** What somebody else has removed meanwhile is removed. */
  #check(result: number, path: string, flags: number): void {
    if (result >= 0) return;
    const error = new UringError(result, flags === 0 ? "unlink" : "rmdir", { path });
    if (error.code !== "ENOENT") throw error;
  }
}

/**
 * Removes a folder with everything in it, or a single file, as `rm` of node:fs/promises does with `recursive`, but it
 * can be aborted. Symbolic links are removed, and never followed: each folder is emptied through its descriptor, so
 * that nothing else is removed if somebody puts a link in its place meanwhile.
 *
 * On a local file system the event loop is blocked for a millisecond at a time. `rm` needs half the time, on one thread:
 * prefer it where nothing has to be aborted.
 *
 * The first error ends the removal. What has been removed by then stays removed. When the promise has settled, nothing
 * is in flight and no file is open. As many descriptors are open as there are folders within each other.
 * @param path - a path or a file: URL
 * @throws TypeError: an argument or an option has the wrong type or value
 * @throws UringError ENOENT: there is nothing at the path; EACCES, EPERM, EROFS, ENOTEMPTY: something was added
 * meanwhile, … with the path; and the errors of `new Ring()`. An abort throws the signal's reason.
 * @example
 * ```ts
 * import { removeTree } from "bun-uring";
 *
 * await removeTree("build", { force: true, signal: AbortSignal.timeout(60_000) });
 * ```
 * @see unlinkat(2)
 */
export async function removeTree(path: string | URL, options: RemoveTreeOptions = {}): Promise<void> {
  // With a slash at its end, the path of a link would lead to its target.
  const text = pathOf("path", path).replace(/(?<=[^/])\/+$/, "");
  const { force = false, signal } = readOptions(options, ["force", "signal"]);
  checkBoolean("options.force", force);
  if (signal !== undefined) checkSignal(signal);
  throwIfAborted(signal);
  const stop = new Stop();
  const forget = signal && onAbort(signal, () => stop.abort(reasonOf(signal)));
  try {
    await withRing({}, async (ring) => {
      const { requests } = coreOf(ring);
      await requests.task(() => removePath(requests, text, force, stop.signal));
    });
  } finally {
    forget?.();
  }
}

async function removePath(requests: RequestQueue, path: string, force: boolean, signal: AbortSignal): Promise<void> {
  const removal = new Removal(requests, signal);
  try {
    if (path === "") throw new UringError("ENOENT", "open", { path });
    await removal.folder(undefined, false, path, path);
  } catch (error) {
    if (!(error instanceof UringError) || error.path !== path || error.syscall !== "open") throw error;
    if (error.code === "ENOENT" && force) return;
    // ELOOP: a symbolic link. ENOTDIR: another file.
    if (error.code !== "ENOTDIR" && error.code !== "ELOOP") throw error;
    await removal.file(path);
  }
}
