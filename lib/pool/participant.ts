import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { invalidValue } from "../base/arguments.ts";
import { assert } from "../base/assert.ts";
import { Bun, Promise, WeakRef } from "../base/globals.ts";
import { currentPlace, linesAt, openSince, type Place, type Reclaimable, untrack } from "../base/handles.ts";
import { hold, letGo } from "../base/hold.ts";
import { later } from "../base/timers.ts";
import { emitWarning } from "../base/warn.ts";
import { EBADF } from "../errors/errno.ts";
import { checked, UringError } from "../errors/uring-error.ts";
import { appendBuffers, type Took } from "../uring/clone.ts";
import { checkedRegistration } from "../uring/memlock.ts";
import { addressOf, native } from "../uring/native.ts";
import { layOut, type Region, regionBytes } from "../uring/registration.ts";
import { scratch } from "../uring/scratch.ts";
import type { Uring } from "../uring/uring.ts";
import { Wakeup } from "../uring/wakeup.ts";
import type { PoolControl } from "./control.ts";
import { FixedBuffer, Slot, type SlotOwner, type SlotToken } from "./fixed-buffer.ts";
import { extentsOf, notePoolMemory } from "./memory.ts";
import { Slots } from "./slots.ts";

interface Waiter {
  /** Where the slot was requested, and when, in nanoseconds. */
  readonly place: Place;
  readonly since: number;
  readonly grant: (buffer: FixedBuffer) => void;
  readonly fail: (reason: unknown) => void;
}

function closedError(action: string): UringError {
  return new UringError("EBADF", action, {
    message: "the pool is closed",
    hint: "It was closed here or by the thread that made it, or every thread that had it has ended.",
  });
}

/** How long an acquire waits before a warning. The usual reason is a slot that was never released. */
const longWaitMs = 5000;
/** How many places the warning names at most. */
const mostPlaces = 5;

/**
 * A thread's participation in a pool: its slots, its own descriptor of the registration, and its place among the
 * participants that wait. It is held from its creation until the pool is closed here, none of its slots is out, and no
 * ring of this thread has the pool. The memory is in use for exactly that long.
 */
export class Participant implements Reclaimable, SlotOwner {
  readonly kind = "BufferPool";
  readonly control: PoolControl;
  readonly memories: readonly SharedArrayBuffer[];
  readonly extents: readonly Region[];
  /** Milliseconds that registering the memory took; 0 if another thread registered it. */
  readonly registrationMs: number;
  readonly #creator: boolean;
  readonly #index: number;
  readonly #address: number;
  readonly #slots: Slots;
  readonly #waiters = new Set<Waiter>();
  /** Whether a timer is set that checks how long the oldest waiter has waited. */
  #watching = false;
  /** Whether the warning was emitted. Reset when nobody waits any more. */
  #warned = false;
  #wakeup: Wakeup | undefined;
  #exhaustions = 0;
  #slotsOut = 0;
  #rings = 0;
  #closed = false;
  /** The pool object was garbage-collected. */
  #abandoned = false;
  #shared = false;
  /** This participant has left: its index may belong to another participant by now. */
  #left = false;

  private constructor(
    control: PoolControl,
    memories: readonly SharedArrayBuffer[],
    extents: readonly Region[],
    creator: boolean,
    address: number,
    index: number,
    registrationMs: number,
  ) {
    this.control = control;
    this.memories = memories;
    this.extents = extents;
    this.#creator = creator;
    this.#address = address;
    this.#index = index;
    this.registrationMs = registrationMs;
    this.#slots = new Slots(control.freeBlocks, control.owners, () => this.#wakeOthers());
    notePoolMemory(memories);
    hold(this);
  }

  /**
   * Creates a pool's first participant. Registers the memory if the kernel can clone a registration; if it cannot, each
   * ring registers the memory itself.
   */
  static create(control: PoolControl, memories: readonly SharedArrayBuffer[]): Participant {
    const extents = extentsOf(control.plan, memories);
    const count = control.clones.whole ? extents.length : 0;
    const { longs, address, data } = layOut(16, { regions: extents, tags: undefined });
    const started = Bun.nanoseconds();
    const result = native().poolCreate(control.address, data, count, address);
    if (longs[0] === 0n) checked(result, "io_uring_setup");
    else checkedRegistration(result, "io_uring_register_buffers", regionBytes(extents));
    const registrationMs = (Bun.nanoseconds() - started) / 1e6;
    return new Participant(control, memories, extents, true, Number(longs[0]), Number(longs[1]), registrationMs);
  }

