import { checkBoolean, checkInteger, checkOptions, checkPosition, checkSignal, invalidType } from "../base/arguments.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import { memoriesOf, type StreamedFile } from "./stream-memory.ts";

/** Options of `RingFile.readable` and `RingFile.writable`. */
export interface StreamOptions {
  /**
   * A pool of the ring, whose slots the transfers use. A stream waits for none, and leaves the last to others: where there is no more, it transfers up to 64 KiB at a time
   * by memory of its own. Default none: plain memory, 64 KiB for each.
   */
  readonly pool?: BufferPool;
  /** Where in the file to begin, in bytes; null: its own position, one transfer at a time. Default 0; null of what has no positions: a pipe, a FIFO, a socket, a tty. */
  readonly position?: number | bigint | null;
  /** How many transfers are in flight at most, 1 to 1024. Default 4. */
  readonly depth?: number;
  /**
   * Close the file when the stream ends, fails or is cancelled. Default false. The file of a stream that is neither read nor cancelled stays open until it is
   * collected: Bun 1.4.0 leaves the body of a response so whose client has gone already.
   */
  readonly autoClose?: boolean;
  /** Ends the stream with its reason when aborted. */
  readonly signal?: AbortSignal;
}

/** Bytes of a transfer where there is no pool. */
const ownBytes = 65536;

/** Checks what readable and writable streams have in common. */
export function checkStreamOptions(options: StreamOptions, known: readonly string[], file: StreamedFile, direction: "read" | "write") {
  checkOptions(options, [...known, "pool", "position", "depth", "autoClose", "signal"]);
  const { pool, position = file.seekable ? 0 : null, depth = 4, autoClose = false, signal } = options;
  if (pool !== undefined && !(pool instanceof BufferPool)) throw invalidType("options.pool", "a BufferPool", pool);
  if (position !== null) checkPosition("options.position", position, 0);
  checkInteger("options.depth", depth, 1, 1024);
  checkBoolean("options.autoClose", autoClose);
  if (signal !== undefined) checkSignal(signal);
  if (position !== null && !file.seekable)
    throw new UringError("ESPIPE", direction, {
      message: `options.position is ${position}, and the file has no positions: it is a pipe, a FIFO, a socket or a tty`,
      hint: "Leave options.position out, or make it null.",
    });
  // What has no position of its own to name can only be done one after the other.
  return { pool, position: position ?? undefined, depth: position === null ? 1 : depth, autoClose, signal, memories: memoriesOf(file, pool, ownBytes) };
}
