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
import { CacheAdvice } from "../ring/cache-advice.ts";
import type { RingFile } from "../ring/file.ts";
import type { Ring } from "../ring/ring.ts";
import { chunkBytesOf, repeat } from "./chunks.ts";
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
  readonly signal?: AbortSignal;
  /** Called at the start and after each piece. If it throws, the call ends and rejects with that error. */
  readonly onProgress?: (progress: HashProgress) => void;
}

const encodings = ["hex", "base64", "base64url", "latin1"];

/** The options, each read once and checked. */
function hashOptions(given: HashFileOptions): HashFileOptions {
  const options = readOptions(given, [
    "ring",
    "pool",
    "algorithm",
    "encoding",
    "depth",
    "dontCache",
    "signal",
    "onProgress",
  ]);
  const { algorithm = "sha256", encoding = "hex", depth = 1, dontCache = false, signal, onProgress } = options;
  checkRingAndPool(options);
  if (typeof algorithm !== "string") throw invalidType("options.algorithm", "a string", algorithm);
  if (!encodings.includes(encoding))
    throw invalidValue(`options.encoding must be one of ${encodings.join(", ")}, not ${show(encoding)}`);
  checkInteger("options.depth", depth, 1, 1024);
  checkBoolean("options.dontCache", dontCache);
  if (signal !== undefined) checkSignal(signal);
  if (onProgress !== undefined && typeof onProgress !== "function")
    throw invalidType("options.onProgress", "a function", onProgress);
  return options;
}

function newHash(algorithm: string): Hash {
  try {
    // Loaded on first use, because loading it takes as long as loading this whole library.
    return process.getBuiltinModule("node:crypto").createHash(algorithm);
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

/**
 * Iterates over a regular file's content in order, with several chunks read ahead. Each chunk is valid until the next
 * one is requested.
 */
async function* chunksOf(
  ring: Ring,
  file: RingFile,
  sizeBytes: number,
  depth: number,
  dontCache: boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const advice = new CacheAdvice(dontCache);
  const chunkBytes = chunkBytesOf(sizeBytes);
  const count = Math.min(depth, Math.floor(sizeBytes / chunkBytes) + 1);
  const memory = new Uint8Array(new SharedArrayBuffer(count * chunkBytes));
  const memoryOf = (index: number) => memory.subarray((index % count) * chunkBytes, ((index % count) + 1) * chunkBytes);
  const read = (index: number) =>
    repeat(chunkBytes, (done) =>
      advice.follow((asked) =>
        ring.read(file, memoryOf(index).subarray(done), {
          position: index * chunkBytes + done,
          dontCache: asked,
          ...(signal && { signal }),
        }),
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
  const { algorithm = "sha256", encoding = "hex", depth = 4, pool, dontCache = false, signal, onProgress } = given;
  const hash = newHash(algorithm);
  throwIfAborted(signal);
  return await withRing(given, async (ring) => {
    await using file = await ring.open(path, "r", 0, { ...(signal && { signal }) });
    const stats = await file.stat();
    const { size } = stats;
    const streaming = { depth, dontCache, ...(signal && { signal }) };
    const content =
      pool !== undefined
        ? slotsOf(file.readable({ ...streaming, pool, zeroCopy: true }))
        : stats.isFile()
          ? chunksOf(ring, file, size, depth, dontCache, signal)
          : file.readable(streaming);
    let hashedBytes = 0;
    onProgress?.({ hashedBytes, totalBytes: size });
    for await (const bytes of content) {
      hash.update(bytes);
      hashedBytes += bytes.length;
      onProgress?.({ hashedBytes, totalBytes: Math.max(size, hashedBytes) });
    }
    return hash.digest(encoding);
  });
}
