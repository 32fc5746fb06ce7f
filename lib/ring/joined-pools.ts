/** How a ring gets its pools' buffers: by a clone of each pool's registration, or by a registration of its own. */
import { invalidType, invalidValue } from "../base/arguments.ts";
import { Bun } from "../base/globals.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool, participantOf } from "../pool/buffer-pool.ts";
import { currentUser } from "../pool/control.ts";
import type { SlotOwner } from "../pool/fixed-buffer.ts";
import type { Participant } from "../pool/participant.ts";
import type { Took } from "../uring/clone.ts";
import { registerBuffers, unregister } from "../uring/registration.ts";
import { IORING_UNREGISTER_BUFFERS } from "../uring/uapi.ts";
import type { Uring } from "../uring/uring.ts";

/** A pool of a ring. Refers to the BufferPool, so that a pool in use by a ring is not garbage-collected. */
interface Joined {
  readonly pool: BufferPool;
  readonly participant: Participant;
  /** The index of its first buffer in the ring's buffer table. */
  readonly base: number;
}

/** The pools of `options.pool`. */
export function poolsOf(pool: unknown): { readonly pool: BufferPool; readonly participant: Participant }[] {
  const given: readonly unknown[] = pool === undefined ? [] : Array.isArray(pool) ? pool : [pool];
  const pools = given.map((one) => {
    if (!(one instanceof BufferPool)) throw invalidType("options.pool", "a BufferPool, or an array of them", one);
    return { pool: one, participant: participantOf(one) };
  });
  if (new Set(pools.map(({ participant }) => participant.control.address)).size !== pools.length)
    throw invalidValue("options.pool contains the same pool twice");
  return pools;
}

type GivenPools = ReturnType<typeof poolsOf>;

/** Clones the pools' buffers into the ring's table, one pool after the other. */
function clone(uring: Uring, given: GivenPools, took: Took): Joined[] {
  const pools: Joined[] = [];
  let base = 0;
  try {
    for (const { pool, participant } of given) {
      participant.cloneTo(uring, base, took);
      pools.push({ pool, participant, base });
      base += participant.extents.length;
    }
    return pools;
  } catch (error) {
    if (pools.length > 0) unregister(uring, IORING_UNREGISTER_BUFFERS, "io_uring_unregister_buffers");
    for (const { participant } of pools) participant.leaveRing();
    throw error;
  }
}

/** Registers the pools' memory on the ring itself, without cloning. */
function register(uring: Uring, given: GivenPools, took: Took): Joined[] {
  for (const { participant } of given) participant.assertOpen("io_uring_register_buffers");
  const regions = given.flatMap(({ participant }) => participant.extents);
  if (regions.length > 0) {
    const started = Bun.nanoseconds();
    registerBuffers(uring, { regions, tags: undefined });
    took.ns += Bun.nanoseconds() - started;
  }
  let base = 0;
  return given.map(({ pool, participant }) => {
    participant.joinRing();
    const joined = { pool, participant, base };
    base += participant.extents.length;
    return joined;
  });
}

/**
 * Whether the kernel refused the clone because of the user. It clones only within a process, and only if both rings
 * account locked memory to the same user: to nobody for a ring made with CAP_IPC_LOCK, otherwise to the real user.
 */
function refusesUser(error: unknown): boolean {
  return error instanceof UringError && error.code === "EINVAL" && error.syscall === "io_uring_clone_buffers";
}

function whyNotCloned(given: GivenPools): string {
  const now = currentUser();
  const made = given.map(({ participant }) => participant.control.user).find((user) => user !== now);
  const change =
    made === undefined
      ? "this process has gained or lost the capability CAP_IPC_LOCK since the pool was made"
      : `user ${made} made the pool, and this process has become user ${now} since`;
  return `The ring cannot clone the pool's registration and has to make its own, because ${change}.`;
}

/** A ring's pools: what it got of each, and where. */
export class JoinedPools {
  /** How the ring got the buffers. Undefined if it has no pool. */
  readonly source: "cloned" | "registered" | undefined;
  /** Milliseconds that the kernel took for it. */
  readonly joinMs: number;
  readonly #pools: readonly Joined[];

  private constructor(pools: readonly Joined[], cloned: boolean, { ns }: Took) {
    this.source = pools.length === 0 ? undefined : cloned ? "cloned" : "registered";
    this.joinMs = ns / 1e6;
    this.#pools = pools;
  }

  /**
   * Clones the pools' buffers into the ring. If the kernel cannot clone them, registers their memory on the ring instead.
   * @throws UringError: as io_uring_clone_buffers(3) and io_uring_register_buffers(3)
   */
  static join(uring: Uring, given: GivenPools): JoinedPools {
    const took = { ns: 0 };
    const canClone = ({ control: { clones } }: Participant) => (given.length === 1 ? clones.whole : clones.ranges);
    let refused = false;
    if (given.every(({ participant }) => canClone(participant))) {
      try {
        return new JoinedPools(clone(uring, given, took), true, took);
      } catch (error) {
        if (!refusesUser(error)) throw error;
        refused = true;
      }
    }
    try {
      return new JoinedPools(register(uring, given, took), false, took);
    } catch (error) {
      if (!refused || !(error instanceof UringError)) throw error;
      throw new UringError(error.code, error.syscall, {
        hint: `${whyNotCloned(given)} ${error.hint ?? ""}`.trimEnd(),
        cause: error,
      });
    }
  }

  /**
   * The index in the ring's table of the first buffer of a slot's pool.
   * @param name - how the error's message begins
   * @throws TypeError: the ring does not have the pool
   */
  baseOf(owner: SlotOwner, name = "buffer belongs to"): number {
    const [first] = this.#pools;
    if (first?.participant === owner) return first.base;
    // Another thread's, or another attachment of the same pool: the buffers are the same.
    for (const { participant, base } of this.#pools) if (participant.poolAddress === owner.poolAddress) return base;
    throw invalidValue(`${name} a pool that this ring does not have: pass the pool in \`new Ring({ pool })\``);
  }

  /**
   * Requires a pool of the ring's whose slots can be acquired.
   * @param name - begins the error's message
   */
  assertUsable(pool: BufferPool, name: string): void {
    const participant = participantOf(pool);
    participant.assertOpen("acquire");
    this.baseOf(participant, name);
  }

  /** The kernel is done with the ring. */
  leave(): void {
    for (const { participant } of this.#pools) participant.leaveRing();
  }
}
