import type { Hash } from "node:crypto";
import { throwIfAborted } from "../base/abort.ts";
import {
  checkBoolean,
  checkInteger,
  checkSignal,
  invalidType,
  invalidValue,
  readOptions,
  show,
} from "../base/arguments.ts";
import { Promise, process } from "../base/globals.ts";
import { pathText } from "../base/path.ts";
import type { BufferPool } from "../pool/buffer-pool.ts";
import * as operations from "../requests/builders.ts";
import { knownSizeOf } from "../requests/descriptor.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { O_RDONLY } from "../requests/open-flags.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { CacheAdvice } from "../ring/cache-advice.ts";
import { cacheFlag } from "../ring/core.ts";
import { openFile } from "../ring/opening.ts";
import type { PathFiles } from "../ring/path-files.ts";
import { coreOf, type Ring } from "../ring/ring.ts";
import { native } from "../uring/native.ts";
import { chunkBytesOf, repeat } from "./chunks.ts";
import { closeWhenIdle, readStart } from "./file-start.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";

/** Progress of `hashFile`. */
export interface HashProgress {
  /** Bytes hashed so far. Never decreases. */
  readonly hashedBytes: number;
  /** The file's size. Increases if the file grows meanwhile. */
  readonly totalBytes: number;
}

/** Options of `hashFile`. */
export interface HashFileOptions extends RingAndPool {
  /** A digest algorithm that `node:crypto` supports: "sha256", "sha1", "blake2b512", … Default "sha256". */
  readonly algorithm?: string;
  /** Encoding of the digest. Default "hex". */
  readonly encoding?: "hex" | "base64" | "base64url" | "latin1";
  /** Maximum number of reads in flight, 1 to 1024. Default 4. */
  readonly depth?: number;
  /**
   * Do not leave the file in the page cache (RWF_DONTCACHE), so that hashing a large file does not evict what others
   * use. Pages that were in the cache before stay. This is advice: where the kernel or the file system does not support
   * it, the call goes on without it. Since Linux 6.14, on ext4, XFS and others. Default false.
   */
  readonly dontCache?: boolean;
  /** Rejects the promise with the signal's reason when the signal aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Called at the start and after each piece. If it throws, the call ends and rejects with that error. */
  readonly onProgress?: (progress: HashProgress) => void;
}

const encodings = ["hex", "base64", "base64url", "latin1"];

/** The algorithms that node:crypto has been found to have. */
const knownAlgorithms = new Set<string>();

/** Checks how a digest is to be computed and shown. */
export function checkDigest(algorithm: unknown, encoding: unknown): void {
  if (typeof algorithm !== "string") throw invalidType("options.algorithm", "a string", algorithm);
  if (typeof encoding !== "string" || !encodings.includes(encoding))
    throw invalidValue(`options.encoding must be one of ${encodings.join(", ")}, not ${show(encoding)}`);
  if (knownAlgorithms.has(algorithm)) return;
  newHash(algorithm);
  knownAlgorithms.add(algorithm);
}

const defaults = { algorithm: "sha256", encoding: "hex", depth: 4, dontCache: false } as const;

type CheckedOptions = ReturnType<typeof hashOptions>;

/** What hashing one file needs to know. */
export type HashSettings = Pick<
  CheckedOptions,
  "pool" | "algorithm" | "encoding" | "depth" | "dontCache" | "signal" | "onProgress"
> & {
  /** More flags for the open. */
  readonly openFlags?: number;
};

/** The options, each read once and checked, with the defaults. */
function hashOptions(given: HashFileOptions) {
  const known = ["ring", "pool", "algorithm", "encoding", "depth", "dontCache", "signal", "onProgress"];
  const options = { ...defaults, ...readOptions(given, known) };
  const { algorithm, encoding, depth, dontCache, signal, onProgress } = options;
  checkRingAndPool(options);
  checkDigest(algorithm, encoding);
  checkInteger("options.depth", depth, 1, 1024);
  checkBoolean("options.dontCache", dontCache);
  if (signal !== undefined) checkSignal(signal);
  if (onProgress !== undefined && typeof onProgress !== "function")
    throw invalidType("options.onProgress", "a function", onProgress);
  return options;
}

let crypto: typeof import("node:crypto") | undefined;

