import { onAbortWhileKept, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, invalidValue, show } from "../base/arguments.ts";
import { assert } from "../base/assert.ts";
import { Bun, WeakRef, webStreams } from "../base/globals.ts";
import { heapHeadroom } from "../base/memory.ts";
import { soon } from "../base/timers.ts";
import { bytesOfView, isView } from "../base/view.ts";
import {
  advanced,
  type Memories,
  type Memory,
  memoriesOf,
  type StreamedFile,
  type StreamPosition,
} from "./stream-memory.ts";
import { checkStreamOptions, type StreamOptions } from "./stream-options.ts";

/** Options of `RingFile.readable`. */
export interface ReadableOptions extends StreamOptions {
  /** Maximum number of bytes to read. Default: up to the end of the file. */
  readonly length?: number;
  /**
   * Make the chunks views of the pool's slots instead of copies. Each chunk belongs to the consumer until it asks for
   * the next one or disposes of the chunk. Requires a pool. Default false.
   */
  readonly zeroCopy?: boolean;
  /**
   * "bytes": make a byte stream, which BYOB readers can read. They get the bytes in memory of their own, into which the
   * file is read without a copy. Other readers read a byte stream more slowly. Default: a stream without BYOB readers.
   */
  readonly type?: "bytes";
}

/** How the reads of a piece went. */
interface Filling {
  /** The error after which there are no more bytes. Those before it are good. */
  failure?: { readonly reason: unknown };
}

/** A part of the file that is being read or has been read, and the memory it is read into. */
class Piece {
  readonly wantedBytes: number;
  /** Resolves to the number of bytes read. */
  readonly filled: Promise<number>;
  readonly filling: Filling;
  readonly #memory: Memory;
  readonly #copies: boolean;
  #copy: Uint8Array | undefined;
  #use: WeakRef<Use> | undefined;
  #released = false;

