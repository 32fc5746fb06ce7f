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
function copyPart(bytes: Uint8Array, offset: number, length: number, target: Uint8Array, at: number): boolean {
  try {
    const part = offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length);
    if (part.length !== length) return false;
    target.set(part, at);
    return true;
  } catch {
    return false;
  }
}

/** Memory that the next write will write, and how much of it has been filled. */
interface Filling {
  readonly memory: Memory;
  length: number;
}

/**
 * Writes a file chunk by chunk, with several writes in flight, each at the position after the previous one.
 *
 * A chunk that comes while nothing is in flight is written at once. One that comes meanwhile is collected with those
 * after it, until they fill the memory of a write or nothing is in flight any more: many small chunks need few writes,
 * and none waits for a chunk that may never come.
 */
class WriteBehind {
  readonly #memories: Memories;
  readonly #depth: number;
  readonly #collects: boolean;
  readonly #stopping = new Stop();
  /** Writes in flight. Each removes itself when it has ended. */
  readonly #writes = new Set<Promise<void>>();
  /** Memory of writes that have succeeded, to use again. */
  readonly #free: Memory[] = [];
  #filling: Filling | undefined;
  #position: StreamPosition;
  #failure: { readonly reason: unknown } | undefined;
  #stopped = false;

  /** @param collects - whether a write may carry several chunks */
  constructor(memories: Memories, position: StreamPosition, depth: number, collects: boolean) {
    this.#memories = memories;
    this.#position = position;
    this.#depth = depth;
    this.#collects = collects;
  }

  /** Resolves when the bytes are copied. Then up to `depth` writes are in flight, and less than one is collected. */
  async write(bytes: Uint8Array): Promise<void> {
    // Read the length once: if the memory is detached meanwhile, the length is 0, and the loop would end early without
    // an error.
    const totalBytes = bytes.length;
    this.#check();
    for (let offset = 0; offset < totalBytes; ) {
      this.#filling ??= { memory: this.#tryTake() ?? (await this.#take()), length: 0 };
      const filling = this.#filling;
      const room = filling.memory.bytes.length - filling.length;
      const length = Math.min(totalBytes - offset, room);
      if (!copyPart(bytes, offset, length, filling.memory.bytes, filling.length)) {
        throw invalidValue(
          `chunk must keep its memory while it is written: one of ${totalBytes} bytes was detached or resized after ${offset} were copied`,
        );
      }
      filling.length += length;
      offset += length;
      if (length === room || !this.#collects) await this.#beginInTurn(filling);
      else if (this.#writes.size === 0) this.#begin();
    }
  }

  /** Resolves when everything has been written. */
  async finish(): Promise<void> {
    if (this.#filling !== undefined) await this.#beginInTurn(this.#filling);
    while (this.#writes.size > 0) await this.#oldest();
    this.#check();
  }

  /** Cancels the writes in flight, which then fail with the reason. */
  cancel(reason?: unknown): void {
    this.#stopped = true;
    this.#stopping.abort(reason);
  }

  /** Cancels the writes in flight and waits until they have ended. What was only collected is dropped. */
  async stop(reason?: unknown): Promise<void> {
    this.cancel(reason);
    this.#filling?.memory.release();
    this.#filling = undefined;
    await Promise.all(this.#writes);
  }

  #tryTake(): Memory | undefined {
    return this.#free.pop() ?? this.#memories.tryTake(Number.POSITIVE_INFINITY);
  }

  /**
   * Returns memory for one more write. Waits for a slot only as long as this stream's own writes hold some. Other slots
   * may be held by the readable stream that feeds this one: it has read ahead, and releases its slots only when this
   * stream accepts their bytes, so waiting for them would be a deadlock.
   */
  async #take(): Promise<Memory> {
    for (;;) {
      if (this.#writes.size === 0) return this.#memories.own(Number.POSITIVE_INFINITY);
      await this.#oldest();
      const memory = this.#tryTake();
      if (memory !== undefined) return memory;
    }
  }

  /** Begins to write what was collected as soon as fewer than `depth` writes are in flight. */
  async #beginInTurn(filling: Filling): Promise<void> {
    while (this.#filling === filling && this.#writes.size >= this.#depth) await this.#oldest();
    if (this.#filling === filling) this.#begin();
  }

  #begin(): void {
    const { memory, length } = this.#filling ?? {};
    if (memory === undefined || length === undefined) return;
    this.#filling = undefined;
    const position = this.#position;
    this.#position = advanced(position, length);
    const write = this.#flush(memory, length, position).then(() => {
      this.#writes.delete(write);
      if (this.#writes.size === 0 && this.#failure === undefined && !this.#stopped) this.#begin();
    });
    this.#writes.add(write);
  }

  async #oldest(): Promise<void> {
    const [oldest] = this.#writes;
    await oldest;
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
      memory.release(); // and not used again: after an abort the kernel may still read it
      return;
    }
    if (this.#memories.isLargest(memory)) this.#free.push(memory);
    else memory.release();
  }
}

/** The stream of `RingFile.writable`. */
export function writableOf(file: StreamedFile, options: WritableOptions): WritableStream<WritableChunk> {
  const { pool, position, depth, autoClose, signal, advice } = checkStreamOptions(options, ["durable"], file, "write");
  const { durable = false } = options;
  checkBoolean("options.durable", durable);
  throwIfAborted(signal);

  // If every write goes to the end of the file, the writes are in order only if there is one at a time.
  const memories = memoriesOf(file, pool, advice, false);
  // With O_DIRECT each chunk is a write of its own: whether its size fits must not depend on the chunks before it.
  const behind = new WriteBehind(memories, position, file.appends ? 1 : depth, file.positionBytes === 1);
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
