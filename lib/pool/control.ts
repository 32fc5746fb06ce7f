/**
 * The shared state of a pool, which every attached thread sees. The teardown in C (c/teardown.c) relies on the same
 * layout.
 */

import { invalidType, invalidValue } from "../base/arguments.ts";
import { Bun, process } from "../base/globals.ts";
import { isSharedMemory, sharedByteLengthOf } from "../base/view.ts";
import { checked } from "../errors/uring-error.ts";
import { type Clones, clonesOf } from "../uring/kernel.ts";
import { addressOf, native } from "../uring/native.ts";
import { type PoolPlan, planPool } from "./memory.ts";
import { blockCount } from "./slots.ts";
import { Turns } from "./turns.ts";

const magic = 0x62756e75;
/** The version of the layout. All threads that share a pool have to use the same one. */
const version = 2;

/** Indexes of the 32-bit words at the head of the shared memory. */
const word = {
  magic: 0,
  version: 1,
  /**
   * A PI futex: 0, or the id of the thread that holds the lock. If that thread ends, its teardown releases the lock.
   */
  lock: 2,
  closed: 3,
  count: 4,
  /** One past the highest participant index ever used. */
  participantLimit: 5,
  sizeBytes: 6,
  /** What the kernel can clone, so that other threads need not probe for it. */
  cloneAbility: 7,
  zero: 8,
  /** A counter of hand-overs, which gives each its own ticket. */
  transfers: 9,
  identity: 10,
  hugePages: 11,
  /** See turns.ts. */
  turn: 12,
  passes: 13,
  waits: 14,
  /** The effective user id of the thread that made the pool. */
  user: 15,
} as const;

/** The effective user id of this process. */
export function currentUser(): number {
  return process.geteuid?.() ?? 0;
}

export const participantsStart = 16;
export const participantCount = 1024;
/** The number of words of a participant: in use, ring descriptor + 1, eventfd + 1, waiting. */
export const participantWords = 4;
const blocksStart = participantsStart + participantCount * participantWords;
/** Tickets of hand-overs are 1 to this. */
export const largestTicket = 2 ** 30;

let ownThreadId: number | undefined;

/** The kernel's id of this thread, as PI futexes use it. */
function threadId(): number {
  ownThreadId ??= native().threadId();
  return ownThreadId;
}

/** The shared state of a pool, as seen from one thread. */
export class PoolControl {
  readonly memory: SharedArrayBuffer;
  readonly address: number;
  readonly plan: PoolPlan;
  readonly clones: Clones;
  readonly zero: boolean;
  /** Distinguishes pools from each other. */
  readonly identity: number;
  /** The user that made the pool. Rings that another user makes cannot clone its registration. */
  readonly user: number;
  /** Which blocks may have free slots, and who owns each slot: see slots.ts. */
  readonly freeBlocks: Int32Array;
  readonly owners: Int32Array;
  readonly turns: Turns;
  readonly #words: Int32Array;

  private constructor(memory: SharedArrayBuffer, words: Int32Array, plan: PoolPlan) {
    const blocks = blockCount(plan.count);
    this.memory = memory;
    this.address = addressOf(memory);
    this.plan = plan;
    this.clones = clonesOf(words[word.cloneAbility] ?? 0);
    this.zero = words[word.zero] === 1;
    this.identity = words[word.identity] ?? 0;
    this.user = (words[word.user] ?? 0) >>> 0;
    this.freeBlocks = new Int32Array(memory, blocksStart * 4, blocks);
    this.owners = new Int32Array(memory, (blocksStart + blocks) * 4, plan.count);
    this.turns = new Turns(words, {
      participantLimit: word.participantLimit,
      turn: word.turn,
      passes: word.passes,
      waits: word.waits,
      firstWaiting: participantsStart + 3,
      stride: participantWords,
    });
    this.#words = words;
  }

