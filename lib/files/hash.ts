import type { Hash } from "node:crypto";
import { throwIfAborted } from "../base/abort.ts";
import { checkInteger, checkOptions, checkSignal, invalidType, invalidValue, show } from "../base/arguments.ts";
import { Promise, process } from "../base/globals.ts";
import type { RingFile } from "../ring/file.ts";
import type { Ring } from "../ring/ring.ts";
import { chunkBytesOf, repeat } from "./chunks.ts";
import { checkRingAndPool, type RingAndPool, withRing } from "./ring-and-pool.ts";

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

/** The chunks of a stream that are slots: each goes back when the next is asked for, or nobody asks any more. */
async function* slotsOf(stream: ReadableStream<Uint8Array & Disposable>): AsyncGenerator<Uint8Array> {
  for await (using chunk of stream) yield chunk;
}

/** A regular file's content in order, of which several chunks are read ahead. Each is valid until the next is asked for. */
async function* chunksOf(ring: Ring, file: RingFile, sizeBytes: number, depth: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const chunkBytes = chunkBytesOf(sizeBytes);
  const count = Math.min(depth, Math.floor(sizeBytes / chunkBytes) + 1);
  const memory = new Uint8Array(new SharedArrayBuffer(count * chunkBytes));
  const memoryOf = (index: number) => memory.subarray((index % count) * chunkBytes, ((index % count) + 1) * chunkBytes);
  const read = (index: number) =>
    repeat(chunkBytes, (done) => ring.read(file, memoryOf(index).subarray(done), { position: index * chunkBytes + done, ...(signal && { signal }) }));
  const reads: Promise<number>[] = [];
  let begun = 0;
  for (let index = 0; ; index++) {
    // Behind the size one alone finds out whether there is more.
    for (; begun < index + count && (begun === index || begun * chunkBytes <= sizeBytes); begun++) {
      const filled = read(begun);
      filled.catch(() => undefined); // who comes to wait for it hears of it
      reads.push(filled);
    }
    const [filledBytes = 0] = await Promise.all(reads.splice(0, 1));
    if (filledBytes > 0) yield memoryOf(index).subarray(0, filledBytes);
    if (filledBytes < chunkBytes) return;
  }
}

/**
 * The digest of a file's content, of which several pieces are read at once while one is hashed, without a copy. A pipe, a FIFO or a terminal is read to its end,
 * one read at a time. Without `pool` it takes up to `depth` pieces of 256 KiB of plain memory, and no more than the file has.
 * @param path - a path, or a file: URL
 * @throws TypeError, RangeError: an option's type or value
 * @throws UringError ENOENT, EACCES, EISDIR, …; the signal's reason; and the errors of `new Ring()`
 * @example
 * ```ts
 * import { hashFile } from "bun-uring";
 *
 * console.log(await hashFile("disk.img", { algorithm: "sha256", onProgress: ({ hashedBytes, totalBytes }) => console.log(hashedBytes / totalBytes) }));
 * ```
 */
export async function hashFile(path: string | URL, options: HashFileOptions = {}): Promise<string> {
  checkHashOptions(options);
  const { algorithm = "sha256", encoding = "hex", depth = 4, pool, signal, onProgress } = options;
  const hash = newHash(algorithm);
  throwIfAborted(signal);
  return await withRing(options, async (ring) => {
    await using file = await ring.open(path, "r", 0, { ...(signal && { signal }) });
    const stats = await file.stat();
    const { size } = stats;
    const streaming = { depth, ...(signal && { signal }) };
    const content =
      pool !== undefined
        ? slotsOf(file.readable({ ...streaming, pool, zeroCopy: true }))
        : stats.isFile()
          ? chunksOf(ring, file, size, depth, signal)
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
