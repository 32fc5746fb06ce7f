import { onAbort, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { checkInteger, checkSignal, readOptions } from "../base/arguments.ts";
import { UringError } from "../errors/uring-error.ts";
import { O_NOFOLLOW } from "../requests/open-flags.ts";
import { contentBytes } from "../requests/path-reader.ts";
import { readFilesOf } from "../ring/read-files.ts";
import { coreOf, type Ring } from "../ring/ring.ts";
import { threadRing } from "../ring/thread-ring.ts";
import { patiently } from "../uring/memlock.ts";
import { pathOf } from "./copy.ts";
import { checkDigest, type HashFileOptions, hashOne, newHash } from "./hash.ts";
import { joined, namesIn } from "./tree.ts";

/** A file of a tree that `hashTree` has hashed, or why it could not be. */
export type HashTreeResult =
  | { readonly path: string; readonly digest: string; readonly error?: undefined }
  | { readonly path: string; readonly digest?: undefined; readonly error: Error };

/** Options of `hashTree`. */
export interface HashTreeOptions extends Pick<HashFileOptions, "algorithm" | "encoding"> {
  /** The most files that are read at a time, 1 to 64. Default 64. */
  readonly concurrency?: number;
  /** Ends the iteration with the signal's reason when the signal aborts. */
  readonly signal?: AbortSignal | undefined;
}

function treeOptions(given: HashTreeOptions) {
  const known = ["algorithm", "encoding", "concurrency", "signal"];
  const defaults = { algorithm: "sha256", encoding: "hex", concurrency: 64 } as const;
  const options = { ...defaults, ...readOptions(given, known) };
  checkDigest(options.algorithm, options.encoding);
  checkInteger("options.concurrency", options.concurrency, 1, 64);
  if (options.signal !== undefined) checkSignal(options.signal);
  return options;
}

type CheckedOptions = ReturnType<typeof treeOptions>;

function errorOf(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** One file of the tree, or one folder or special file that cannot be hashed. */
interface Found {
  readonly path: string;
  readonly error?: Error;
}

/** How many files are found before they are read. */
const batchFiles = 1024;

/** Finds the files of each folder, and then those of the folders in it. Yields them in batches. */
async function* filesIn(root: string): AsyncGenerator<Found[], undefined> {
  const folders = [root];
  let found: Found[] = [];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const path = folder;
    try {
      const { files, specials, folders: inner } = await namesIn(path);
      for (const name of files) found.push({ path: joined(path, name) });
      for (const name of specials) {
        const special = joined(path, name);
        const message = "not a regular file";
        found.push({ path: special, error: new UringError("EINVAL", "open", { path: special, message }) });
      }
      for (const name of inner.reverse()) folders.push(joined(path, name));
    } catch (error) {
      if (path === root) throw error;
      found.push({ path, error: errorOf(error) });
    }
    if (found.length < batchFiles) continue;
    yield found;
    found = [];
  }
  yield found;
  return undefined;
}

function isTooLarge(error: unknown): boolean {
  return error instanceof RangeError && "code" in error && error.code === "ERR_FS_FILE_TOO_LARGE";
}

/** Hashes a file in pieces. */
async function hashLarge(
  ring: Ring,
  path: string,
  algorithm: string,
  encoding: CheckedOptions["encoding"],
  signal: AbortSignal,
): Promise<HashTreeResult> {
  try {
    return {
      path,
      digest: await hashOne(ring, path, {
        algorithm,
        encoding,
        depth: 4,
        dontCache: false,
        signal,
        openFlags: O_NOFOLLOW,
      }),
    };
  } catch (error) {
    throwIfAborted(signal);
    return { path, error: errorOf(error) };
  }
}

/** One generator does it all: each one within another would cost as much as a file. */
async function* hashes(folder: string, options: CheckedOptions): AsyncGenerator<HashTreeResult, undefined, undefined> {
  const { signal, algorithm, encoding, concurrency } = options;
  const ring = await patiently(threadRing);
  const stop = new Stop();
  const forget = signal && onAbort(signal, () => stop.abort(reasonOf(signal)));
  const limits = { concurrency, maxBytes: contentBytes, signal: stop.signal };
  const batches = filesIn(folder);
  // The next batch is found while this one is hashed.
  let next = batches.next();
  let reads: ReturnType<typeof readFilesOf> | undefined;
  try {
    for (;;) {
      const { value: batch } = await next;
      throwIfAborted(stop.signal);
      if (batch === undefined) return undefined;
      next = batches.next();
      next.catch(() => undefined); // no unhandled rejection: it is awaited later
      const paths = batch.filter(({ error }) => error === undefined).map(({ path }) => path);
      reads = readFilesOf(ring, coreOf(ring).paths, paths, limits, O_NOFOLLOW);
      for (const { path, error: unread } of batch) {
        throwIfAborted(stop.signal);
        if (unread !== undefined) {
          yield { path, error: unread };
          continue;
        }
        const { value } = await reads.next();
        const { bytes, error } = value ?? {};
        if (bytes !== undefined) yield { path, digest: newHash(algorithm).update(bytes).digest(encoding) };
        else if (isTooLarge(error)) yield await hashLarge(ring, path, algorithm, encoding, stop.signal);
        else yield { path, error: errorOf(error) };
      }
    }
  } finally {
    forget?.();
    stop.abort();
    await reads?.return?.();
    await next.catch(() => undefined); // nothing is in flight afterwards
  }
}

/**
 * Computes the digest of each file of a folder and of the folders in it. Yields them in a fixed order: a folder's files
 * by their names, and then those of the folders in it, by their names. Names are compared as JavaScript compares
 * strings. A file or a folder that cannot be read is yielded with the error, and so is a FIFO, a socket or a device.
 * Symbolic links in the tree are left out, and never followed.
 *
 * Files are read ahead, up to `concurrency` of them. When the iteration ends early, the reads in flight are cancelled.
 * @param folder - a path or a file: URL, which may be a symbolic link to a folder. The paths of the results begin with
 * it
 * @throws TypeError, RangeError: an argument or an option has the wrong type or value
 * @throws Error ENOENT, ENOTDIR, …: the folder itself cannot be read; UringError: the errors of `new Ring()`. An abort
 * throws the signal's reason.
 * @example
 * ```ts
 * import { hashTree } from "bun-uring";
 *
 * for await (const { path, digest, error } of hashTree("src")) console.log(error?.message ?? `${digest}  ${path}`);
 * ```
 */
export function hashTree(
  folder: string | URL,
  options: HashTreeOptions = {},
): AsyncGenerator<HashTreeResult, undefined, undefined> {
  const path = pathOf("folder", folder);
  const given = treeOptions(options);
  throwIfAborted(given.signal);
  return hashes(path, given);
}
