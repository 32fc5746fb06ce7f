import { onAbortWhileKept, Stop } from "./abort.ts";
import { checkBoolean, checkInteger, invalidValue } from "./arguments.ts";
import { assert } from "./assert.ts";
import { ReadableStream } from "./globals.ts";
import { advanced, type Memories, type Memory, type StreamedFile, type StreamPosition } from "./stream-memory.ts";
import { checkStreamOptions, type StreamOptions } from "./stream-options.ts";

/** Options of `RingFile.readable`. */
export interface ReadableOptions extends StreamOptions {
  /** How many bytes to read at most. Default: to the file's end. */
  readonly length?: number;
  /** Chunks are the pool's slots themselves, each valid until the next is read. Needs a pool. Default false. */
  readonly zeroCopy?: boolean;
}

/** Of chunks that are views of slots: those stay for as long as somebody has a chunk, who may have dropped the stream with them. */
const slotsOfChunks = new WeakMap<Uint8Array, Memory>();

/** A part of the file that is being read, or has been. */
class Piece {
  readonly wantedBytes: number;
  /** How many bytes there were. */
  readonly filled: Promise<number>;
  readonly #memory: Memory;
  #copy: Uint8Array | undefined;
  #released = false;

  constructor(memory: Memory, wantedBytes: number, filled: Promise<number>, copies: boolean) {
    this.#memory = memory;
    this.wantedBytes = wantedBytes;
    this.filled = copies ? filled.then((filledBytes) => this.#copyOut(filledBytes)) : filled;
    this.filled.catch(() => undefined); // whoever asks for the piece hears of it
  }

  bytes(filledBytes: number): Uint8Array {
    if (this.#copy !== undefined) return this.#copy;
    const chunk = this.#memory.bytes.subarray(0, filledBytes);
    slotsOfChunks.set(chunk, this.#memory);
    return chunk;
  }

  /** Gives the memory back; again: nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#memory.release();
  }

  #copyOut(filledBytes: number): number {
    if (!this.#released) this.#copy = this.#memory.bytes.slice(0, filledBytes);
    this.release();
    return filledBytes;
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

  /** The next piece's bytes, and what gives their memory back; undefined at the end. */
  async next(): Promise<{ bytes: Uint8Array; release(): void } | undefined> {
    // What is there already is given, whatever has happened since.
    if (this.#pieces.length === 0) this.#begin();
    else this.#beginAhead();
    if (this.#pieces.length === 0 && this.#leftBytes > 0) {
      const memory = await this.#memories.take(this.#stopping.signal);
      if (this.#leftBytes > 0) this.#read(memory);
      else memory.release(); // stopped meanwhile
    }
    const [piece] = this.#pieces;
    if (piece === undefined) return undefined;
    const filledBytes = await piece.filled;
    this.#pieces.shift();
    const isSequential = this.#position === undefined;
    if (isSequential) this.#leftBytes += piece.wantedBytes - filledBytes;
    if (filledBytes === 0 || (filledBytes < piece.wantedBytes && !isSequential)) this.#end();
    // What is read of a pipe and not asked for would be lost.
    if (!isSequential) this.#beginAhead();
    if (filledBytes > 0) return { bytes: piece.bytes(filledBytes), release: () => piece.release() };
    piece.release();
    return undefined;
  }

  /** Ends reading, and gives all memory back that is not with the consumer. */
  stop(): void {
    this.#stopping.abort();
    this.#end();
  }

  /** Begins reading as much as may be at once; never waits for memory. */
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
    const wantedBytes = Math.min(this.#leftBytes, this.#memories.sizeBytes);
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
  const { position, depth, autoClose, signal, memories } = checkStreamOptions(options, ["length", "zeroCopy"], file);
  const { length = Number.POSITIVE_INFINITY, zeroCopy = false } = options;
  if (options.length !== undefined) checkInteger("options.length", length, 0, Number.MAX_SAFE_INTEGER);
  checkBoolean("options.zeroCopy", zeroCopy);
  if (zeroCopy && options.pool === undefined) throw invalidValue("options.zeroCopy needs options.pool, whose slots the chunks are");
  signal?.throwIfAborted();

  const ahead = new ReadAhead(file, memories, position, length, depth, !zeroCopy);
  let given: Awaited<ReturnType<typeof ahead.next>>;
  let forget: (() => void) | undefined;
  /** What the signal calls. */
  let fail: (() => void) | undefined;
  let isEnded = false;
  const end = async () => {
    isEnded = true;
    forget?.();
    given?.release();
    given = undefined;
    ahead.stop();
    if (autoClose) await file.close();
  };
  const start = (controller: Controller) => {
    if (signal === undefined) return;
    fail = () => {
      controller.error(signal.reason);
      end().catch(() => undefined); // the stream has failed already, with the reason
    };
    forget = onAbortWhileKept(signal, fail);
  };
  const pull = async (controller: Controller) => {
    given?.release();
    given = undefined;
    try {
      given = await ahead.next();
      if (isEnded) {
        given?.release(); // nobody reads any more, and that the stream does not say
      } else if (given === undefined) {
        await end();
        controller.close();
        if ("byobRequest" in controller) controller.byobRequest?.respond(0);
      } else if ("byobRequest" in controller) {
        assert(isUnshared(given.bytes), "byte streams take copies");
        controller.enqueue(given.bytes);
      } else {
        controller.enqueue(given.bytes);
      }
    } catch (error) {
      await end().catch(() => undefined); // what failed first is told
      throw error;
    }
  };
  // Read ahead by the stream, a slot would be its next content by the time it is looked at.
  if (zeroCopy) return new ReadableStream({ start, pull, cancel: end }, { highWaterMark: 0 });
  return new ReadableStream({ type: "bytes", start, pull, cancel: end });
}
