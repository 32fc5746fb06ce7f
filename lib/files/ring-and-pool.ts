import { invalidType, invalidValue } from "../base/arguments.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import { Ring } from "../ring/ring.ts";
import { threadRing } from "../ring/thread-ring.ts";
import { patiently } from "../uring/memlock.ts";

/** Options of functions that need a ring. */
export interface RingAndPool {
  /**
   * The ring to use. With a ring, `pool` is required too, and must be one of the ring's pools. Default: with a pool, a
   * small ring per thread, shared by overlapping calls and closed after the last of them; otherwise a ring of the thread
   * that stays open.
   */
  readonly ring?: Ring;
  /**
   * A pool whose slots carry the bytes. Copies of up to 64 KiB use none. Default: memory of the call's own, which is not
   * registered and does not count against the limit on locked memory.
   */
  readonly pool?: BufferPool;
}

/** Requires a ring and a pool, a pool alone, or neither. */
export function checkRingAndPool({ ring, pool }: RingAndPool): void {
  if (ring !== undefined && !(ring instanceof Ring)) throw invalidType("options.ring", "a Ring", ring);
  if (pool !== undefined && !(pool instanceof BufferPool)) throw invalidType("options.pool", "a BufferPool", pool);
  if (ring !== undefined && pool === undefined)
    throw invalidValue("options.ring needs options.pool: the one of that ring's pools whose slots may be used");
}

interface SharedRing {
  readonly ring: Promise<Ring>;
  users: number;
}

/**
 * The rings that this thread has made for calls with a pool and without a ring, by pool, as long as calls use them. Sharing keeps many
 * concurrent calls from using the descriptors and locked memory of as many rings.
 */
const sharedRings = new Map<BufferPool, SharedRing>();

/**
 * Calls `use` with the given ring, or with one of the thread's rings. A ring with a pool stays open until the last call
 * that uses it has ended.
 */
export async function withRing<Result>(
  { ring, pool }: RingAndPool,
  use: (ring: Ring) => Promise<Result>,
): Promise<Result> {
  if (ring !== undefined) return await use(ring);
  if (pool === undefined) return await use(await patiently(threadRing));
  const shared = sharedRings.get(pool) ?? {
    ring: patiently(() => new Ring({ entries: 64, cqEntries: 1024, pool })),
    users: 0,
  };
  sharedRings.set(pool, shared);
  shared.users++;
  try {
    return await use(await shared.ring);
  } finally {
    shared.users--;
    if (shared.users === 0) {
      sharedRings.delete(pool);
      // If the ring could not be made, that error has already been thrown above, and there is nothing to close.
      const own = await shared.ring.catch(() => undefined);
      await own?.close();
    }
  }
}
