import type { FixedBuffer } from "./fixed-buffer.ts";
import { pageBytes } from "./limits.ts";
import { addressOf } from "./native.ts";
import { currentPlace } from "./open-handles.ts";
import { type BufferPool, membershipOf } from "./pool.ts";
import type { FixedTransferOptions } from "./ring-core.ts";

/** Where a stream's bytes are in the file; undefined: wherever its own position is. */
export type StreamPosition = number | bigint | undefined;

/** What streams need of a file. */
export interface StreamedFile {
  readonly appends: boolean;
  /** What a position past which there may be more is a multiple of: of the alignment where the file is open with O_DIRECT, else of 1. */
  readonly positionBytes: number;
  transferFixed(direction: "read" | "write", buffer: FixedBuffer, options: FixedTransferOptions): Promise<number>;
  transfer(direction: "read" | "write", bytes: Uint8Array, position: StreamPosition, signal: AbortSignal): Promise<number>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

export function advanced(position: StreamPosition, bytes: number): StreamPosition {
  if (position === undefined) return undefined;
  return typeof position === "bigint" ? position + BigInt(bytes) : position + bytes;
}

/** Memory of one transfer: a pool's slot, or some of its own. */
export interface Memory {
  readonly bytes: Uint8Array;
  transfer(direction: "read" | "write", offset: number, length: number, position: StreamPosition, signal: AbortSignal): Promise<number>;
  /** Once. While a transfer is in flight it takes effect at its completion. */
  release(): void;
}

function slotMemory(file: StreamedFile, buffer: FixedBuffer): Memory {
  return {
    bytes: buffer.bytes,
    transfer: (direction, offset, length, position, signal) =>
      file.transferFixed(direction, buffer, { offset, length, signal, ...(position === undefined ? {} : { position }) }),
    release: () => buffer.release(),
  };
}

function ownMemory(file: StreamedFile, sizeBytes: number): Memory {
  const memory = new SharedArrayBuffer(sizeBytes + pageBytes - 1); // on a page, as O_DIRECT may want it
  const bytes = new Uint8Array(memory, -addressOf(memory) & (pageBytes - 1), sizeBytes);
  return {
    bytes,
    transfer: (direction, offset, length, position, signal) => file.transfer(direction, bytes.subarray(offset, offset + length), position, signal),
    release: () => undefined,
  };
}

/** Where a stream takes memory from. */
export interface Memories {
  readonly sizeBytes: number;
  tryTake(): Memory | undefined;
  /** Waits. Only who holds none may: others may wait for what they hold. */
  take(signal: AbortSignal): Promise<Memory>;
  /** Memory of no pool, for who can't wait. */
  own(): Memory;
}

/** A pool's slots; without one, memory of `ownBytes`. Of slots that a stream has when it is dropped, the place is told that made the stream. */
export function memoriesOf(file: StreamedFile, pool: BufferPool | undefined, ownBytes: number): Memories {
  const own = () => ownMemory(file, ownBytes);
  if (pool === undefined) return { sizeBytes: ownBytes, tryTake: own, take: async () => own(), own };
  const membership = membershipOf(pool);
  const place = currentPlace();
  return {
    sizeBytes: pool.size,
    tryTake: () => {
      const buffer = membership.tryAcquire(place);
      return buffer && slotMemory(file, buffer);
    },
    take: async (signal) => slotMemory(file, await membership.acquire(signal, place)),
    own,
  };
}
