import { mark } from "../base/arguments.ts";
import { type Place, type Reclaimable, track, untrack } from "../base/handles.ts";
import { UringError } from "../errors/uring-error.ts";

/**
 * A slot in transit from one thread to another: plain data, for postMessage. It can be received once. Until then the
 * slot belongs to no thread, even if the thread that gave it away ends. That thread may receive it back.
 */
export interface SlotToken {
  /** Distinguishes a token from other objects. */
  readonly kind: "bun-uring.SlotToken";
  /** Identifies the pool. */
  readonly pool: number;
  /** The index of the slot in the pool, from 0. */
  readonly slotIndex: number;
  /** Identifies one hand-over of the slot: a token can be used once. */
  readonly ticket: number;
}

/** What a slot needs of the pool that granted it. */
export interface SlotOwner {
  /** The address of the pool's shared state, which is the same for all of the pool's participants. */
  readonly poolAddress: number;
  readonly label: string;
  /** Takes back a slot that was released and is not used by any request in flight. */
  free(slot: Slot): void;
  giveAway(slot: Slot): SlotToken;
}

/** A granted slot, from its acquisition to the last completion of a request that uses it. */
export class Slot implements Reclaimable {
  readonly kind = "FixedBuffer";
  readonly owner: SlotOwner;
  readonly index: number;
  /** The address of the slot's memory. */
  readonly address: number;
  readonly sizeBytes: number;
  /** The index of the extent, a registered buffer of the pool, that the slot lies in. */
  readonly extent: number;
  /** The number of requests in flight that use the slot. */
  pending = 0;
  /** Whether it was released. It becomes free as soon as no request uses it. */
  released = false;
  handedOver = false;

  constructor(owner: SlotOwner, index: number, address: number, sizeBytes: number, extent: number) {
    this.owner = owner;
    this.index = index;
    this.address = address;
    this.sizeBytes = sizeBytes;
    this.extent = extent;
  }

  get label(): string {
    return `of slot ${this.index} in a pool ${this.owner.label}`;
  }

  get ended(): boolean {
    return this.released || this.handedOver;
  }

  release(): void {
    this.released = true;
    if (this.pending === 0) this.owner.free(this);
  }

  reclaim(): void {
    this.release();
  }

  assertUsable(action: string): void {
    if (this.handedOver)
      throw new UringError("ESTALE", action, { message: `slot ${this.index} was handed over to another thread` });
    if (this.released) throw new UringError("ESTALE", action, { message: `slot ${this.index} was released` });
  }

  beginUse(): void {
    this.pending++;
  }

  endUse(): void {
    this.pending--;
    if (this.released && this.pending === 0) this.owner.free(this);
  }
}

const noBytes = new Uint8Array();

/** Access for requests to the slot behind a FixedBuffer. */
export let slotOf: (buffer: FixedBuffer) => Slot;

/**
 * A slot of a BufferPool: memory that is registered with every ring that has joined the pool. It belongs to the holder
 * until `release` or `handOver`; every use after that throws a UringError with the code ESTALE. The bytes show the
 * slot's last content, unless the pool has `zero`.
 *
 * @example
 * ```ts
 * import { BufferPool, Ring } from "bun-uring";
 *
 * using pool = new BufferPool({ count: 16, size: 65536 });
 * await using ring = new Ring({ pool });
 * using buffer = await pool.acquire();
 * const bytesRead = await ring.readFixed(await ring.open("notes.txt"), buffer, { position: 0 });
 * console.log(new TextDecoder().decode(buffer.bytes.subarray(0, bytesRead)));
 * ```
 */
export class FixedBuffer implements Disposable {
  readonly #slot: Slot;
  #bytes: Uint8Array;

  /**
   * Only pools create these: `BufferPool.acquire`, `tryAcquire`, `receive`.
   * @internal
   */
  constructor(slot: Slot, bytes: Uint8Array, place?: Place) {
    this.#slot = slot;
    this.#bytes = bytes;
    // Tracks the bytes rather than this object, which refers to them: a program may keep only the bytes.
    track(bytes, slot, place);
  }

  /** The index of the slot in the pool, from 0. It is not the index of a registered buffer, as the kernel uses it. */
  get slotIndex(): number {
    return this.#slot.index;
  }

  /**
   * The slot's memory, `pool.size` bytes of a SharedArrayBuffer. Keep a reference to this array or to the FixedBuffer
   * as long as the memory is in use. A subarray, or a Response made from one, does not keep the slot: once both objects
   * have been garbage-collected, the slot goes back to the pool.
   * @throws UringError ESTALE: released or handed over
   */
  get bytes(): Uint8Array {
    this.#slot.assertUsable("bytes");
    return this.#bytes;
  }

  /**
   * Gives the slot away with its content, without a copy. Post the token to another thread, whose pool receives it.
   * @throws UringError ESTALE: released or handed over; EBUSY: requests in flight use the slot
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * const buffer = await pool.acquire();
   * buffer.bytes.set(Buffer.from("for somebody else"));
   * const token = buffer.handOver(); // for postMessage
   * using received = BufferPool.attach(pool.share()).receive(token);
   * ```
   */
  handOver(): SlotToken {
    const slot = this.#slot;
    slot.assertUsable("handOver");
    if (slot.pending > 0) {
      throw new UringError("EBUSY", "handOver", {
        message: `${slot.pending} requests in flight use slot ${slot.index}`,
        hint: "Await them first: until then its content may still change.",
      });
    }
    const token = slot.owner.giveAway(slot);
    slot.handedOver = true;
    this.#bytes = noBytes;
    untrack(slot);
    return token;
  }

  /**
   * Gives the slot back to the pool. If requests in flight use it, it becomes free when the last of them has completed.
   * @throws UringError ESTALE: released or handed over already
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * const buffer = await pool.acquire();
   * buffer.release();
   * console.log(pool.available); // 16
   * ```
   */
  release(): void {
    const slot = this.#slot;
    slot.assertUsable("release");
    this.#bytes = noBytes;
    untrack(slot);
    slot.release();
  }

  /** Calls release(), unless the slot was released or handed over already. */
  [Symbol.dispose](): void {
    if (!this.#slot.ended) this.release();
  }

  static {
    slotOf = (buffer) => buffer.#slot;
    mark("FixedBuffer", FixedBuffer.prototype);
  }
}
