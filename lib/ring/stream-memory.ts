import { currentPlace, leaveToCollection } from "../base/handles.ts";
import { pageBytes } from "../base/machine.ts";
import { type BufferPool, participantOf } from "../pool/buffer-pool.ts";
import { type FixedBuffer, slotOf } from "../pool/fixed-buffer.ts";
import { positionAfter } from "../requests/own-position.ts";
import { addressOf } from "../uring/native.ts";
import type { FixedTransferOptions } from "./core.ts";

/** Where a stream's bytes are in the file; undefined: wherever its own position is. */
export type StreamPosition = number | bigint | undefined;

/** What streams need of a file. */
export interface StreamedFile {
  readonly appends: boolean;
  /** Whether it has positions: a pipe, a FIFO, a socket and a tty have none, and io_uring, unlike pread(2), does not say so. */
  readonly seekable: boolean;
  /** What a position past which there may be more is a multiple of: of the alignment where the file is open with O_DIRECT, else of 1. */
  readonly positionBytes: number;
  transferFixed(direction: "read" | "write", buffer: FixedBuffer, options: FixedTransferOptions): Promise<number>;
  transfer(direction: "read" | "write", bytes: Uint8Array, position: StreamPosition, signal: AbortSignal): Promise<number>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

export function advanced(position: StreamPosition, bytes: number): StreamPosition {
  return position === undefined ? undefined : positionAfter(position, bytes);
}

/** Memory of one transfer: a pool's slot, or some of its own. */
export interface Memory {
  readonly bytes: Uint8Array;
  transfer(direction: "read" | "write", offset: number, length: number, position: StreamPosition, signal: AbortSignal): Promise<number>;
  /** Once. While a transfer is in flight it takes effect at its completion. */
  release(): void;
  /** In place of `release`, where somebody else uses the bytes still: it is given back when `bytes` is collected. */
  leaveToCollection(): void;
}

function slotMemory(file: StreamedFile, buffer: FixedBuffer): Memory {
  return {
    bytes: buffer.bytes,
    transfer: (direction, offset, length, position, signal) =>
      file.transferFixed(direction, buffer, { offset, length, signal, ...(position === undefined ? {} : { position }) }),
    release: () => buffer.release(),
    leaveToCollection: () => leaveToCollection(slotOf(buffer)),
  };
}

function ownMemory(file: StreamedFile, sizeBytes: number): Memory {
  const memory = new SharedArrayBuffer(sizeBytes + pageBytes - 1); // on a page, as O_DIRECT may want it
  const bytes = new Uint8Array(memory, -addressOf(memory) & (pageBytes - 1), sizeBytes);
  return {
    bytes,
    transfer: (direction, offset, length, position, signal) => file.transfer(direction, bytes.subarray(offset, offset + length), position, signal),
    release: () => undefined,
    leaveToCollection: () => undefined,
  };
}

/**
 * Where a stream takes memory from. **No stream waits for a slot, nor takes the last**: what has the others may be streams whose clients read no more. Who gets none
 * and has no transfer going on does one with memory of its own.
 */
export interface Memories {
  tryTake(): Memory | undefined;
  /** Memory of no pool. */
  own(): Memory;
}

/** A pool's slots; without one, memory of `ownBytes`. Of slots that a stream has when it is dropped, the place is told that made the stream. */
export function memoriesOf(file: StreamedFile, pool: BufferPool | undefined, ownBytes: number): Memories {
  if (pool === undefined) {
    const own = () => ownMemory(file, ownBytes);
    return { tryTake: own, own };
  }
  const participant = participantOf(pool);
  const place = currentPlace();
  const sizeBytes = Math.min(pool.size, ownBytes);
  return {
    tryTake: () => {
      const buffer = participant.tryAcquireSparing(place);
      return buffer && slotMemory(file, buffer);
    },
    own: () => ownMemory(file, sizeBytes),
  };
}
