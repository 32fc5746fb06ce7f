import {
  checkBoolean,
  checkInteger,
  checkOptions,
  checkPosition,
  checkSignal,
  invalidType,
} from "../base/arguments.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import { CacheAdvice } from "./cache-advice.ts";
import type { StreamedFile } from "./stream-memory.ts";

/** Options of `RingFile.readable` and `RingFile.writable`. */
export interface StreamOptions {
  /**
   * A pool of the ring, whose slots the transfers use. A stream never waits for slots that others hold, and never takes
   * the last free one: without a slot, it transfers up to 64 KiB at a time with memory of its own. Default none: the
   * transfers use ordinary memory, 64 KiB for the first and up to 512 KiB for later ones.
   */
  readonly pool?: BufferPool;
  /**
   * Start position in the file, in bytes; null: the file's own position, with one transfer at a time. Default 0, or
   * null for a file without positions: a pipe, a FIFO, a socket, a TTY.
   */
  readonly position?: number | bigint | null;
  /** Maximum number of transfers in flight, 1 to 1024. Default 4. */
  readonly depth?: number;
  /**
   * Close the file when the stream ends, fails or is cancelled. Default false. If a stream is neither read nor
   * cancelled, its file stays open until the file is garbage-collected. Bun 1.4.0 does this to the body of a response
   * whose client has already disconnected.
   */
  readonly autoClose?: boolean;
  /**
   * Do not leave what is transferred in the page cache (RWF_DONTCACHE), so that streaming a large file does not evict
   * what others use. Pages that were in the cache before stay. This is advice: where the kernel or the file system does
   * not support it, the stream goes on without it. Since Linux 6.14, on ext4, XFS and others. Default false.
   */
  readonly dontCache?: boolean;
  /** Fails the stream with the signal's reason when the signal aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** Checks the options that readable and writable streams share. */
export function checkStreamOptions(
  options: StreamOptions,
  known: readonly string[],
  file: StreamedFile,
  direction: "read" | "write",
) {
  checkOptions(options, [...known, "pool", "position", "depth", "autoClose", "dontCache", "signal"]);
  const { pool, position = file.seekable ? 0 : null, depth = 4, autoClose = false, dontCache = false } = options;
  const { signal } = options;
  if (pool !== undefined && !(pool instanceof BufferPool)) throw invalidType("options.pool", "a BufferPool", pool);
  if (pool !== undefined) file.assertHas(pool);
  if (position !== null) checkPosition("options.position", position, 0);
  checkInteger("options.depth", depth, 1, 1024);
  checkBoolean("options.autoClose", autoClose);
  checkBoolean("options.dontCache", dontCache);
  if (signal !== undefined) checkSignal(signal);
  if (position !== null && !file.seekable)
    throw new UringError("ESPIPE", direction, {
      message: `options.position is ${position}, and the file has no positions: it is a pipe, a FIFO, a socket or a tty`,
      hint: "Leave options.position out, or make it null.",
    });
  // Transfers at the file's own position are in order only if there is one at a time.
  return {
    pool,
    position: position ?? undefined,
    depth: position === null ? 1 : depth,
    autoClose,
    signal,
    advice: new CacheAdvice(dontCache),
  };
}
