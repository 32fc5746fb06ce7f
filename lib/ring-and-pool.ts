import { invalidType, invalidValue } from "./arguments.ts";
import { BufferPool, type BufferPoolOptions } from "./pool.ts";
import { Ring } from "./ring.ts";

/** Options of functions that need a ring and a pool. */
export interface RingAndPool {
  /** Does the work. It has to have `pool`, which is to be given with it. Default: one of the call's own, closed at its end. */
  readonly ring?: Ring;
  /** Its slots carry the bytes. Default: one of the call's own. */
  readonly pool?: BufferPool;
}

/** Requires both, a pool alone, or neither. */
export function checkRingAndPool({ ring, pool }: RingAndPool): void {
  if (ring !== undefined && !(ring instanceof Ring)) throw invalidType("options.ring", "a Ring", ring);
  if (pool !== undefined && !(pool instanceof BufferPool)) throw invalidType("options.pool", "a BufferPool", pool);
  if (ring !== undefined && pool === undefined) throw invalidValue("options.ring needs options.pool: the one of that ring's pools whose slots may be used");
}

/** Calls `use` with the ring and the pool that are given, or with its own for as long as that takes. */
export async function withRing<Result>(
  { ring, pool }: RingAndPool,
  own: BufferPoolOptions,
  use: (ring: Ring, pool: BufferPool) => Promise<Result>,
): Promise<Result> {
  if (pool === undefined) {
    using ownPool = await BufferPool.create(own);
    return await withRing({ pool: ownPool }, own, use);
  }
  if (ring === undefined) {
    await using ownRing = new Ring({ pool, entries: 64 });
    return await use(ownRing, pool);
  }
  return await use(ring, pool);
}
