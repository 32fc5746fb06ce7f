import { currentPlace, leaveToCollection } from "../base/handles.ts";
import { pageBytes } from "../base/machine.ts";
import { type BufferPool, participantOf } from "../pool/buffer-pool.ts";
import { type FixedBuffer, slotOf } from "../pool/fixed-buffer.ts";
import { positionAfter } from "../requests/own-position.ts";
import { addressOf } from "../uring/native.ts";
import type { FixedTransferOptions } from "./core.ts";

/** Position of a stream's bytes in the file. Undefined means the file's own position. */
export type StreamPosition = number | bigint | undefined;

/** The functions and properties of a file that streams need. */
export interface StreamedFile {
  readonly appends: boolean;
  /**
   * Whether the file has positions. Pipes, FIFOs, sockets and TTYs have none, and unlike pread(2), io_uring does not
   * report an error for them.
   */
  readonly seekable: boolean;
  /**
   * A read that ends at a position that is not a multiple of this has reached the end of the file: the O_DIRECT
   * alignment, or 1 without O_DIRECT.
   */
  readonly positionBytes: number;
  transferFixed(direction: "read" | "write", buffer: FixedBuffer, options: FixedTransferOptions): Promise<number>;
  transfer(
    direction: "read" | "write",
    bytes: Uint8Array,
    position: StreamPosition,
    signal: AbortSignal,
  ): Promise<number>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

export function advanced(position: StreamPosition, bytes: number): StreamPosition {
  return position === undefined ? undefined : positionAfter(position, bytes);
}

/** Memory for one transfer: a slot of a pool, or memory of the stream's own. */
export interface Memory {
  readonly bytes: Uint8Array;
  transfer(
    direction: "read" | "write",
    offset: number,
    length: number,
    position: StreamPosition,
    signal: AbortSignal,
  ): Promise<number>;
  /**
   * Releases the memory; call it once. While a transfer is in flight, the release takes effect when the transfer
   * completes.
   */
  release(): void;
  /**
   * Call this instead of `release` if the consumer still uses the bytes: the memory is released when `bytes` is
   * garbage-collected.
   */
  leaveToCollection(): void;
}

function slotMemory(file: StreamedFile, buffer: FixedBuffer): Memory {
  return {
    bytes: buffer.bytes,
    transfer: (direction, offset, length, position, signal) =>
      file.transferFixed(direction, buffer, {
        offset,
        length,
        signal,
        ...(position === undefined ? {} : { position }),
      }),
    release: () => buffer.release(),
    leaveToCollection: () => leaveToCollection(slotOf(buffer)),
  };
}

function ownMemory(file: StreamedFile, sizeBytes: number): Memory {
  // Leave room to align the memory to a page, which O_DIRECT may require.
  const memory = new SharedArrayBuffer(sizeBytes + pageBytes - 1);
  const bytes = new Uint8Array(memory, -addressOf(memory) & (pageBytes - 1), sizeBytes);
  return {
    bytes,
    transfer: (direction, offset, length, position, signal) =>
      file.transfer(direction, bytes.subarray(offset, offset + length), position, signal),
    release: () => undefined,
    leaveToCollection: () => undefined,
  };
}

/**
 * The source of a stream's memory. **A stream never waits for slots that others hold, and never takes the last free
 * one**: the other holders may be streams whose clients have stopped reading, and waiting for them could take forever.
 * A stream that gets no slot and has no transfer in flight does one transfer with memory of its own.
 */
export interface Memories {
  tryTake(): Memory | undefined;
  /** Returns memory that does not belong to a pool. */
  own(): Memory;
}

/**
 * Returns a source of a pool's slots or, without a pool, of memory of `ownBytes`. If a stream is garbage-collected
 * while it holds slots, the warning names the place that made the stream.
 */
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
