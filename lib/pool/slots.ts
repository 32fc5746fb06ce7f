import { assert } from "../base/assert.ts";

/** The number of slots in a block, which share one entry of `freeBlocks`. c/teardown.c has the same number. */
export const slotsPerBlock = 1024;

/** The number of blocks that `count` slots make up. */
export function blockCount(count: number): number {
  return Math.ceil(count / slotsPerBlock);
}

/**
 * How many recently released slots a thread remembers. It takes those first, because their memory is warm in the cache.
 */
const recentLimit = 64;

/**
 * Who owns which slot, in memory shared by threads, without locks.
 *
 * `owners` is the truth. 0 means free, a positive number is the owning participant, a negative number the negated
 * ticket of a slot in transit. Threads change an entry only by compare-and-exchange: from 0, from their own number, or
 * from the ticket of a token that was passed to them. So two threads can never get the same slot. There is one
 * exception: when a participant leaves, c/teardown.c stores 0 over the entries that it owns, which no other thread
 * changes.
 *
 * `freeBlocks` is a hint: it has 1 for each block that may have a free slot. A 1 may be wrong; the block is then
 * scanned in vain. A 0 must not stay wrong, or a free slot would never be found. Two rules ensure that:
 * - A thread that frees a slot first stores 0 in `owners`, and then makes sure that `freeBlocks` has 1.
 * - A thread that finds no free slot in a block stores 0 in `freeBlocks`, and then scans the block again. If it now
 *   finds one, it restores the 1 and calls `onBlockRestored`.
 *
 * Whatever the interleaving, either the freeing thread sees the 0 and replaces it, or the second scan sees the free
 * slot. In between, a third thread may have seen the 0 and missed a free slot; the callback makes it try again.
 * terminate() can stop a thread between any two of these steps; its teardown then sets all hints to 1 and wakes the
 * threads that wait.
 */
export class Slots {
  readonly #freeBlocks: Int32Array;
  readonly #owners: Int32Array;
  /** Hints of this thread: where to scan next, and the slots that it released last. */
  #next = 0;
  readonly #recent: number[] = [];
  readonly #onBlockRestored: () => void;

  /**
   * @param onBlockRestored - called after a 0 in `freeBlocks` was wrong for a moment: threads that read it meanwhile
   * have to try again
   */
  constructor(freeBlocks: Int32Array, owners: Int32Array, onBlockRestored: () => void = () => undefined) {
    assert(freeBlocks.length === blockCount(owners.length), "one entry for each block");
    this.#freeBlocks = freeBlocks;
    this.#owners = owners;
    this.#onBlockRestored = onBlockRestored;
  }

  /** Takes a free slot for `owner`; returns its index, or -1 if none is free. */
  tryAcquire(owner: number): number {
    for (let index = this.#recent.pop(); index !== undefined; index = this.#recent.pop())
      if (this.#take(index, owner)) return index;
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

  /**
   * Whether at least `count` slots are free. Only a snapshot: other threads acquire and release slots meanwhile, and a
   * hint that is wrong for a moment hides free slots.
   */
  hasFree(count: number): boolean {
    let free = 0;
    for (let block = 0; block < this.#freeBlocks.length; block++) {
      if (Atomics.load(this.#freeBlocks, block) === 0) continue;
      const end = Math.min((block + 1) * slotsPerBlock, this.#owners.length);
      for (let index = block * slotsPerBlock; index < end; index++)
        if (Atomics.load(this.#owners, index) === 0 && ++free === count) return true;
    }
    return false;
  }

  /** Frees a slot that `owner` has. */
  release(index: number, owner: number): void {
    const was = Atomics.compareExchange(this.#owners, index, owner, 0);
    assert(was === owner, `slot ${index} is owned by ${owner}, not by ${was}`);
    // After the owner: see the class.
    const block = Math.floor(index / slotsPerBlock);
    if (Atomics.load(this.#freeBlocks, block) === 0) Atomics.store(this.#freeBlocks, block, 1);
    if (this.#recent.length < recentLimit) this.#recent.push(index);
  }

  /** Puts a slot of `owner` in transit: whoever presents the ticket (1 or more) gets it. */
  giveAway(index: number, owner: number, ticket: number): void {
    assert(
      Atomics.compareExchange(this.#owners, index, owner, -ticket) === owner,
      `slot ${index} is owned by ${owner}`,
    );
  }

  /** Takes a slot in transit. Returns false if the ticket was used before. */
  takeOver(index: number, owner: number, ticket: number): boolean {
    return Atomics.compareExchange(this.#owners, index, -ticket, owner) === -ticket;
  }

  /** Counts the slots that are free, owned by `owner`, and in transit. */
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