export function newHash(algorithm: string): Hash {
  try {
    // Loaded on first use, because loading it takes as long as loading this whole library.
    crypto ??= process.getBuiltinModule("node:crypto");
    return crypto.createHash(algorithm);
  } catch {
    throw invalidValue(`options.algorithm must be a digest that node:crypto has, not ${JSON.stringify(algorithm)}`);
  }
}

/**
 * Iterates over chunks that lie in slots. Each slot is released when the consumer asks for the next chunk, or stops
 * iterating.
 */
async function* slotsOf(stream: ReadableStream<Uint8Array & Disposable>): AsyncGenerator<Uint8Array> {
  for await (using chunk of stream) yield chunk;
}

/** How much a file that has no positions is read at a time. */
const pieceBytes = 65536;

/**
 * Iterates over the content of a file without positions, or with a position of its own only. Each chunk is valid until
 * the next one is requested.
 */
async function* piecesOf(
  requests: RequestQueue,
  file: OpenFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const memory = new Uint8Array(new SharedArrayBuffer(pieceBytes));
  for (;;) {
    const bytes = await requests.run(() => operations.transfer("read", file, memory, undefined), signal);
    if (bytes === 0) return;
    yield memory.subarray(0, bytes);
  }
}

/**
 * Iterates over a file's content in order from a position on, with several chunks read ahead. Each chunk is valid until
 * the next one is requested.
 */
async function* chunksOf(
  requests: RequestQueue,
  file: OpenFile,
  beginsAt: number,
  depth: number,
  dontCache: boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const advice = new CacheAdvice(dontCache);
  const sizeBytes = Math.max(0, sizeOf(file) - beginsAt);
  const chunkBytes = chunkBytesOf(sizeBytes);
  const count = Math.min(depth, Math.floor(sizeBytes / chunkBytes) + 1);
  const memory = new Uint8Array(new SharedArrayBuffer(count * chunkBytes));
  const memoryOf = (index: number) => memory.subarray((index % count) * chunkBytes, ((index % count) + 1) * chunkBytes);
  const read = (index: number) =>
    repeat(chunkBytes, (done) =>
      advice.follow((asked) =>
        requests.run(() => {
          const position = beginsAt + index * chunkBytes + done;
          const request = operations.transfer("read", file, memoryOf(index).subarray(done), position);
          return { ...request, opFlags: cacheFlag(asked) };
        }, signal),
      ),
    );
  const reads: Promise<number>[] = [];
  let begun = 0;
  for (let index = 0; ; index++) {
    // Beyond the known size, keep only one read in flight, to find out whether the file has grown.
    for (; begun < index + count && (begun === index || begun * chunkBytes <= sizeBytes); begun++) {
      const filled = read(begun);
      filled.catch(() => undefined); // no unhandled rejection: the loop awaits the read later and gets its error
      reads.push(filled);
    }
    const [filledBytes = 0] = await Promise.all(reads.splice(0, 1));
    if (filledBytes > 0) yield memoryOf(index).subarray(0, filledBytes);
    if (filledBytes < chunkBytes) return;
  }
}

const SEEK_END = 2;

/** The size of a regular file as the kernel knows it, or of a block device. */
function sizeOf({ fd, regular }: OpenFile): number {
  return Number(regular ? knownSizeOf(fd) : native().fileSeek(fd, 0, SEEK_END));
}

/** Iterates over the content after the first `doneBytes` of a file that is open at that position. */
function contentOf(
  requests: RequestQueue,
  file: OpenFile,
  doneBytes: number,
  depth: number,
  dontCache: boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  return file.ordered && file.seekable
    ? chunksOf(requests, file, doneBytes, depth, dontCache, signal)
    : piecesOf(requests, file, signal);
}

/** Adds the rest of a file to its hash, and closes the file. */
async function hashRest(
  requests: RequestQueue,
  hash: Hash,
  file: OpenFile,
  { depth, dontCache, signal }: HashSettings,
  doneBytes: number,
  onPiece?: (bytes: number) => void,
): Promise<void> {
  try {
    for await (const bytes of contentOf(requests, file, doneBytes, depth, dontCache, signal)) {
      hash.update(bytes);
      onPiece?.(bytes.length);
    }
  } finally {
    await closeWhenIdle(requests, file);
  }
}

