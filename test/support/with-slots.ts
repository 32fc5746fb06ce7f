/** A ring and a slot for each of its lanes. */
import { expect } from "bun:test";
import { BufferPool, type FixedBuffer, Ring } from "bun-uring";
import { Folder } from "./files.ts";
import { leavingNothing } from "./resources.ts";

/** The size of a slot. */
export const blockBytes = 512;

interface Given {
  readonly ring: Ring;
  readonly pool: BufferPool;
  readonly folder: Folder;
  readonly slots: readonly FixedBuffer[];
  /** The slot of a lane, or of whatever has an index. */
  slotOf(lane: { readonly index: number }): FixedBuffer;
}

/** Runs `body` with a ring, and a pool of `count` slots that are all acquired. Nothing may be left. */
export async function withSlots(count: number, body: (given: Given) => Promise<void>): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    using pool = new BufferPool({ count, size: blockBytes });
    await using ring = new Ring({ pool, entries: 16 });
    const slots = await Promise.all(Array.from({ length: count }, () => pool.acquire()));
    const slotOf = ({ index }: { readonly index: number }) => {
      const slot = slots[index];
      if (slot === undefined) throw new Error(`there is no lane ${index}`);
      return slot;
    };
    await body({ ring, pool, folder, slots, slotOf });
    for (const slot of slots) slot[Symbol.dispose](); // unless `body` has released it
    while (ring.inFlight > 0) await ring.nop();
    expect(pool.stats().available).toBe(count);
  });
}