  /** Joins a pool that another thread, or this one, has made. */
  static attach(control: PoolControl, memories: readonly SharedArrayBuffer[]): Participant {
    const extents = extentsOf(control.plan, memories);
    const { longs, address } = scratch(16);
    const result = native().poolAttach(control.address, address);
    if (result === EBADF) throw closedError("attach");
    checked(result, "attach");
    return new Participant(control, memories, extents, false, Number(longs[0]), Number(longs[1]), 0);
  }

  get closed(): boolean {
    return this.#closed || this.control.closed;
  }

  get poolAddress(): number {
    return this.control.address;
  }

  get label(): string {
    const { count, sizeBytes } = this.control.plan;
    return `of ${count} slots of ${sizeBytes} bytes`;
  }

  get ended(): boolean {
    return this.#closed;
  }

  /**
   * Records that a handle may be on its way to a thread that has not attached yet. From then on a dropped pool stays
   * open as long as this thread lives.
   */
  share(): void {
    this.assertOpen("share");
    this.#shared = true;
  }

  reclaim(): void {
    this.#abandoned = true;
    this.#closeAbandoned();
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** How often a request for a slot could not be granted at once; see `PoolStats.exhaustions`. */
  get exhaustions(): number {
    return this.#exhaustions;
  }

  /** The other participants of the pool. */
  get others(): { attached: number; waiting: number } {
    return this.#left ? { attached: 0, waiting: 0 } : this.control.countParticipants(this.#index);
  }

  census(): { free: number; own: number; inTransit: number } {
    const census = this.#slots.census(this.#owner);
    return this.#left ? { ...census, own: 0 } : census;
  }

  assertOpen(action: string): void {
    if (this.closed) throw closedError(action);
  }

  /** @param place - where the slot was requested, if not here */
  tryAcquire(place?: Place): FixedBuffer | undefined {
    this.assertOpen("acquire");
    const index = this.#waiters.size > 0 ? -1 : this.#take();
    if (index !== -1) return this.#grant(index, place);
    this.#exhaustions++;
    return undefined;
  }

  /**
   * Like `tryAcquire`, for callers that can do without a slot: leaves the last free slot to those that cannot, in this
   * thread and others.
   * @param place - where the slot was requested, if not here
   */
  tryAcquireSparing(place?: Place): FixedBuffer | undefined {
    if (this.#slots.hasFree(2)) {
      const buffer = this.tryAcquire(place);
      if (buffer === undefined || this.#slots.hasFree(1)) return buffer;
      buffer.release(); // another thread took the other free slot meanwhile, so this was the last
    }
    this.assertOpen("acquire");
    this.#exhaustions++;
    return undefined;
  }

  /** Grants a slot as soon as one is free, in the order of the requests. */
  async acquire(signal: AbortSignal | undefined, place = currentPlace()): Promise<FixedBuffer> {
    throwIfAborted(signal);
    const buffer = this.tryAcquire(place);
    if (buffer !== undefined) return buffer;
    const wakeup = this.#ownWakeup(); // before the waiter is added: it throws if no descriptor is left
    const { promise, resolve, reject } = Promise.withResolvers<FixedBuffer>();
    const waiter: Waiter = { place, since: Bun.nanoseconds(), grant: resolve, fail: reject };
    let forget: (() => void) | undefined;
    try {
      this.#waiters.add(waiter);
      if (signal !== undefined)
        forget = onAbort(signal, () => {
          if (this.#forget(waiter)) reject(reasonOf(signal));
        });
      if (!this.#watching) this.#watch(longWaitMs);
      this.#wait(wakeup);
      return await promise;
    } finally {
      forget?.();
      this.#forget(waiter); // something above may have thrown while it still waits
    }
  }

  receive(token: SlotToken): FixedBuffer {
    if (this.#closed) throw closedError("receive");
    if (token.pool !== this.control.identity) throw invalidValue("token belongs to another pool");
    if (!this.#slots.takeOver(token.slotIndex, this.#owner, token.ticket))
      throw new UringError("ESTALE", "receive", {
        message: `the token of slot ${token.slotIndex} was used already: each token can be used once`,
      });
    return this.#handOut(token.slotIndex);
  }

  free(slot: Slot): void {
    this.#slots.release(slot.index, this.#owner);
    // Only after the release: threads that are woken check for free slots at once. If others wait, this participant's
    // own waiters are woken with them, through its eventfd; if not, they are served directly.
    if (this.#wakeOthers()) this.control.turns.notePass();
    else this.#serve();
    this.#slotsOut--;
    this.#leaveWhenUnused();
  }

  giveAway(slot: Slot): SlotToken {
    const ticket = this.control.nextTicket();
    this.#slots.giveAway(slot.index, this.#owner, ticket);
    this.#slotsOut--;
    this.#leaveWhenUnused();
    return { kind: "bun-uring.SlotToken", pool: this.control.identity, slotIndex: slot.index, ticket };
  }

  /**
   * Clones the pool's buffers into a ring's table, from `offset` on. Holds the pool's lock, which closing the pool
   * takes too, so the descriptor cannot be closed and reused in between. Each call has to be paired with `leaveRing`.
   */
  cloneTo(uring: Uring, offset: number, took?: Took): void {
    this.control.locked(() => {
      this.assertOpen("io_uring_clone_buffers");
      appendBuffers(uring, offset, this.control.ringFd(this.#index), this.extents.length, this.control.clones, took);
    });
    this.#rings++;
  }

  /** Like `cloneTo`, for a ring that has registered the memory itself. */
  joinRing(): void {
    this.#rings++;
  }

  leaveRing(): void {
    this.#rings--;
    this.#leaveWhenUnused();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    untrack(this);
    if (this.#creator) native().poolClose(this.#address);
    this.#serve();
    this.#leaveWhenUnused();
  }

  /** This participant's value in `owners`, where 0 means free. */
  get #owner(): number {
    return this.#index + 1;
  }

  /**
   * If another participant waits, wakes all that wait, this one included, so that they check for free slots. Returns
   * whether another waits.
   */
  #wakeOthers(): boolean {
    if (!this.control.turns.othersWait(this.#index)) return false;
    native().poolWake(this.control.address);
    return true;
  }

  /**
   * Takes a free slot; returns its index, or -1. If it is another participant's turn, the last free slot is left to it,
   * but only the last: the other thread may be busy for a long time, and slots beyond one need not wait for it. The two
   * checks are not atomic, so the rule is approximate.
   */
  #take(): number {
    const { turns } = this.control;
    if (!turns.mayTakeLast(this.#index) && !this.#slots.hasFree(2)) return -1;
    const index = this.#slots.tryAcquire(this.#owner);
    if (index !== -1 && turns.end(this.#index)) this.#wakeOthers();
    return index;
  }

  #grant(index: number, place?: Place): FixedBuffer {
    const buffer = this.#handOut(index, place);
    if (this.control.zero) buffer.bytes.fill(0);
    return buffer;
  }

  /** The FixedBuffer of a slot that this participant has just become the owner of. */
  #handOut(index: number, place?: Place): FixedBuffer {
    const { slotsPerExtent, strideBytes, sizeBytes } = this.control.plan;
    const extentIndex = Math.floor(index / slotsPerExtent);
    const extent = this.extents[extentIndex];
    assert(extent !== undefined, `slot ${index} lies in an extent`);
    const { memory, start } = extent;
    const address = start + (index % slotsPerExtent) * strideBytes;
    const bytes = new Uint8Array(memory, address - addressOf(memory), sizeBytes);
    this.#slotsOut++;
    return new FixedBuffer(new Slot(this, index, address, sizeBytes, extentIndex), bytes, place);
  }

  /**
   * Grants free slots to the waiters of this participant, oldest first. If the pool is closed, rejects them instead.
   */
  #serve(): void {
    for (const waiter of this.#waiters) {
      if (this.closed) {
        this.#waiters.delete(waiter);
        waiter.fail(closedError("acquire"));
        continue;
      }
      const index = this.#take();
      if (index === -1) return;
      this.#waiters.delete(waiter);
      waiter.grant(this.#grant(index, waiter.place));
    }
    this.#settleWaiting();
  }

  /**
   * Sets a timer that checks whether an acquire has waited too long. It keeps neither the process nor the pool alive.
   */
  #watch(ms: number): void {
    this.#watching = true;
    const self = new WeakRef(this);
    later(ms, () => {
      const participant = self.deref();
      if (participant !== undefined) participant.#lookAtWaits();
    });
  }

  #lookAtWaits(): void {
    this.#watching = false;
    const [longest] = this.#waiters;
    if (longest === undefined || this.#warned) return;
    const leftMs = longWaitMs - (Bun.nanoseconds() - longest.since) / 1e6;
    if (leftMs > 0) {
      this.#watch(Math.ceil(leftMs));
      return;
    }
    this.#warned = true;
    this.#warn(longest);
  }

  /** Emits the warning that an acquire has waited too long, with who has the slots. */
  #warn({ place }: Waiter): void {
    const { count } = this.control.plan;
    const { free, own, inTransit } = this.census();
    const { attached, waiting } = this.others;
    const held = openSince((what) => what instanceof Slot && what.owner === this, mostPlaces);
    emitWarning(
      `An acquire has waited for ${longWaitMs / 1000} seconds for a slot of a BufferPool ${this.label}: ` +
        `held here ${own}, by others ${count - free - own - inTransit} (${attached} attached), ` +
        `in transit ${inTransit}, free ${free}; waiting here ${this.waiting}, elsewhere ${waiting}. Was a slot not released?`,
      "BUN_URING_ACQUIRE_WAITS",
      [
        place === undefined
          ? "To see where slots were acquired, track handles: BUN_URING_TRACK_HANDLES=1."
          : `It waits here:\n${linesAt(place)}`,
        ...held.map(({ label, madeAt }) => `The FixedBuffer ${label} was acquired here:\n${madeAt}`),
      ].join("\n"),
    );
  }

  /**
   * Removes a waiter; returns whether it was still waiting. If it was not, leaves the shared state alone. close() may
   * have rejected the waiter and this participant may have left, so its words there may be another participant's by
   * now.
   */
  #forget(waiter: Waiter): boolean {
    if (!this.#waiters.delete(waiter)) return false;
    this.#settleWaiting();
    return true;
  }

  /**
   * The Wakeup, made on first use. That is done here and not in `acquire`, because the callback lives as long as the
   * pool and keeps the scope in which it was created alive.
   */
  #ownWakeup(): Wakeup {
    this.#wakeup ??= new Wakeup(checked(native().poolEventfd(this.#address), "eventfd"), () => this.#serve());
    return this.#wakeup;
  }

  /**
   * Announces that this thread waits, and only then checks for free slots once more. A thread that frees a slot wakes
   * only those that have announced themselves, so nobody would report a slot that was freed between the failed attempt
   * and the announcement. The wakeup is armed before the check, which disarms it if nobody waits any more.
   */
  #wait(wakeup: Wakeup): void {
    this.control.turns.setWaiting(this.#index, true);
    wakeup.arm();
    this.#serve();
  }

  #settleWaiting(): void {
    if (this.#waiters.size > 0 || this.#wakeup === undefined) return;
    this.#warned = false;
    this.control.turns.setWaiting(this.#index, false);
    if (this.control.turns.end(this.#index)) this.#wakeOthers();
    this.#wakeup.disarm();
    this.#closeAbandoned();
  }

  /** Closes a pool whose object was garbage-collected, unless it was shared. Pending acquires keep it open. */
  #closeAbandoned(): void {
    if (this.#abandoned && !this.#shared && this.#waiters.size === 0) this.close();
  }

  #leaveWhenUnused(): void {
    assert(!this.#left, "what was given back belonged to the pool");
    if (!this.#closed || this.#slotsOut > 0 || this.#rings > 0) return;
    // The Wakeup uses the eventfd that `poolLeave` closes, so it is closed first. `poolLeave` writes to the shared
    // memory, so `letGo` comes last.
    this.#left = true;
    this.#wakeup?.close();
    native().poolLeave(this.#address);
    letGo(this);
  }
}
