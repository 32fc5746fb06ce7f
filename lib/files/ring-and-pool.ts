import { invalidType, invalidValue } from "../base/arguments.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import { Ring } from "../ring/ring.ts";
import { patiently } from "../uring/memlock.ts";

/** Options of functions that need a ring. */
export interface RingAndPool {
  /** Does the work. It has to have `pool`, which is to be given with it. Default: a small one per thread, shared by calls that overlap and closed after the last. */
  readonly ring?: Ring;
  /** Its slots carry the bytes. Default: some memory of the call's own, which is not registered and counts against no limit. */
  readonly pool?: BufferPool;
}

/** Requires both, a pool alone, or neither. */
export function checkRingAndPool({ ring, pool }: RingAndPool): void {
  if (ring !== undefined && !(ring instanceof Ring)) throw invalidType("options.ring", "a Ring", ring);
  if (pool !== undefined && !(pool instanceof BufferPool)) throw invalidType("options.pool", "a BufferPool", pool);
  if (ring !== undefined && pool === undefined) throw invalidValue("options.ring needs options.pool: the one of that ring's pools whose slots may be used");
}

interface SharedRing {
  readonly ring: Promise<Ring>;
  users: number;
}

/** The thread's own rings, while calls use them: many calls at once need neither the descriptors nor the locked memory of many rings. */
const sharedRings = new Map<BufferPool | undefined, SharedRing>();

/** Calls `use` with the ring that is given, or with one of the thread's own for as long as that takes. */
export async function withRing<Result>({ ring, pool }: RingAndPool, use: (ring: Ring) => Promise<Result>): Promise<Result> {
  if (ring !== undefined) return await use(ring);
  const shared = sharedRings.get(pool) ?? { ring: patiently(() => new Ring({ entries: 64, cqEntries: 1024, ...(pool && { pool }) })), users: 0 };
  sharedRings.set(pool, shared);
  shared.users++;
  try {
    return await use(await shared.ring);
  } finally {
    shared.users--;
    if (shared.users === 0) {
      sharedRings.delete(pool);
      const own = await shared.ring.catch(() => undefined); // where there is none, `use` was not called, and that is what is thrown
      await own?.close();
    }
  }
}
