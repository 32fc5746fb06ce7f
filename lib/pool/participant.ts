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
import { type Region, regionBytes } from "../uring/registration.ts";
import { scratch } from "../uring/scratch.ts";
import type { Uring } from "../uring/uring.ts";
import { Wakeup } from "../uring/wakeup.ts";
import type { PoolControl } from "./control.ts";
import { FixedBuffer, Slot, type SlotOwner, type SlotToken } from "./fixed-buffer.ts";
import { extentsOf, notePoolMemory, slotsStart } from "./memory.ts";
import { Slots } from "./slots.ts";

interface Waiter {
  /** Where it was asked for, and when, in nanoseconds. */
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

/** An acquire that has waited so long is worth a warning: most often a slot was never released. */
const longWaitMs = 5000;
/** Places that the warning names. */
const mostPlaces = 5;

/**
 * One thread's part in a pool: its slots, its own descriptor of the registration, its place among those who wait. It is held from
 * its beginning until the pool is closed here, no slot is out and no ring has the pool: that is how long the memory is in use.
 */
export class Participant implements Reclaimable, SlotOwner {
  readonly kind = "BufferPool";
  readonly control: PoolControl;
  readonly memories: readonly SharedArrayBuffer[];
  readonly extents: readonly Region[];
  /** Milliseconds that registering the memory took; 0 where that was another thread's. */
  readonly registrationMs: number;
  readonly #creator: boolean;
  readonly #index: number;
  readonly #address: number;
  readonly #slots: Slots;
  readonly #waiters = new Set<Waiter>();
  /** Somebody looks, soon enough, whether the one who waits longest waits too long. */
  #watching = false;
  /** That was said, and since then somebody has waited always. */
  #warned = false;
  #wakeup: Wakeup | undefined;
  #exhaustions = 0;
  #slotsOut = 0;
  #rings = 0;
  #closed = false;
  /** Nobody has the pool object any more. */
  #abandoned = false;
  #shared = false;
  /** Its index may be another participant's by now. */
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

  /** Registers the pool's memory, where the kernel can clone from that. */
  static create(control: PoolControl, memories: readonly SharedArrayBuffer[]): Participant {
    const extents = extentsOf(control.plan, memories);
    const count = control.clones.whole ? extents.length : 0;
    const { longs, address } = scratch(16 * (1 + extents.length));
    for (const [index, { start, end }] of extents.entries()) {
      longs[2 + 2 * index] = BigInt(start);
      longs[3 + 2 * index] = BigInt(end - start);
    }
    const started = Bun.nanoseconds();
    const result = native().poolCreate(control.address, address + 16, count, address);
    if (longs[0] === 0n) checked(result, "io_uring_setup");
    else checkedRegistration(result, "io_uring_register_buffers", regionBytes(extents));
    const registrationMs = (Bun.nanoseconds() - started) / 1e6;
    return new Participant(control, memories, extents, true, Number(longs[0]), Number(longs[1]), registrationMs);
  }

  /** Joins a pool that another thread, or this one, has. */
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

  get slotSizeBytes(): number {
    return this.control.plan.sizeBytes;
  }

  get label(): string {
    const { count, sizeBytes } = this.control.plan;
    return `of ${count} slots of ${sizeBytes} bytes`;
  }

  get ended(): boolean {
    return this.#closed;
  }

  /** Notes that a handle may be on its way to a thread that has not attached yet: the pool stays for that, as long as this thread lives. */
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

  /** How often no slot was free when one was asked for. */
  get exhaustions(): number {
    return this.#exhaustions;
  }

  /** Other participants of the pool. */
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

  extentOf(index: number): number {
    return Math.floor(index / this.control.plan.slotsPerExtent);
  }

  slotAddress(index: number): number {
    const { slotsPerExtent, strideBytes } = this.control.plan;
    const extent = this.extents[this.extentOf(index)];
    return (extent?.start ?? 0) + (index % slotsPerExtent) * strideBytes;
  }

  slotBytes(index: number): Uint8Array {
    const { plan } = this.control;
    const memoryIndex = Math.floor(index / plan.slotsPerMemory);
    const memory = this.memories[memoryIndex];
    assert(memory !== undefined, `slot ${index} lies in a memory`);
    const start = slotsStart(plan, memoryIndex, addressOf(memory));
    return new Uint8Array(memory, start + (index % plan.slotsPerMemory) * plan.strideBytes, plan.sizeBytes);
  }

  /** @param place - where it is asked for, if that is not here */
  tryAcquire(place?: Place): FixedBuffer | undefined {
    this.assertOpen("acquire");
    const index = this.#waiters.size > 0 ? -1 : this.#take();
    if (index !== -1) return this.#grant(index, place);
    this.#exhaustions++;
    return undefined;
  }

