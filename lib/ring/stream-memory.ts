import { currentPlace, leaveToCollection } from "../base/handles.ts";
import { pageBytes } from "../base/machine.ts";
import { uninitialized } from "../base/memory.ts";
import { type BufferPool, participantOf } from "../pool/buffer-pool.ts";
import { type FixedBuffer, slotOf } from "../pool/fixed-buffer.ts";
import { positionAfter } from "../requests/own-position.ts";
import { addressOf } from "../uring/native.ts";
import { RWF_DONTCACHE } from "../uring/transfers.ts";
import type { CacheAdvice } from "./cache-advice.ts";
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
  /** @throws TypeError: the file's ring does not have the pool */
  assertHas(pool: BufferPool): void;
  /** Whether transfers that are started now are submitted only in the next turn of the event loop. */
  readonly paused: boolean;
  transferFixed(direction: "read" | "write", buffer: FixedBuffer, options: FixedTransferOptions): Promise<number>;
  /**
   * Transfers memory that nothing else uses until the transfer has completed: even after an abort has rejected the
   * promise, nothing may write it, detach it or give it away.
   * @param rwFlags - RWF_* of preadv2(2)
   */
  transfer(
    direction: "read" | "write",
    bytes: Uint8Array,
    position: StreamPosition,
    signal: AbortSignal,
    rwFlags: number,
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
   * Returns the first bytes in memory that is the caller's alone, and releases this memory. For memory that no transfer
   * is using and none will use.
   */
  give(filledBytes: number): Uint8Array;
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

function slotMemory(file: StreamedFile, buffer: FixedBuffer, advice: CacheAdvice): Memory {
  const { bytes } = buffer;
  return {
    bytes,
    transfer: (direction, offset, length, position, signal) =>
      advice.follow((dontCache) =>
        file.transferFixed(direction, buffer, {
          offset,
          length,
          signal,
          ...(dontCache ? { dontCache } : {}),
          ...(position === undefined ? {} : { position }),
        }),
      ),
    give: (filledBytes) => {
      const copy = bytes.slice(0, filledBytes);
      buffer.release();
      return copy;
    },
    release: () => buffer.release(),
    leaveToCollection: () => leaveToCollection(slotOf(buffer)),
  };
}

function ownMemory(file: StreamedFile, bytes: Uint8Array, advice: CacheAdvice): Memory {
  return {
    bytes,
    transfer: (direction, offset, length, position, signal) => {
      const part = length === bytes.length ? bytes : bytes.subarray(offset, offset + length);
      return advice.follow((dontCache) =>
        file.transfer(direction, part, position, signal, dontCache ? RWF_DONTCACHE : 0),
      );
    },
    // A part of the memory must not be given away as it is: through `buffer` the rest could be read, and it may not be
    // initialized.
    give: (filledBytes) => (filledBytes === bytes.length ? bytes : bytes.slice(0, filledBytes)),
    release: () => undefined,
    leaveToCollection: () => undefined,
  };
}

/**
 * The source of a stream's memory. **A stream never waits for slots that others hold, and never takes the last free
 * one**: the other holders may be streams whose clients have stopped reading, and waiting for them could take forever.
 * A stream that gets no slot and has no transfer in flight does one transfer with memory of its own.
 *
 * `mostBytes` is how many bytes are left to transfer: more memory than that is of no use.
 */
export interface Memories {
  /** Whether the memory comes from a pool. */
  readonly pooled: boolean;
  tryTake(mostBytes: number): Memory | undefined;
  /** Returns memory that does not belong to a pool. */
  own(mostBytes: number): Memory;
  /** Whether the memory is the stream's own, and as large as any that later calls return. */
  isLargest(memory: Memory): boolean;
  /** Returns the given memory, for transfers. */
  of(bytes: Uint8Array): Memory;
}

/** Size of the first transfer without a pool, and of every transfer without a slot, in bytes. */
const smallestBytes = 2 ** 16;
/**
 * Each transfer without a pool is twice as large as the one before, up to this. Small files thus take little memory, and
 * large ones few requests. Copied from the page cache, 512 KiB block the event loop for 0.1 ms.
 */
const largestBytes = 2 ** 19;

/**
 * Memory for a transfer, in no one else's hands. O_DIRECT requires that it be aligned, to a page at most. What surrounds
 * the aligned part can be reached through `buffer`, so it is initialized.
 */
function allocate(sizeBytes: number, aligned: boolean, initialized: boolean): Uint8Array {
  if (aligned) {
    const memory = new ArrayBuffer(sizeBytes + pageBytes - 1);
    return new Uint8Array(memory, -addressOf(memory) & (pageBytes - 1), sizeBytes);
  }
  return initialized ? new Uint8Array(new ArrayBuffer(sizeBytes)) : uninitialized(sizeBytes);
}

/**
 * Returns a source of a pool's slots or, without a pool, of memory of the stream's own. If a stream is garbage-collected
 * while it holds slots, the warning names the place that made the stream.
 * @param initialized - whether the consumer sees more of the memory than was read into it, as with zeroCopy
 */
export function memoriesOf(
  file: StreamedFile,
  pool: BufferPool | undefined,
  advice: CacheAdvice,
  initialized: boolean,
): Memories {
  const { positionBytes } = file;
  const of = (bytes: Uint8Array) => ownMemory(file, bytes, advice);
  const ownOf = (sizeBytes: number, mostBytes: number) => {
    const neededBytes = Math.max(1, Math.ceil(mostBytes / positionBytes)) * positionBytes;
    return of(allocate(Math.min(sizeBytes, neededBytes), positionBytes > 1, initialized));
  };
  if (pool === undefined) {
    let sizeBytes = smallestBytes;
    const own = (mostBytes: number) => {
      const memory = ownOf(sizeBytes, mostBytes);
      // A pipe holds 64 KiB: larger memory would not be filled.
      if (file.seekable) sizeBytes = Math.min(2 * sizeBytes, largestBytes);
      return memory;
    };
    return { pooled: false, tryTake: own, own, isLargest: ({ bytes }) => bytes.length === sizeBytes, of };
  }
  const participant = participantOf(pool);
  const place = currentPlace();
  const sizeBytes = Math.min(pool.size, smallestBytes);
  return {
    pooled: true,
    tryTake: () => {
      const buffer = participant.tryAcquireSparing(place);
      return buffer && slotMemory(file, buffer, advice);
    },
    own: (mostBytes) => ownOf(sizeBytes, mostBytes),
    isLargest: () => false,
    of,
  };
}
