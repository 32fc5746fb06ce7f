import { onAbortWhileKept, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, invalidValue } from "../base/arguments.ts";
import { assert } from "../base/assert.ts";
import { WeakRef, webStreams } from "../base/globals.ts";
import { advanced, type Memories, type Memory, type StreamedFile, type StreamPosition } from "./stream-memory.ts";
import { checkStreamOptions, type StreamOptions } from "./stream-options.ts";

/** Options of `RingFile.readable`. */
export interface ReadableOptions extends StreamOptions {
  /** How many bytes to read at most. Default: to the file's end. */
  readonly length?: number;
  /** Chunks are the pool's slots themselves, each the consumer's until it asks for the next or lets go of it. Needs a pool. Default false. */
  readonly zeroCopy?: boolean;
}

/** A part of the file that is being read, or has been. */
class Piece {
  readonly wantedBytes: number;
  /** How many bytes there were. */
  readonly filled: Promise<number>;
  readonly #memory: Memory;
  #copy: Uint8Array | undefined;
  #use: WeakRef<Use> | undefined;
  #released = false;

  constructor(memory: Memory, wantedBytes: number, filled: Promise<number>, copies: boolean) {
    this.#memory = memory;
    this.wantedBytes = wantedBytes;
    this.filled = copies ? filled.then((filledBytes) => this.#copyOut(filledBytes)) : filled;
    this.filled.catch(() => undefined); // whoever asks for the piece hears of it
  }

  bytes(filledBytes: number): Uint8Array {
    if (this.#copy !== undefined) return this.#copy;
    const use = new Use(this);
    this.#use = new WeakRef(use);
    return new SlotChunk(this.#memory.bytes.subarray(0, filledBytes), use);
  }

  /** Gives the memory back; again: nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#memory.release();
  }

  /** Gives the memory back when nobody has the chunk any more: now, or when it is collected. */
  leave(): void {
    if (this.#use?.deref() === undefined) this.release();
    else if (!this.#released) this.#memory.leaveToCollection();
  }

  #copyOut(filledBytes: number): number {
    if (!this.#released) this.#copy = this.#memory.bytes.slice(0, filledBytes);
    this.release();
    return filledBytes;
  }
}

/** What a chunk and its subarrays have in common, and nobody else has: it is there for as long as one of them. */
class Use {
  readonly piece: Piece;

  constructor(piece: Piece) {
    this.piece = piece;
  }
}

/** A chunk that is not a copy, or a subarray of one. It keeps the slot that it lies in, for the stream may have been dropped. */
class SlotChunk extends Uint8Array<ArrayBufferLike> implements Disposable {
  readonly #use: Use;

  constructor(bytes: Uint8Array, use: Use) {
    super(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#use = use;
  }

  override subarray(start?: number, end?: number): Uint8Array<ArrayBufferLike> {
    return new SlotChunk(super.subarray(start, end), this.#use);
  }

  /** Whoever has the chunk is done with it: the slot is the pool's again. */
  [Symbol.dispose](): void {
    this.#use.piece.release();
  }

  /** Of what is made from a chunk, plain memory: a copy keeps no slot. */
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array;
  }
}

/** Reads a file piece by piece, several pieces at once, and gives them in order. */
class ReadAhead {
  readonly #file: StreamedFile;
  readonly #memories: Memories;
  readonly #depth: number;
  readonly #copies: boolean;
  readonly #stopping = new Stop();
  /** Begun and not yet given, in order. */
  readonly #pieces: Piece[] = [];
  #position: StreamPosition;
  #leftBytes: number;

  constructor(file: StreamedFile, memories: Memories, position: StreamPosition, length: number, depth: number, copies: boolean) {
    this.#file = file;
    this.#memories = memories;
    this.#position = position;
    this.#leftBytes = length;
    this.#depth = depth;
    this.#copies = copies;
  }

  /** The next piece and its bytes; undefined at the end. */
  async next(): Promise<{ readonly piece: Piece; readonly bytes: Uint8Array } | undefined> {
    // What is there already is given, whatever has happened since.
    if (this.#pieces.length === 0) this.#begin();
    else this.#beginAhead();
    if (this.#pieces.length === 0 && this.#leftBytes > 0) this.#read(this.#memories.own());
    const [piece] = this.#pieces;
    if (piece === undefined) return undefined;
    const filledBytes = await piece.filled;
    this.#pieces.shift();
    const isSequential = this.#position === undefined;
    if (isSequential) this.#leftBytes += piece.wantedBytes - filledBytes;
    if (filledBytes === 0 || (filledBytes < piece.wantedBytes && !isSequential)) this.#end();
    // What is read of a pipe and not asked for would be lost.
    if (!isSequential) this.#beginAhead();
    if (filledBytes > 0) return { piece, bytes: piece.bytes(filledBytes) };
    piece.release();
    return undefined;
  }

  /** Ends reading, and gives all memory back that is not with the consumer. */
  stop(): void {
    this.#stopping.abort();
    this.#end();
  }

  /** Begins reading as much as may be at once, and there are slots for. */
  #begin(): void {
    while (this.#pieces.length < this.#depth && this.#leftBytes > 0) {
      const memory = this.#memories.tryTake();
      if (memory === undefined) return;
      this.#read(memory);
    }
  }

  /** Begins before it is asked to; if that fails, who asks hears of it. */
  #beginAhead(): void {
    try {
      this.#begin();
    } catch {
      // With nothing left to give #begin() throws it again: what makes it fail, a closed pool, lasts.
    }
  }

  #read(memory: Memory): void {
    const wantedBytes = Math.min(this.#leftBytes, memory.bytes.length);
    this.#pieces.push(new Piece(memory, wantedBytes, this.#fill(memory, wantedBytes, this.#position), this.#copies));
    this.#position = advanced(this.#position, wantedBytes);
    this.#leftBytes -= wantedBytes;
  }

  /** Reads until the memory has as much as wanted, or the file has no more. */
  async #fill(memory: Memory, wantedBytes: number, position: StreamPosition): Promise<number> {
    const { positionBytes } = this.#file;
    const length = Math.min(Math.ceil(wantedBytes / positionBytes) * positionBytes, memory.bytes.length);
    let filledBytes = 0;
    do {
      const bytesRead = await memory.transfer("read", filledBytes, length - filledBytes, advanced(position, filledBytes), this.#stopping.signal);
      filledBytes += bytesRead;
      if (bytesRead === 0) break;
    } while (position !== undefined && filledBytes < wantedBytes && filledBytes % positionBytes === 0);
    return Math.min(filledBytes, wantedBytes);
  }

  #end(): void {
    this.#leftBytes = 0;
    for (const piece of this.#pieces.splice(0)) piece.release();
  }
}

function isUnshared(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer;
}

type Controller = ReadableStreamDefaultController<Uint8Array> | ReadableByteStreamController;

/** The stream of `RingFile.readable`. */
export function readableOf(file: StreamedFile, options: ReadableOptions): ReadableStream<Uint8Array> {
  const { pool, position, depth, autoClose, signal, memories } = checkStreamOptions(options, ["length", "zeroCopy"], file, "read");
  const { length, zeroCopy = false } = options;
  if (length !== undefined) checkInteger("options.length", length, 0, Number.MAX_SAFE_INTEGER);
  checkBoolean("options.zeroCopy", zeroCopy);
  if (zeroCopy && pool === undefined) throw invalidValue("options.zeroCopy needs options.pool, whose slots the chunks are");
  throwIfAborted(signal);

  const ahead = new ReadAhead(file, memories, position, length ?? Number.POSITIVE_INFINITY, depth, !zeroCopy);
  /** What the consumer has: its own until it asks for the next, also when the stream ends before it does. */
  let given: Piece | undefined;
  let forget: (() => void) | undefined;
  /** What the signal calls. */
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
        end().catch(() => undefined); // the stream has failed already, with the reason
      }
    };
    forget = onAbortWhileKept(signal, fail);
  };
  const pull = async (controller: Controller) => {
    given?.release();
    given = undefined;
    try {
      const next = await ahead.next();
      if (isEnded) {
        next?.piece.release(); // nobody reads any more, and that the stream does not say
      } else if (next === undefined) {
        await end();
        controller.close();
        if ("byobRequest" in controller) controller.byobRequest?.respond(0);
      } else if ("byobRequest" in controller) {
        assert(isUnshared(next.bytes), "byte streams take copies");
        controller.enqueue(next.bytes);
      } else {
        given = next.piece;
        controller.enqueue(next.bytes);
      }
    } catch (error) {
      await end().catch(() => undefined); // what failed first is told
      throw error;
    }
  };
  const { ReadableStream } = webStreams();
  // Read ahead by the stream, a slot would be its next content by the time it is looked at.
  if (zeroCopy) return new ReadableStream<Uint8Array>({ start, pull, cancel: end }, { highWaterMark: 0 });
  return new ReadableStream({ type: "bytes", start, pull, cancel: end });
}
