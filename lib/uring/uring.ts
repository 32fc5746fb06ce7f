import { EINTR } from "../errors/errno.ts";
import { checked } from "../errors/uring-error.ts";
import { mapped, type Native, native } from "./native.ts";
import { scratch } from "./scratch.ts";
import { type Sqe, sqeWords, writeSqe } from "./sqe.ts";
import {
  IORING_CQE_F_MORE,
  IORING_SETUP_COOP_TASKRUN,
  IORING_SETUP_CQE32,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_SQE128,
  IORING_SETUP_TASKRUN_FLAG,
  IORING_SQ_CQ_OVERFLOW,
  IORING_SQ_TASKRUN,
} from "./uapi.ts";

/** How a ring is made. */
export interface UringOptions {
  readonly entries: number;
  /** 0: twice `entries`. */
  readonly cqEntries: number;
  /** IORING_SETUP_* */
  readonly flags: number;
  /** 0: the kernel's default. */
  readonly sqThreadIdleMs: number;
}

const noWords = new Int32Array(0);

/**
 * One io_uring, its queues mapped as typed arrays: what the layers above use of it. Nothing is checked here, and no memory is kept: whoever prepares a request holds
 * what it names until its completion, and closes the ring.
 * @see io_uring(7)
 */
export class Uring implements Disposable {
  /** Of the ring's struct, as the shim takes it. */
  readonly address: number;
  readonly fd: number;
  /** IORING_FEAT_* */
  readonly features: number;
  readonly sqEntries: number;
  readonly cqEntries: number;
  readonly #native: Native;
  readonly #sqeShift: number;
  readonly #cqeShift: number;
  #sqes: Int32Array;
  #sqHead: Int32Array;
  #sqFlags: Int32Array;
  #cqes: Int32Array;
  #cqHead: Int32Array;
  #cqTail: Int32Array;
  #sqTail = 0;
  /** Entries up to here the kernel had taken when it was looked last. */
  #sqTaken = 0;
  /** Completions up to here were seen. The kernel is told before it is entered, and when there are no more. */
  #seen = 0;
  /** Completions seen that were not their request's last. */
  #intermediate = 0;
  #overflows = 0;
  #closed = false;

