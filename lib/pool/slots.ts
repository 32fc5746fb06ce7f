import { assert } from "../base/assert.ts";

/** Slots of a block: a scan looks at this many owners at once. The teardown in C has the same number. */
export const slotsPerBlock = 1024;

/** How many blocks `count` slots are. */
export function blockCount(count: number): number {
  return Math.ceil(count / slotsPerBlock);
}

/** Recently released slots that a thread remembers, for their memory is warm. */
const recentLimit = 64;

/**
 * Who owns which slot, in memory shared by threads, without locks. `owners` is the truth: 0 is free, a positive number a participant, a negative one the
 * ticket of a slot on its way between two. It changes by compare-and-exchange alone, but for the teardown of an ended thread, which stores 0 over its own.
 *
 * `freeBlocks` has 1 for each block that may have a free slot. A 1 may be wrong. A 0 is wrong only for a moment: whoever frees a slot stores its owner first, and then the block's 1;
 * whoever finds a block full stores 0, and looks again. If there is a free slot after all, it restores the 1, and calls `onBlockRestored`.
 */
export class Slots {
  readonly #freeBlocks: Int32Array;
  readonly #owners: Int32Array;
  /** This thread's guesses: where to look next, and what it released last. */
  #next = 0;
  readonly #recent: number[] = [];
  readonly #onBlockRestored: () => void;

  /** @param onBlockRestored - called after a 0 was wrong for a moment: who looked meanwhile has to be told to look again */
  constructor(freeBlocks: Int32Array, owners: Int32Array, onBlockRestored: () => void = () => undefined) {
    assert(freeBlocks.length === blockCount(owners.length), "one entry for each block");
    this.#freeBlocks = freeBlocks;
    this.#owners = owners;
    this.#onBlockRestored = onBlockRestored;
  }

  /** Takes a free slot for `owner`; returns its index, or -1 where none is free. */
  tryAcquire(owner: number): number {
    for (let index = this.#recent.pop(); index !== undefined; index = this.#recent.pop()) if (this.#take(index, owner)) return index;
    const blocks = this.#freeBlocks.length;
    const first = Math.floor(this.#next / slotsPerBlock);
    for (let step = 0; step < blocks; step++) {
      const block = (first + step) % blocks;
      if (Atomics.load(this.#freeBlocks, block) === 0) continue;
      let index = this.#takeFrom(block, owner);
      if (index === -1) {
        Atomics.store(this.#freeBlocks, block, 0);
        index = this.#takeFrom(block, owner);
        if (index !== -1) {
          Atomics.store(this.#freeBlocks, block, 1);
          this.#onBlockRestored();
        }
      }
      if (index !== -1) return index;
    }
    return -1;
  }

  /** Whether so many slots or more are free, as far as one look can tell. */
  hasFree(count: number): boolean {
    let free = 0;
    for (let block = 0; block < this.#freeBlocks.length; block++) {
      if (Atomics.load(this.#freeBlocks, block) === 0) continue;
      const end = Math.min((block + 1) * slotsPerBlock, this.#owners.length);
      for (let index = block * slotsPerBlock; index < end; index++) if (Atomics.load(this.#owners, index) === 0 && ++free === count) return true;
    }
    return false;
  }

  /** Frees a slot that `owner` has. */
  release(index: number, owner: number): void {
    const was = Atomics.compareExchange(this.#owners, index, owner, 0);
    assert(was === owner, `slot ${index} is owned by ${owner}, not by ${was}`);
    const block = Math.floor(index / slotsPerBlock);
    if (Atomics.load(this.#freeBlocks, block) === 0) Atomics.store(this.#freeBlocks, block, 1);
    if (this.#recent.length < recentLimit) this.#recent.push(index);
  }

  /** Puts a slot of `owner` on its way: whoever names the ticket (1 or more) gets it. */
  giveAway(index: number, owner: number, ticket: number): void {
    assert(Atomics.compareExchange(this.#owners, index, owner, -ticket) === owner, `slot ${index} is owned by ${owner}`);
  }

  /** Takes a slot that is on its way. Returns false where the ticket was used before. */
  takeOver(index: number, owner: number, ticket: number): boolean {
    return Atomics.compareExchange(this.#owners, index, -ticket, owner) === -ticket;
  }

  /** Counts the slots that are free, owned by `owner`, and on their way. */
  census(owner: number): { free: number; own: number; inTransit: number } {
    const owners = this.#owners;
    let free = 0;
    let own = 0;
    let inTransit = 0;
    for (let index = 0; index < owners.length; index++) {
      const value = Atomics.load(owners, index);
      if (value === 0) free++;
      else if (value === owner) own++;
      else if (value < 0) inTransit++;
    }
    return { free, own, inTransit };
  }

  #take(index: number, owner: number): boolean {
    return Atomics.compareExchange(this.#owners, index, 0, owner) === 0;
  }

  #takeFrom(block: number, owner: number): number {
    const start = block * slotsPerBlock;
    const size = Math.min(slotsPerBlock, this.#owners.length - start);
    const skip = this.#next >= start && this.#next < start + size ? this.#next - start : 0;
    for (let step = 0; step < size; step++) {
      const index = start + ((skip + step) % size);
      if (Atomics.load(this.#owners, index) !== 0 || !this.#take(index, owner)) continue;
      this.#next = index + 1 === this.#owners.length ? 0 : index + 1;
      return index;
    }
    return -1;
  }
}