  /**
   * The same for who can do without: the last free slot is left to those who can't, in this thread and others.
   * @param place - where it is asked for, if that is not here
   */
  tryAcquireSparing(place?: Place): FixedBuffer | undefined {
    if (this.#slots.hasFree(2)) {
      const buffer = this.tryAcquire(place);
      if (buffer === undefined || this.#slots.hasFree(1)) return buffer;
      buffer.release(); // another thread has taken the other meanwhile
    }
    this.assertOpen("acquire");
    this.#exhaustions++;
    return undefined;
  }

  /** Grants a slot as soon as there is one, in the order of asking. */
  async acquire(signal: AbortSignal | undefined, place = currentPlace()): Promise<FixedBuffer> {
    throwIfAborted(signal);
    this.assertOpen("acquire");
    const buffer = this.tryAcquire(place);
    if (buffer !== undefined) return buffer;
    const wakeup = this.#ownWakeup(); // it may fail for want of a descriptor, and nobody waits yet
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
      this.#forget(waiter); // it still waits where something has thrown
    }
  }

  receive(token: SlotToken): FixedBuffer {
    if (this.#closed) throw closedError("receive");
    if (token.pool !== this.control.identity) throw invalidValue("token is of another pool");
    if (!this.#slots.takeOver(token.slotIndex, this.#owner, token.ticket))
      throw new UringError("ESTALE", "receive", { message: `the token of slot ${token.slotIndex} was used already: each is good once` });
    this.#slotsOut++;
    return new FixedBuffer(new Slot(this, token.slotIndex));
  }

  free(slot: Slot): void {
    this.#slots.release(slot.index, this.#owner);
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

  /** Clones the pool's buffers to a ring, from `offset` of its table on. Each join needs its `leaveRing`. */
  cloneTo(uring: Uring, offset: number, took?: Took): void {
    this.control.locked(() => {
      this.assertOpen("io_uring_clone_buffers");
      appendBuffers(uring, offset, this.control.ringFd(this.#index), this.extents.length, this.control.clones, took);
    });
    this.#rings++;
  }

  /** The same for a ring that has registered the memory itself. */
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

  /** Slots carry it; 0 is nobody. */
  get #owner(): number {
    return this.#index + 1;
  }

  /** Has every thread that waits look again, this one included. Returns whether any other does. */
  #wakeOthers(): boolean {
    if (!this.control.turns.othersWait(this.#index)) return false;
    native().poolWake(this.control.address);
    return true;
  }

  /** A free slot's index, or -1: there is none, or only the one that is kept for another thread, whose turn it is. That may be busy with other things for long. */
  #take(): number {
    const { turns } = this.control;
    if (!turns.mayTakeLast(this.#index) && !this.#slots.hasFree(2)) return -1;
    const index = this.#slots.tryAcquire(this.#owner);
    if (index !== -1 && turns.end(this.#index)) this.#wakeOthers();
    return index;
  }

  #grant(index: number, place?: Place): FixedBuffer {
    this.#slotsOut++;
    const buffer = new FixedBuffer(new Slot(this, index), place);
    if (this.control.zero) buffer.bytes.fill(0);
    return buffer;
  }

  /** Serves those who wait here from what is free, or turns them away where the pool is closed. */
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

  /** Looks later whether an acquire waits too long. That keeps neither the process nor the pool. */
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

  /** Says who has the slots. */
  #warn({ place }: Waiter): void {
    const { count } = this.control.plan;
    const { free, own, inTransit } = this.census();
    const { attached, waiting } = this.others;
    const held = openSince((what) => what instanceof Slot && what.owner === this, mostPlaces);
    const waits = linesAt(place);
    emitWarning(
      `An acquire has waited for ${longWaitMs / 1000} seconds for a slot of a BufferPool ${this.label}: held here ${own}, by others that have the pool ` +
        `${count - free - own - inTransit} (${attached} have it), in transit ${inTransit}, free ${free}; waiting here ${this.waiting}, elsewhere ${waiting}. Was a slot not released?`,
      {
        type: "BunUringWarning",
        code: "BUN_URING_ACQUIRE_WAITS",
        detail: [
          waits === undefined ? "Where slots were acquired is known if handles are tracked: BUN_URING_TRACK_HANDLES=1." : `It waits here:\n${waits}`,
          ...held.map(({ label, madeAt }) => `The FixedBuffer ${label} was acquired here:\n${madeAt}`),
        ].join("\n"),
      },
    );
  }

  /** Returns whether it waited. Where a close has turned it away, what says that this thread waits may be another participant's by now. */
  #forget(waiter: Waiter): boolean {
    if (!this.#waiters.delete(waiter)) return false;
    this.#settleWaiting();
    return true;
  }

  /** Its callback lives as long as the pool, and so would all that a function around it has. */
  #ownWakeup(): Wakeup {
    this.#wakeup ??= new Wakeup(checked(native().poolEventfd(this.#address), "eventfd"), () => this.#serve());
    return this.#wakeup;
  }

  /** Announces that this thread waits, and looks once more: a slot freed before the announcement was seen by nobody. */
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

  /** Who waits for a slot has not dropped the pool in earnest. */
  #closeAbandoned(): void {
    if (this.#abandoned && !this.#shared && this.#waiters.size === 0) this.close();
  }

  #leaveWhenUnused(): void {
    assert(!this.#left, "what was given back belonged to the pool");
    if (!this.#closed || this.#slotsOut > 0 || this.#rings > 0) return;
    this.#left = true;
    this.#wakeup?.close();
    native().poolLeave(this.#address);
    letGo(this);
  }
}
