import { UringError } from "./errors.ts";
import type { PoolMembership } from "./pool-membership.ts";

/**
 * A slot that is on its way from one thread to another: plain data, for postMessage. It can be received once. Until then the slot is nobody's, whatever
 * becomes of the thread that gave it away; that thread may receive it back.
 */
export interface SlotToken {
  readonly kind: "bun-uring.SlotToken";
  /** Which pool. */
  readonly pool: number;
  readonly index: number;
  readonly ticket: number;
}

/** A granted slot, from acquire to the last completion that uses it. */
export class Slot {
  readonly membership: PoolMembership;
  readonly index: number;
  /** Where its memory begins. */
  readonly address: number;
  /** Requests in flight that use it. */
  pending = 0;
  /** Given back: free as soon as nothing is pending. */
  released = false;
  transferred = false;

  constructor(membership: PoolMembership, index: number) {
    this.membership = membership;
    this.index = index;
    this.address = membership.slotAddress(index);
  }

  assertUsable(action: string): void {
    if (this.transferred) throw new UringError("ESTALE", action, { message: `slot ${this.index} was transferred to another thread` });
    if (this.released) throw new UringError("ESTALE", action, { message: `slot ${this.index} was released` });
  }

  beginUse(): void {
    this.pending++;
  }

  endUse(): void {
    this.pending--;
    if (this.released && this.pending === 0) this.membership.free(this);
  }
}

/** What a request needs of a buffer. */
export let slotOf: (buffer: FixedBuffer) => Slot;

/**
 * One slot of a BufferPool: memory that is registered with every ring that has the pool. It is the holder's until `release` or `transfer`; every use after
 * that throws a UringError with the code ESTALE. The bytes show what was there last, unless the pool has `zero`.
 *
 * @example
 * ```ts
 * using buffer = await pool.acquire();
 * const bytesRead = await ring.readFixed(file, buffer, { position: 0 });
 * console.log(buffer.bytes.subarray(0, bytesRead));
 * ```
 */
export class FixedBuffer implements Disposable {
  readonly #slot: Slot;
  #bytes: Uint8Array | undefined;

  /** Pools make these: `BufferPool.acquire`, `tryAcquire`, `receive`. */
  constructor(slot: Slot) {
    this.#slot = slot;
  }

  /** Of the slot in the pool, from 0; not the kernel's buffer index. */
  get index(): number {
    return this.#slot.index;
  }

  /**
   * The slot's memory, `pool.size` bytes of a SharedArrayBuffer.
   * @throws UringError ESTALE: released or transferred
   */
  get bytes(): Uint8Array {
    this.#slot.assertUsable("bytes");
    this.#bytes ??= this.#slot.membership.slotBytes(this.#slot.index);
    return this.#bytes;
  }

  /**
   * Gives the slot away with its content: post the token to another thread, whose pool receives it. Nothing is copied.
   * @throws UringError ESTALE: released or transferred; EBUSY: requests in flight use the slot
   * @example
   * ```ts
   * worker.postMessage(buffer.transfer());
   * // in the Worker: using buffer = pool.receive(message.data);
   * ```
   */
  transfer(): SlotToken {
    const slot = this.#slot;
    slot.assertUsable("transfer");
    if (slot.pending > 0) {
      throw new UringError("EBUSY", "transfer", {
        message: `${slot.pending} requests in flight use slot ${slot.index}`,
        hint: "Await them first: its content is not settled before.",
      });
    }
    const token = slot.membership.giveAway(slot);
    slot.transferred = true;
    this.#bytes = undefined;
    return token;
  }

  /**
   * Gives the slot back to the pool. With requests in flight it takes effect when the last of them has completed.
   * @throws UringError ESTALE: released or transferred already
   */
  release(): void {
    const slot = this.#slot;
    slot.assertUsable("release");
    slot.released = true;
    this.#bytes = undefined;
    if (slot.pending === 0) slot.membership.free(slot);
  }

  /** release(), or nothing where that or transfer() has happened. */
  [Symbol.dispose](): void {
    if (!this.#slot.released && !this.#slot.transferred) this.release();
  }

  static {
    slotOf = (buffer) => buffer.#slot;
  }
}