  /** @throws UringError: io_uring_setup(2)'s errors; and those of `native` */
  constructor({ entries, cqEntries, flags, sqThreadIdleMs }: UringOptions) {
    // Without it a ring that defers its work does not show that some is left after an enter has run 20 of it.
    const taskrun = (flags & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN)) === 0 ? 0 : IORING_SETUP_TASKRUN_FLAG;
    this.#native = native();
    const out = scratch(11 * 8);
    checked(this.#native.ringInit(entries, cqEntries, (flags | taskrun) >>> 0, sqThreadIdleMs, out.address), "io_uring_setup");
    const [address = 0, fd = -1, features = 0, sqSize = 0, cqSize = 0, sqes = 0, sqHead = 0, sqFlags = 0, cqHead = 0, cqTail = 0, cqes = 0] = Array.from(
      out.longs.subarray(0, 11),
      Number,
    );
    this.address = address;
    this.fd = fd;
    this.features = features;
    this.sqEntries = sqSize;
    this.cqEntries = cqSize;
    this.#sqeShift = (flags & IORING_SETUP_SQE128) === 0 ? 0 : 1;
    this.#cqeShift = (flags & IORING_SETUP_CQE32) === 0 ? 0 : 1;
    this.#sqes = new Int32Array(mapped(sqes, (sqSize * sqeWords * 4) << this.#sqeShift));
    this.#sqHead = new Int32Array(mapped(sqHead, 4));
    this.#sqFlags = new Int32Array(mapped(sqFlags, 4));
    this.#cqes = new Int32Array(mapped(cqes, (cqSize * 16) << this.#cqeShift));
    this.#cqHead = new Int32Array(mapped(cqHead, 4));
    this.#cqTail = new Int32Array(mapped(cqTail, 4));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** How often completions had found their queue full, and were fetched from the kernel. */
  get overflows(): number {
    return this.#overflows;
  }

  /** Whether every request that was prepared has had its last completion. Those of tags count as well, so with tags it proves nothing. */
  get isIdle(): boolean {
    return ((this.#sqTail - this.#seen + this.#intermediate) | 0) === 0;
  }

  /** The submission queue entry that the next request gets. */
  get nextEntry(): number {
    return this.#sqTail & (this.sqEntries - 1);
  }

  /** Whether the kernel has work for the ring that waits for an enter. */
  get holdsBack(): boolean {
    return (Atomics.load(this.#sqFlags, 0) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) !== 0;
  }

  /** Whether `count` entries are free: as far as is known, and where that is too few, as the kernel says now. */
  hasSpace(count: number): boolean {
    if (((this.#sqTail - this.#sqTaken) | 0) + count <= this.sqEntries) return true;
    if (this.#closed) return false;
    this.#sqTaken = Atomics.load(this.#sqHead, 0);
    return ((this.#sqTail - this.#sqTaken) | 0) + count <= this.sqEntries;
  }

  /**
   * Writes the next entry, which has to be free. No call into C, and nothing is published.
   * @param flags - those of `sqe`, or more
   * @param fd - that of `sqe`, or its index in the registered table
   * @see io_uring_get_sqe(3)
   */
  prepare(sqe: Sqe, flags: number, fd: number, userData: number): void {
    const tail = this.#sqTail;
    writeSqe(this.#sqes, ((tail & (this.sqEntries - 1)) << this.#sqeShift) * sqeWords, sqe, flags, fd, userData);
    this.#sqTail = (tail + 1) >>> 0;
  }

  /**
   * Submits what is prepared, and has the kernel do the work that it deferred. Returns how many entries were taken.
   * @throws UringError: io_uring_enter(2)'s errors
   * @see io_uring_submit(3), io_uring_get_events(3)
   */
  submit(): number {
    this.#publishSeen();
    return checked(this.#native.ringSubmit(this.address, this.#sqTail), "io_uring_submit");
  }

  /**
   * The same, and waits for completions. 0: a signal came before, and JavaScript has to run: a Worker that never leaves C could not be terminated.
   * @see io_uring_submit_and_wait(3)
   */
  submitAndWait(count: number): number {
    this.#publishSeen();
    const result = this.#native.ringSubmitAndWait(this.address, this.#sqTail, count);
    return result === EINTR ? 0 : checked(result, "io_uring_submit_and_wait");
  }

  /**
   * Calls back for each completion that is there, those without room in the queue included. Each is consumed before its callback, which may submit, close or throw:
   * a throw leaves the rest for the next call. Returns how many there were.
   */
  forEachCompletion(callback: (userData: number, result: number, flags: number) => void): number {
    const mask = this.cqEntries - 1;
    let count = 0;
    let tail = this.#seen;
    while (!this.#closed) {
      const seen = this.#seen;
      // A callback that called this in turn may have got further than the tail of before.
      if (((tail - seen) | 0) <= 0) {
        tail = Atomics.load(this.#cqTail, 0);
        if (tail === seen && !this.#fetchCompletions()) break;
      }
      const base = ((seen & mask) << this.#cqeShift) * 4;
      const userData = this.#userData(base);
      const result = this.#cqes[base + 2] ?? 0;
      const flags = this.#cqes[base + 3] ?? 0;
      this.#seen = (seen + 1) | 0;
      if ((flags & IORING_CQE_F_MORE) !== 0) this.#intermediate++;
      count++;
      callback(userData, result, flags);
    }
    return count;
  }

  /**
   * Takes all completions that are there, those without room in the queue included. An entry is consumed only after its `take`, which must not throw, submit
   * or close: an ending thread's teardown sees each completion that `take` has not noted.
   */
  takeCompletions(take: (userDataLow: number, userDataHigh: number, result: number) => void): void {
    const mask = this.cqEntries - 1;
    do {
      const tail = Atomics.load(this.#cqTail, 0);
      let seen = this.#seen;
      for (; seen !== tail; seen = (seen + 1) | 0) {
        const base = ((seen & mask) << this.#cqeShift) * 4;
        if (((this.#cqes[base + 3] ?? 0) & IORING_CQE_F_MORE) !== 0) this.#intermediate++;
        take(this.#cqes[base] ?? 0, this.#cqes[base + 1] ?? 0, this.#cqes[base + 2] ?? 0);
      }
      this.#seen = seen;
    } while (this.#fetchCompletions());
  }

  /** io_uring_register(2) with any opcode. Returns what that does: a value or -errno. */
  register(opcode: number, address: number, count: number): number {
    return this.#native.ringRegister(this.address, opcode, address, count);
  }

  /** Returns 0 or -errno. @see io_uring_clone_buffers_offset(3) */
  clone(sourceFd: number, destinationOffset: number, sourceOffset: number, count: number, flags: number): number {
    return this.#native.ringClone(this.address, sourceFd, destinationOffset, sourceOffset, count, flags);
  }

  /** @see io_uring_register_ring_fd(3) */
  registerRingFd(): void {
    checked(this.#native.ringRegisterRingFd(this.address), "io_uring_register_ring_fd");
  }

  unregisterRingFd(): void {
    checked(this.#native.ringUnregisterRingFd(this.address), "io_uring_unregister_ring_fd");
  }

  /** The ring's eventfd, signalled when completions arrive. The ring's close closes it. */
  eventfd(): number {
    return checked(this.#native.ringEventfd(this.address), "io_uring_register_eventfd");
  }

  /** Tells the teardown of the descriptors that the ring owns, see engines/file-table.ts. */
  setFileTable(address: number, count: number): void {
    this.#native.ringFiles(this.address, address, count);
  }

  /**
   * Cancels what is in flight, waits until the kernel is done with it, unregisters, exits. Again: nothing.
   * @throws UringError: the kernel would not finish, and may still write what its requests name
   */
  close(): void {
    if (this.#closed) return;
    this.#dropViews();
    checked(this.#native.ringClose(this.address), "io_uring_queue_exit");
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The same without waiting, and without cancelling: returns 0, or -EAGAIN where something is in flight, or another -errno. */
  finish(): number {
    this.#dropViews();
    return this.#native.ringFinish(this.address);
  }

  /** Mapped memory is about to go. */
  #dropViews(): void {
    this.#closed = true;
    this.#sqes = this.#sqFlags = this.#cqes = noWords;
    this.#sqHead = this.#cqHead = this.#cqTail = noWords;
  }

  #userData(base: number): number {
    const low = this.#cqes[base] ?? 0;
    const high = this.#cqes[base + 1] ?? 0;
    return high === 0 && low >= 0 ? low : (low >>> 0) + (high >>> 0) * 2 ** 32;
  }

  /** Gives the kernel the entries back whose completions were seen. */
  #publishSeen(): void {
    Atomics.store(this.#cqHead, 0, this.#seen);
  }

  /** When all that is there was seen: has the kernel bring what it holds back, deferred work and completions that found the queue full. Returns whether any came. */
  #fetchCompletions(): boolean {
    this.#publishSeen();
    if (!this.holdsBack) return false;
    if ((Atomics.load(this.#sqFlags, 0) & IORING_SQ_CQ_OVERFLOW) !== 0) this.#overflows++;
    checked(this.#native.ringGetEvents(this.address), "io_uring_get_events");
    return this.#seen !== Atomics.load(this.#cqTail, 0);
  }
}