  /** Initialises the state of a new pool, with every slot free. */
  static create(plan: PoolPlan, cloneAbility: number, zero: boolean): PoolControl {
    const words = blocksStart + blockCount(plan.count) + plan.count;
    const memory = new SharedArrayBuffer(Math.ceil(words / 1024) * 4096);
    const view = new Int32Array(memory);
    view[word.magic] = magic;
    view[word.version] = version;
    view[word.count] = plan.count;
    view[word.sizeBytes] = plan.sizeBytes;
    view[word.cloneAbility] = cloneAbility;
    view[word.zero] = zero ? 1 : 0;
    view[word.hugePages] = plan.hugePages ? 1 : 0;
    view[word.user] = currentUser();
    view[word.identity] = Bun.randomUUIDv7("buffer").readInt32LE(12);
    const control = new PoolControl(memory, view, plan);
    control.freeBlocks.fill(1);
    return control;
  }

  /**
   * Opens the state of a pool that another thread made.
   * @throws TypeError: not the state of a pool, or that of another version of this library
   */
  static open(memory: unknown): PoolControl {
    if (!isSharedMemory(memory)) throw invalidType("handle.control", "a SharedArrayBuffer", memory);
    const view = new Int32Array(memory, 0, Math.floor(sharedByteLengthOf(memory) / 4));
    if (view.length < blocksStart || view[word.magic] !== magic)
      throw invalidValue("handle.control is not the state of a BufferPool");
    if (view[word.version] !== version)
      throw invalidValue(
        `handle.control has version ${view[word.version]}, and this library ${version}: two versions of bun-uring are loaded`,
      );
    const count = view[word.count] ?? 0;
    if (view.length < blocksStart + blockCount(count) + count)
      throw invalidValue(`handle.control is too short for ${count} slots`);
    return new PoolControl(memory, view, planPool(count, view[word.sizeBytes] ?? 0, view[word.hugePages] === 1));
  }

  get closed(): boolean {
    return Atomics.load(this.#words, word.closed) !== 0;
  }

  /** A participant's own descriptor of the ring that has the registration, or -1. */
  ringFd(participant: number): number {
    return Atomics.load(this.#words, this.#participant(participant) + 1) - 1;
  }

  /** Counts the participants other than `except`, and how many of those wait. */
  countParticipants(except: number): { attached: number; waiting: number } {
    const limit = Atomics.load(this.#words, word.participantLimit);
    let attached = 0;
    let waiting = 0;
    for (let participant = 0; participant < limit; participant++) {
      if (participant === except) continue;
      const base = this.#participant(participant);
      attached += Atomics.load(this.#words, base);
      if (this.turns.isWaiting(participant)) waiting++;
    }
    return { attached, waiting };
  }

  /** A ticket for one hand-over. */
  nextTicket(): number {
    return (Atomics.add(this.#words, word.transfers, 1) & (largestTicket - 1)) + 1;
  }

  /**
   * Runs `critical` under the pool's lock, so that no other thread attaches, clones, closes or leaves the pool
   * meanwhile. `critical` must not call anything that takes the lock itself, such as `poolWake`.
   *
   * The lock is a PI futex. Without contention, one compare-and-exchange from 0 to this thread's id takes it, and one
   * back releases it. If another thread holds the lock, or waits for it and the kernel has set a bit in the word, the
   * exchange fails and the kernel takes over. terminate() can stop JavaScript in the middle of this: the word still has
   * this thread's id, and the thread's teardown in C releases the lock.
   */
  locked<Result>(critical: () => Result): Result {
    const self = threadId();
    if (Atomics.compareExchange(this.#words, word.lock, 0, self) !== 0)
      checked(native().poolLock(this.address), "futex");
    try {
      return critical();
    } finally {
      if (Atomics.compareExchange(this.#words, word.lock, self, 0) !== self)
        checked(native().poolUnlock(this.address), "futex");
    }
  }

  #participant(index: number): number {
    return participantsStart + index * participantWords;
  }
}
