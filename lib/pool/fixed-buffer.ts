import { mark } from "../base/arguments.ts";
import { type Place, type Reclaimable, track, untrack } from "../base/handles.ts";
import { UringError } from "../errors/uring-error.ts";

/**
 * A slot that is on its way from one thread to another: plain data, for postMessage. It can be received once. Until then the slot is nobody's, whatever
 * becomes of the thread that gave it away; that thread may receive it back.
 */
export interface SlotToken {
  /** Tells a token from other objects. */
  readonly kind: "bun-uring.SlotToken";
  /** Which pool. */
  readonly pool: number;
  /** Which slot of the pool, from 0. */
  readonly slotIndex: number;
  /** Which handing over of the slot: a token is good for one. */
  readonly ticket: number;
}

/** What a slot knows of the pool that granted it. */
export interface SlotOwner {
  /** Where the pool's shared state is: the same for all who have the pool. */
  readonly poolAddress: number;
  readonly slotSizeBytes: number;
  readonly label: string;
  slotAddress(index: number): number;
  slotBytes(index: number): Uint8Array;
  /** The extent, counted from the pool's first, that a slot lies in. */
  extentOf(index: number): number;
  /** Takes back a slot that was released and has nothing pending. */
  free(slot: Slot): void;
  giveAway(slot: Slot): SlotToken;
}

/** A granted slot, from acquire to the last completion that uses it. */
export class Slot implements Reclaimable {
  readonly kind = "FixedBuffer";
  readonly owner: SlotOwner;
  readonly index: number;
  /** Where its memory begins. */
  readonly address: number;
  readonly sizeBytes: number;
  /** Of the pool's buffers, which the kernel knows, the one that it lies in. */
  readonly extent: number;
  /** Requests in flight that use it. */
  pending = 0;
  /** Given back: free as soon as nothing is pending. */
  released = false;
  handedOver = false;

  constructor(owner: SlotOwner, index: number) {
    this.owner = owner;
    this.index = index;
    this.address = owner.slotAddress(index);
    this.sizeBytes = owner.slotSizeBytes;
    this.extent = owner.extentOf(index);
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
    if (this.handedOver) throw new UringError("ESTALE", action, { message: `slot ${this.index} was handed over to another thread` });
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

/** What a request needs of a buffer. */
export let slotOf: (buffer: FixedBuffer) => Slot;

/**
 * One slot of a BufferPool: memory that is registered with every ring that has the pool. It is the holder's until `release` or `handOver`; every use after
 * that throws a UringError with the code ESTALE. The bytes show what was there last, unless the pool has `zero`.
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

  /** Pools make these: `BufferPool.acquire`, `tryAcquire`, `receive`. @internal */
  constructor(slot: Slot, place?: Place) {
    this.#slot = slot;
    this.#bytes = slot.owner.slotBytes(slot.index);
    // The bytes rather than this: they may be all that somebody keeps.
    track(this.#bytes, slot, place);
  }

  /** Which slot of the pool this is, from 0. The kernel's index of a registered buffer is another number. */
  get slotIndex(): number {
    return this.#slot.index;
  }

  /**
   * The slot's memory, `pool.size` bytes of a SharedArrayBuffer. Keep this or the FixedBuffer for as long as anybody uses them: a subarray, or a Response made of
   * them, does not keep the slot, and one that nobody has any more is given back.
   * @throws UringError ESTALE: released or handed over
   */
  get bytes(): Uint8Array {
    this.#slot.assertUsable("bytes");
    return this.#bytes;
  }

  /**
   * Gives the slot away with its content: post the token to another thread, whose pool receives it. Nothing is copied.
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
        hint: "Await them first: its content is not settled before.",
      });
    }
    const token = slot.owner.giveAway(slot);
    slot.handedOver = true;
    this.#bytes = noBytes;
    untrack(slot);
    return token;
  }

  /**
   * Gives the slot back to the pool. With requests in flight it takes effect when the last of them has completed.
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

  /** release(), or nothing after release() or handOver(). */
  [Symbol.dispose](): void {
    if (!this.#slot.ended) this.release();
  }

  static {
    slotOf = (buffer) => buffer.#slot;
    mark("FixedBuffer", FixedBuffer.prototype);
  }
}
