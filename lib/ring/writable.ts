import { onAbort, onAbortWhileKept, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, invalidType, invalidValue, isSignal } from "../base/arguments.ts";
import { Buffer, Promise, webStreams } from "../base/globals.ts";
import { bytesOfView, isSharedMemory, isUnsharedMemory, isView } from "../base/view.ts";
import { noMoreTaken } from "../requests/builders.ts";
import {
  advanced,
  type Memories,
  type Memory,
  memoriesOf,
  type StreamedFile,
  type StreamPosition,
} from "./stream-memory.ts";
import { checkStreamOptions, type StreamOptions } from "./stream-options.ts";

/** Options of `RingFile.writable`. */
export interface WritableOptions extends StreamOptions {
  /** Finish closing the stream only when the content is on stable storage (fdatasync). Default false. */
  readonly durable?: boolean;
}

/** A chunk that can be written. Text is encoded as UTF-8. */
export type WritableChunk = string | ArrayBuffer | SharedArrayBuffer | NodeJS.ArrayBufferView;

function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === "string") return Buffer.from(chunk);
  // The view may lie in another stream's slot. The WritableStream keeps the chunk alive in its queue until the write
  // has ended.
  if (isView(chunk)) return bytesOfView(chunk);
  if (isUnsharedMemory(chunk) || isSharedMemory(chunk)) return new Uint8Array(chunk);
  throw invalidType("chunk", "a string, an ArrayBuffer or a view of memory", chunk);
}

/**
 * Copies a part of a chunk. Returns false if it is not completely there any more: its memory may have been detached or
 * resized meanwhile.
 */
function copyPart(bytes: Uint8Array, offset: number, length: number, target: Uint8Array): boolean {
  try {
    const part = bytes.subarray(offset, offset + length);
    if (part.length !== length) return false;
    target.set(part);
    return true;
  } catch {
    return false;
  }
}

/** Writes a file chunk by chunk, with several writes in flight, each at the position after the previous one. */
class WriteBehind {
  readonly #memories: Memories;
  readonly #depth: number;
  readonly #stopping = new Stop();
  /** Writes in flight, in order. */
  readonly #writes: Promise<void>[] = [];
  #position: StreamPosition;
  #failure: { readonly reason: unknown } | undefined;

  constructor(memories: Memories, position: StreamPosition, depth: number) {
    this.#memories = memories;
    this.#position = position;
    this.#depth = depth;
  }

  /** Resolves as soon as writes for all of the bytes have started and fewer than `depth` are in flight. */
  async write(bytes: Uint8Array): Promise<void> {
    // Read the length once: if the memory is detached meanwhile, the length is 0, and the loop would end early without
    // an error.
    const totalBytes = bytes.length;
    for (let offset = 0; offset < totalBytes; ) {
      const memory = await this.#take(totalBytes - offset);
      const length = Math.min(totalBytes - offset, memory.bytes.length);
      if (!copyPart(bytes, offset, length, memory.bytes)) {
        memory.release();
        throw invalidValue(
          `chunk must keep its memory while it is written: one of ${totalBytes} bytes was detached or resized after ${offset} were copied`,
        );
      }
      this.#writes.push(this.#flush(memory, length, this.#position));
      this.#position = advanced(this.#position, length);
      offset += length;
      if (this.#writes.length >= this.#depth) await this.#oldest();
    }
  }

  /** Resolves when everything has been written. */
  async finish(): Promise<void> {
    while (this.#writes.length > 0) await this.#oldest();
    this.#check();
  }

  /** Cancels the writes in flight, which then fail with the reason. */
  cancel(reason?: unknown): void {
    this.#stopping.abort(reason);
  }

  /** Cancels the writes in flight and waits until they have ended. */
  async stop(reason?: unknown): Promise<void> {
    this.cancel(reason);
    await Promise.all(this.#writes.splice(0));
  }

  /**
   * Returns memory for one more write. Waits for a slot only as long as this stream's own writes hold some. Other slots
   * may be held by the readable stream that feeds this one: it has read ahead, and releases its slots only when this
   * stream accepts their bytes, so waiting for them would be a deadlock.
   */
  async #take(mostBytes: number): Promise<Memory> {
    for (;;) {
      this.#check();
      const memory = this.#memories.tryTake(mostBytes);
      if (memory !== undefined) return memory;
      if (this.#writes.length === 0) return this.#memories.own(mostBytes);
      await this.#oldest();
    }
  }

  async #oldest(): Promise<void> {
    await this.#writes[0];
    this.#writes.shift();
    this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.reason;
  }

  /** Writes all of the bytes. Never rejects: the next call of #check() reports a failure. */
  async #flush(memory: Memory, length: number, position: StreamPosition): Promise<void> {
    try {
      for (let written = 0; written < length; ) {
        const bytesWritten = await memory.transfer(
          "write",
          written,
          length - written,
          advanced(position, written),
          this.#stopping.signal,
        );
        if (bytesWritten === 0) throw noMoreTaken(written, length);
        written += bytesWritten;
      }
    } catch (reason) {
      this.#failure ??= { reason };
    } finally {
      memory.release();
    }
  }
}

/** The stream of `RingFile.writable`. */
export function writableOf(file: StreamedFile, options: WritableOptions): WritableStream<WritableChunk> {
  const { pool, position, depth, autoClose, signal, advice } = checkStreamOptions(options, ["durable"], file, "write");
  const { durable = false } = options;
  checkBoolean("options.durable", durable);
  throwIfAborted(signal);

  // If every write goes to the end of the file, the writes are in order only if there is one at a time.
  const behind = new WriteBehind(memoriesOf(file, pool, advice, false), position, file.appends ? 1 : depth);
  let forget: (() => void) | undefined;
  /**
   * Called when the signal aborts. This variable keeps the function alive: onAbortWhileKept references it only weakly.
   */
  let fail: (() => void) | undefined;
  const end = async (reason?: unknown) => {
    forget?.();
    await behind.stop(reason);
    if (autoClose) await file.close();
  };
  const { WritableStream } = webStreams();
  return new WritableStream({
    start(controller) {
      // The stream calls `abort` only after the current write has ended, so cancel that write as soon as the
      // controller's signal aborts.
      if ("signal" in controller && isSignal(controller.signal)) {
        const aborted = controller.signal;
        onAbort(aborted, () => behind.cancel(aborted.reason));
      }
      if (signal === undefined) return;
      fail = () => {
        try {
          controller.error(signal.reason);
        } finally {
          end(signal.reason).catch(() => undefined); // the stream has already failed with the signal's reason
        }
      };
      forget = onAbortWhileKept(signal, fail);
    },
    async write(chunk) {
      try {
        await behind.write(bytesOf(chunk));
      } catch (error) {
        await end().catch(() => undefined); // report the first failure, not this one
        throw error;
      }
    },
    async close() {
      try {
        await behind.finish();
        if (durable) await file.datasync();
      } catch (error) {
        await end().catch(() => undefined);
        throw error;
      }
      await end();
    },
    abort: end,
  });
}