  /** @param pooled - whether the memory is a slot, which others may need */
  constructor(
    memory: Memory,
    wantedBytes: number,
    filled: Promise<number>,
    filling: Filling,
    copies: boolean,
    pooled: boolean,
  ) {
    this.filling = filling;
    this.#memory = memory;
    this.#copies = copies;
    this.wantedBytes = wantedBytes;
    this.filled = copies && pooled ? filled.then((filledBytes) => this.#copyOut(filledBytes)) : filled;
    this.filled.catch(() => undefined); // no unhandled rejection: `next` awaits the promise and reports the error
  }

  /** Returns what was read. Call it once, and only if the piece was not released. */
  bytes(filledBytes: number): Uint8Array {
    if (this.#copies) this.#copyOut(filledBytes);
    if (this.#copy !== undefined) return this.#copy;
    const use = new Use(this);
    this.#use = new WeakRef(use);
    return new SlotChunk(this.#memory.bytes.subarray(0, filledBytes), use);
  }

  /** Releases the memory. Further calls do nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#memory.release();
  }

  /**
   * Releases the memory once the consumer no longer references the chunk: now, or when the chunk is garbage-collected.
   */
  leave(): void {
    if (this.#use?.deref() === undefined) this.release();
    else if (!this.#released) this.#memory.leaveToCollection();
  }

  #copyOut(filledBytes: number): number {
    if (this.#released) return filledBytes;
    this.#released = true;
    this.#copy = this.#memory.give(filledBytes);
    return filledBytes;
  }
}

/**
 * The token shared by a chunk and its subarrays, and strongly referenced by nothing else. It is alive exactly as long
 * as one of them is.
 */
class Use {
  readonly piece: Piece;

  constructor(piece: Piece) {
    this.piece = piece;
  }
}

/**
 * A chunk that lies in a slot, or a subarray of one. It references the slot through its token, because the stream
 * itself may have been garbage-collected.
 */
class SlotChunk extends Uint8Array<ArrayBufferLike> implements Disposable {
  readonly #use: Use;

  constructor(bytes: Uint8Array, use: Use) {
    super(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#use = use;
  }

  override subarray(start?: number, end?: number): Uint8Array<ArrayBufferLike> {
    return new SlotChunk(super.subarray(start, end), this.#use);
  }

  /** Returns the slot to the pool. The consumer must not use the chunk, or its subarrays, afterwards. */
  [Symbol.dispose](): void {
    this.#use.piece.release();
  }

  /** Makes methods such as slice() return plain Uint8Arrays: a copy must not keep the slot. */
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array;
  }
}

/** A BYOB reader's memory is used directly from this size on. A smaller part is copied from a larger read. */
const smallestDirectBytes = 2 ** 14;

/** Reads a file piece by piece, several pieces at once, and returns the pieces in order. */
class ReadAhead {
  readonly #file: StreamedFile;
  readonly #memories: Memories;
  readonly #depth: number;
  readonly #copies: boolean;
  readonly #stopping = new Stop();
  /** Whether the consumer may have to wait for a read: the data does not come from memory. See `#lookAt`. */
  #isSlow = false;
  /** Pieces whose reads have started and that `next` has not returned yet, in order. */
  readonly #pieces: Piece[] = [];
  #position: StreamPosition;
  #leftBytes: number;
  /** Held while the stream allocates large chunks, one after the other. */
  #headroom: Uint8Array | undefined;
  /** What ends the stream once all that was read before it has been returned. */
  #failure: { readonly reason: unknown } | undefined;

  constructor(
    file: StreamedFile,
    memories: Memories,
    position: StreamPosition,
    length: number,
    depth: number,
    copies: boolean,
  ) {
    this.#file = file;
    this.#memories = memories;
    this.#position = position;
    this.#leftBytes = length;
    this.#depth = depth;
    this.#copies = copies;
  }

  /** Returns the next piece and its bytes, or undefined at the end of the file. */
  async next(): Promise<{ readonly piece: Piece; readonly bytes: Uint8Array } | undefined> {
    // If pieces are pending, a failure to start further reads must not keep them from the consumer.
    if (this.#pieces.length === 0) this.#begin();
    else this.#beginAhead();
    if (this.#pieces.length === 0 && this.#leftBytes > 0) this.#read(this.#memories.own(this.#leftBytes));
    const [piece] = this.#pieces;
    if (piece === undefined) {
      if (this.#failure !== undefined) throw this.#failure.reason;
      return undefined;
    }
    const filledBytes = await piece.filled;
    this.#pieces.shift();
    const isSequential = this.#position === undefined;
    if (isSequential) this.#leftBytes += piece.wantedBytes - filledBytes;
    if (filledBytes === 0 || (filledBytes < piece.wantedBytes && !isSequential)) {
      this.#failure = piece.filling.failure;
      this.#end();
    }
    // Do not read ahead at the file's own position: data read from a pipe that nobody asks for would be lost.
    if (!isSequential && this.#readsAhead) this.#beginAhead();
    if (filledBytes > 0) return { piece, bytes: piece.bytes(filledBytes) };
    piece.release();
    return undefined;
  }

  /** Whether `readInto` would deliver the bytes that `next` would, and faster. */
  canReadInto(bytes: Uint8Array): boolean {
    const isLarge = bytes.length >= smallestDirectBytes;
    return isLarge && this.#pieces.length === 0 && !this.#memories.pooled && this.#file.positionBytes === 1;
  }

  /**
   * Reads into the bytes, which nothing else may use meanwhile, not even after `stop`. Returns how many were read, or 0
   * at the end of the file.
   */
  async readInto(bytes: Uint8Array): Promise<number> {
    const wanted = this.#leftBytes < bytes.length ? bytes.subarray(0, this.#leftBytes) : bytes;
    if (wanted.length === 0) return 0;
    const memory = this.#memories.of(wanted);
    const bytesRead = await memory.transfer("read", 0, wanted.length, this.#position, this.#stopping.signal);
    this.#position = advanced(this.#position, bytesRead);
    this.#leftBytes -= bytesRead;
    return bytesRead;
  }

  /** Stops reading, and releases all memory that the consumer does not hold. */
  stop(): void {
    this.#stopping.abort();
    this.#end();
  }

  /** Starts as many reads as `depth` and the free slots allow: with memory of the stream's own, one if that is enough. */
  #begin(): void {
    const most = this.#readsAhead ? this.#depth : 1;
    while (this.#pieces.length < most && this.#leftBytes > 0) {
      const memory = this.#memories.tryTake(this.#leftBytes);
      if (memory === undefined) return;
      this.#read(memory);
    }
  }

  get #readsAhead(): boolean {
    return this.#isSlow || this.#memories.pooled;
  }

  /** Starts reads before the consumer asks for them. Errors are left to the next call that needs new reads. */
  #beginAhead(): void {
    try {
      this.#begin();
    } catch {
      // Once no pieces are pending, `next` calls #begin() itself, which throws the same error again: the cause, a
      // closed pool, is permanent.
    }
  }

  #read(memory: Memory): void {
    const wantedBytes = Math.min(this.#leftBytes, memory.bytes.length);
    if (this.#copies && this.#memories.isLargest(memory)) this.#headroom ??= heapHeadroom();
    const filling: Filling = {};
    const filled = this.#fill(memory, wantedBytes, this.#position, filling);
    this.#pieces.push(new Piece(memory, wantedBytes, filled, filling, this.#copies, this.#memories.pooled));
    this.#position = advanced(this.#position, wantedBytes);
    this.#leftBytes -= wantedBytes;
  }

  /** Reads until the memory holds the wanted number of bytes, or the file ends, or fails after some bytes. */
  async #fill(memory: Memory, wantedBytes: number, position: StreamPosition, filling: Filling): Promise<number> {
    const { positionBytes } = this.#file;
    const length = Math.min(Math.ceil(wantedBytes / positionBytes) * positionBytes, memory.bytes.length);
    const first = memory.transfer("read", 0, length, position, this.#stopping.signal);
    if (position !== undefined && !this.#memories.pooled) soon(() => this.#lookAt(first));
    let filledBytes = await first;
    if (filledBytes === 0 || position === undefined) return Math.min(filledBytes, wantedBytes);
    try {
      while (filledBytes < wantedBytes && filledBytes % positionBytes === 0) {
        const bytesRead = await memory.transfer(
          "read",
          filledBytes,
          length - filledBytes,
          advanced(position, filledBytes),
          this.#stopping.signal,
        );
        if (bytesRead === 0) break;
        filledBytes += bytesRead;
      }
    } catch (reason) {
      filling.failure = { reason };
    }
    return Math.min(filledBytes, wantedBytes);
  }

  /**
   * Looks at a read in the microtask after the queue has submitted it. If it has completed by then, the data was in
   * memory, and reading ahead would only spread the bytes over more memory than the processor's cache holds. Otherwise
   * the consumer waits for a device, which can be given more to do.
   */
  #lookAt(read: Promise<number>): void {
    if (this.#file.paused) return; // it has not been submitted
    this.#isSlow = Bun.peek.status(read) === "pending";
    if (this.#isSlow && this.#pieces.length > 0) this.#beginAhead();
  }

  #end(): void {
    this.#leftBytes = 0;
    this.#headroom = undefined;
    for (const piece of this.#pieces.splice(0)) piece.release();
  }
}

function isUnshared(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer;
}

type Controller = ReadableStreamDefaultController<Uint8Array> | ReadableByteStreamController;

/** The stream of `RingFile.readable`. */
export function readableOf(file: StreamedFile, options: ReadableOptions): ReadableStream<Uint8Array> {
  const { pool, position, depth, autoClose, signal, advice } = checkStreamOptions(
    options,
    ["length", "zeroCopy", "type"],
    file,
    "read",
  );
  const { length, zeroCopy = false, type } = options;
  if (length !== undefined) checkInteger("options.length", length, 0, Number.MAX_SAFE_INTEGER);
  checkBoolean("options.zeroCopy", zeroCopy);
  if (zeroCopy && pool === undefined)
    throw invalidValue("options.zeroCopy needs options.pool, whose slots the chunks are");
  if (type !== undefined && type !== "bytes") throw invalidValue(`options.type must be "bytes", not ${show(type)}`);
  if (zeroCopy && type !== undefined) throw invalidValue("options.zeroCopy cannot be combined with options.type");
  throwIfAborted(signal);

  const memories = memoriesOf(file, pool, advice, zeroCopy);
  const ahead = new ReadAhead(file, memories, position, length ?? Number.POSITIVE_INFINITY, depth, !zeroCopy);
  /**
   * The piece that the consumer holds. It belongs to the consumer until it asks for the next one, even if the stream
   * ends earlier.
   */
  let given: Piece | undefined;
  let forget: (() => void) | undefined;
  /**
   * Called when the signal aborts. This variable keeps the function alive: onAbortWhileKept references it only weakly.
   */
  let fail: (() => void) | undefined;
  let isEnded = false;
  const end = async () => {
    isEnded = true;
    forget?.();
    given?.leave();
    given = undefined;
    ahead.stop();
    if (autoClose) await file.close();
  };
  const start = (controller: Controller) => {
    if (signal === undefined) return;
    fail = () => {
      try {
        controller.error(signal.reason);
      } finally {
        end().catch(() => undefined); // the stream has already failed with the signal's reason
      }
    };
    forget = onAbortWhileKept(signal, fail);
  };
  /** Fills the memory of a BYOB reader. */
  const fillView = async (request: ReadableStreamBYOBRequest, bytes: Uint8Array) => {
    const bytesRead = await ahead.readInto(bytes);
    if (!isEnded && bytesRead > 0) request.respond(bytesRead);
    return bytesRead > 0;
  };
  const pull = async (controller: Controller) => {
    given?.release();
    given = undefined;
    try {
      const request = "byobRequest" in controller ? controller.byobRequest : null;
      const view = request?.view;
      if (request && isView(view)) {
        const bytes = bytesOfView(view);
        if (ahead.canReadInto(bytes) && (await fillView(request, bytes))) return;
      }
      const next = await ahead.next();
      if (isEnded) {
        // The stream ended while the read was in flight, so no consumer is left, and the controller accepts no chunk.
        next?.piece.release();
      } else if (next === undefined) {
        await end();
        controller.close();
        if ("byobRequest" in controller) controller.byobRequest?.respond(0);
      } else if ("byobRequest" in controller) {
        assert(isUnshared(next.bytes), "byte streams take copies");
        controller.enqueue(next.bytes);
      } else {
        if (zeroCopy) given = next.piece;
        controller.enqueue(next.bytes);
      }
    } catch (error) {
      await end().catch(() => undefined); // report the first failure, not this one
      throw error;
    }
  };
  const { ReadableStream } = webStreams();
  if (type === "bytes") return new ReadableStream({ type, start, pull, cancel: end });
  // With a high-water mark above 0, the stream would pull the next chunk early. That pull releases the previous slot,
  // which could be overwritten before the consumer has read it.
  return new ReadableStream<Uint8Array>({ start, pull, cancel: end }, { highWaterMark: 0 });
}
