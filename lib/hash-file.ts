import type { Hash } from "node:crypto";
import { checkInteger, checkOptions, checkSignal, invalidType, invalidValue, show } from "./arguments.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";

/** Bytes of a read, where the pool is the call's own. */
const chunkBytes = 2 ** 18;

/** How far `hashFile` is. */
export interface HashProgress {
  /** Never less than before. */
  readonly hashedBytes: number;
  /** The file's size; more while it grows. */
  readonly totalBytes: number;
}

/** Options of `hashFile`. */
export interface HashFileOptions extends RingAndPool {
  /** What `node:crypto` can: "sha256", "sha1", "blake2b512", … Default "sha256". */
  readonly algorithm?: string;
  /** Of the digest. Default "hex". */
  readonly encoding?: "hex" | "base64" | "base64url" | "latin1";
  /** Reads in flight, 1 to 1024. Default 4. */
  readonly depth?: number;
  /** Rejects the promise with its reason when aborted. */
  readonly signal?: AbortSignal;
  /** Called at the start and after each piece. What it throws ends the reading. */
  readonly onProgress?: (progress: HashProgress) => void;
}

const encodings = ["hex", "base64", "base64url", "latin1"];

function checkHashOptions(options: HashFileOptions): void {
  checkOptions(options, ["ring", "pool", "algorithm", "encoding", "depth", "signal", "onProgress"]);
  const { algorithm = "sha256", encoding = "hex", depth = 1, signal, onProgress } = options;
  checkRingAndPool(options);
  if (typeof algorithm !== "string") throw invalidType("options.algorithm", "a string", algorithm);
  if (!encodings.includes(encoding)) throw invalidValue(`options.encoding must be one of ${encodings.join(", ")}, not ${show(encoding)}`);
  checkInteger("options.depth", depth, 1, 1024);
  if (signal !== undefined) checkSignal(signal);
  if (onProgress !== undefined && typeof onProgress !== "function") throw invalidType("options.onProgress", "a function", onProgress);
}

function newHash(algorithm: string): Hash {
  try {
    return process.getBuiltinModule("node:crypto").createHash(algorithm); // loaded when it is needed: it takes as long as all of this library
  } catch {
    throw invalidValue(`options.algorithm must be a digest that node:crypto has, not ${JSON.stringify(algorithm)}`);
  }
}

/**
 * The digest of a file's content, of which several pieces are read at once while one is hashed, without a copy.
 * @param path - a path, or a file: URL
 * @throws TypeError, RangeError: an option's type or value
 * @throws UringError ENOENT, EACCES, EISDIR, …; the signal's reason; and the errors of `new Ring()` and `new BufferPool()`
 * @example
 * ```ts
 * import { hashFile } from "bun-uring";
 *
 * console.log(await hashFile("disk.img", { algorithm: "sha256", onProgress: ({ hashedBytes, totalBytes }) => console.log(hashedBytes / totalBytes) }));
 * ```
 */
export async function hashFile(path: string | URL, options: HashFileOptions = {}): Promise<string> {
  checkHashOptions(options);
  const { algorithm = "sha256", encoding = "hex", depth = 4, signal, onProgress } = options;
  const hash = newHash(algorithm);
  signal?.throwIfAborted();
  return await withRing(options, { count: depth + 2, size: chunkBytes }, async (ring, pool) => {
    await using file = await ring.open(path, "r", 0, { ...(signal && { signal }) });
    const { size } = await file.stat();
    let hashedBytes = 0;
    onProgress?.({ hashedBytes, totalBytes: size });
    for await (using bytes of file.readable({ pool, depth, zeroCopy: true, ...(signal && { signal }) })) {
      hash.update(bytes);
      hashedBytes += bytes.length;
      onProgress?.({ hashedBytes, totalBytes: Math.max(size, hashedBytes) });
    }
    return hash.digest(encoding);
  });
}