/** Hashes a file that a reader reads, or at least begins. */
async function hashByReader(files: PathFiles, path: string, settings: HashSettings): Promise<string> {
  const { algorithm, encoding, signal, openFlags = 0 } = settings;
  const start = await readStart(files, path, openFlags, signal);
  const { file } = start;
  let hash: Hash;
  let doneBytes = 0;
  try {
    hash = newHash(algorithm);
    // On FUSE, io_uring may have read the same bytes twice, so the start counts for nothing.
    if (file === undefined || !(file.fuse && file.seekable)) {
      hash.update(start.content);
      doneBytes = start.content.length;
    }
  } finally {
    start.release();
  }
  if (file !== undefined) await hashRest(files.requests, hash, file, settings, doneBytes);
  return hash.digest(encoding);
}

/** Hashes a file through a descriptor. */
async function hashByDescriptor(requests: RequestQueue, path: string, given: HashSettings): Promise<string> {
  const { algorithm, encoding, signal, onProgress, openFlags = 0 } = given;
  const hash = newHash(algorithm);
  const file = await openFile(requests, () => ({ path, flags: O_RDONLY | openFlags, mode: 0, direct: false, signal }));
  let hashedBytes = 0;
  let size = 0;
  const advance = (bytes: number) => {
    hashedBytes += bytes;
    onProgress?.({ hashedBytes, totalBytes: Math.max(size, hashedBytes) });
  };
  try {
    size = Number(knownSizeOf(file.fd));
    advance(0);
  } catch (error) {
    await closeWhenIdle(requests, file);
    throw error;
  }
  await hashRest(requests, hash, file, given, 0, advance);
  return hash.digest(encoding);
}

/** Hashes a file through slots of a pool. */
async function hashBySlots(ring: Ring, pool: BufferPool, path: string, given: HashSettings): Promise<string> {
  const { algorithm, encoding, depth, dontCache, signal, onProgress, openFlags = 0 } = given;
  const hash = newHash(algorithm);
  await using file = await ring.open(path, O_RDONLY | openFlags, 0, { signal });
  const size = Number(knownSizeOf(file.fd));
  const content = slotsOf(file.readable({ depth, dontCache, pool, zeroCopy: true, signal }));
  let hashedBytes = 0;
  onProgress?.({ hashedBytes, totalBytes: size });
  for await (const bytes of content) {
    hash.update(bytes);
    hashedBytes += bytes.length;
    onProgress?.({ hashedBytes, totalBytes: Math.max(size, hashedBytes) });
  }
  return hash.digest(encoding);
}

/** Hashes one file in the way that suits the settings. */
export function hashOne(ring: Ring, path: string, settings: HashSettings): Promise<string> {
  if (settings.pool !== undefined) return hashBySlots(ring, settings.pool, path, settings);
  const { requests, paths } = coreOf(ring);
  const isForReader =
    settings.onProgress === undefined &&
    !settings.dontCache &&
    paths.readers.count > 0 &&
    path !== "" &&
    !path.includes("\0");
  return requests.task(() =>
    isForReader ? hashByReader(paths, path, settings) : hashByDescriptor(requests, path, settings),
  );
}

/**
 * Computes the digest of a file's content. Several pieces are read at once while one is hashed, without copying. A
 * pipe, a FIFO or a terminal is read to its end, with one read at a time. Without a `pool`, the call allocates up to
 * `depth` pieces of 256 KiB of ordinary memory, and no more than the file's size requires.
 * @param path - a path or a file: URL
 * @throws TypeError, RangeError: an argument or an option has the wrong type or value
 * @throws UringError ENOENT, EACCES, EISDIR, …; and the errors of `new Ring()`. An abort throws the signal's reason.
 * @example
 * ```ts
 * import { hashFile } from "bun-uring";
 *
 * console.log(await hashFile("disk.img", { algorithm: "sha256", onProgress: ({ hashedBytes, totalBytes }) => console.log(hashedBytes / totalBytes) }));
 * ```
 */
export async function hashFile(path: string | URL, options: HashFileOptions = {}): Promise<string> {
  const given = hashOptions(options);
  const text = pathText(path);
  throwIfAborted(given.signal);
  return await withRing(given, (ring) => hashOne(ring, text, given));
}
