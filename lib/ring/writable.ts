import { onAbort, onAbortWhileKept, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, invalidType, invalidValue, isSignal } from "../base/arguments.ts";
import { Buffer, Promise, webStreams } from "../base/globals.ts";
import { bytesOfView, isSharedMemory, isUnsharedMemory, isView } from "../base/view.ts";
import { noMoreTaken } from "../requests/operations.ts";
import { advanced, type Memories, type Memory, type StreamedFile, type StreamPosition } from "./stream-memory.ts";
import { checkStreamOptions, type StreamOptions } from "./stream-options.ts";

/** Options of `RingFile.writable`. */
export interface WritableOptions extends StreamOptions {
  /** Close only when the content is on stable storage (fdatasync). Default false. */
  readonly durable?: boolean;
}

/** What can be written: text is UTF-8. */
export type WritableChunk = string | ArrayBuffer | SharedArrayBuffer | NodeJS.ArrayBufferView;

function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === "string") return Buffer.from(chunk);
  if (isView(chunk)) return bytesOfView(chunk); // which may be another stream's slot: the chunk itself stays in the stream's queue until its write has ended
  if (isUnsharedMemory(chunk) || isSharedMemory(chunk)) return new Uint8Array(chunk);
  throw invalidType("chunk", "a string, an ArrayBuffer or a view of memory", chunk);
}

/** Returns whether all of the part was there to be copied: meanwhile its memory may have been detached, or resized. */
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

/** Writes a file chunk by chunk, several parts at once, each at the position after the one before. */
class WriteBehind {
  readonly #memories: Memories;
  readonly #depth: number;
  readonly #stopping = new Stop();
  /** In flight, in order. */
  readonly #writes: Promise<void>[] = [];
  #position: StreamPosition;
  #failure: { readonly reason: unknown } | undefined;

  constructor(memories: Memories, position: StreamPosition, depth: number) {
    this.#memories = memories;
    this.#position = position;
    this.#depth = depth;
  }

  /** Resolves as soon as all of the bytes are on their way, and there is room for more. */
  async write(bytes: Uint8Array): Promise<void> {
    const totalBytes = bytes.length; // of memory that is detached meanwhile it would be 0, and the rest left out
    for (let offset = 0; offset < totalBytes; ) {
      const memory = await this.#take();
      const length = Math.min(totalBytes - offset, memory.bytes.length);
      if (!copyPart(bytes, offset, length, memory.bytes)) {
        memory.release();
        throw invalidValue(`chunk must keep its memory while it is written: one of ${totalBytes} bytes was detached or resized after ${offset} were copied`);
      }
      this.#writes.push(this.#flush(memory, length, this.#position));
      this.#position = advanced(this.#position, length);
      offset += length;
      if (this.#writes.length >= this.#depth) await this.#oldest();
    }
  }

  /** Resolves when everything is written. */
  async finish(): Promise<void> {
    while (this.#writes.length > 0) await this.#oldest();
    this.#check();
  }

  /** Cancels what is in flight, which fails with the reason. */
  cancel(reason?: unknown): void {
    this.#stopping.abort(reason);
  }

  /** Cancels what is in flight, and waits for it. */
  async stop(reason?: unknown): Promise<void> {
    this.cancel(reason);
    await Promise.all(this.#writes.splice(0));
  }

  /**
   * Memory for one more write. Slots are waited for only as long as its own writes have some. What else has them may be the stream that this one is fed by, which has
   * read ahead, and gives them back when these bytes are taken.
   */
  async #take(): Promise<Memory> {
    for (;;) {
      this.#check();
      const memory = this.#memories.tryTake();
      if (memory !== undefined) return memory;
      if (this.#writes.length === 0) return this.#memories.own();
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

  /** Writes all of it. Never rejects: a failure is for the next call to report. */
  async #flush(memory: Memory, length: number, position: StreamPosition): Promise<void> {
    try {
      for (let written = 0; written < length; ) {
        const bytesWritten = await memory.transfer("write", written, length - written, advanced(position, written), this.#stopping.signal);
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
  const { position, depth, autoClose, signal, memories } = checkStreamOptions(options, ["durable"], file, "write");
  const { durable = false } = options;
  checkBoolean("options.durable", durable);
  throwIfAborted(signal);

  // Writes that each go to the file's end are in order only one after the other.
  const behind = new WriteBehind(memories, position, file.appends ? 1 : depth);
  let forget: (() => void) | undefined;
  /** What the signal calls. */
  let fail: (() => void) | undefined;
  const end = async (reason?: unknown) => {
    forget?.();
    await behind.stop(reason);
    if (autoClose) await file.close();
  };
  const { WritableStream } = webStreams();
  return new WritableStream({
    start(controller) {
      // `abort` itself comes only when the write that is going on has ended.
      if ("signal" in controller && isSignal(controller.signal)) {
        const aborted = controller.signal;
        onAbort(aborted, () => behind.cancel(aborted.reason));
      }
      if (signal === undefined) return;
      fail = () => {
        try {
          controller.error(signal.reason);
        } finally {
          end(signal.reason).catch(() => undefined); // the stream has failed already, with the reason
        }
      };
      forget = onAbortWhileKept(signal, fail);
    },
    async write(chunk) {
      try {
        await behind.write(bytesOf(chunk));
      } catch (error) {
        await end().catch(() => undefined); // what failed first is told
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
