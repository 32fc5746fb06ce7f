import { EINTR } from "../errors/errno.ts";
import { checked, UringError } from "../errors/uring-error.ts";
import { mapped, type Native, native } from "./native.ts";
import type { RawRingOptions } from "./options.ts";
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

/** How to create a ring. `cqEntries` and `sqThreadIdleMs` are 0 for their defaults. */
export type UringOptions = Required<RawRingOptions>;

/** The size of a completion queue entry in 32-bit words. Those of an IORING_SETUP_CQE32 ring are twice as large. */
const cqeWords = 4;

const noWords = new Int32Array(0);

/**
 * One io_uring, with its queues mapped as typed arrays: what RawRing and IoUringEngine are built on.
 *
 * Nothing is checked here, and no memory is kept alive. Whoever prepares a request must keep the memory that it names
 * until its last completion, and must close the ring.
 *
 * The queues are shared with the kernel, which may consume submissions and append completions at any time, also while
 * JavaScript runs. This side writes the submission queue's entries and its tail, which the kernel sees only when
 * `submit` has passed it to the shim, and the completion queue's head. It reads the kernel's ends of the queues by
 * Atomics. If the thread is terminated, c/teardown.c continues from what the kernel has seen: it drops what was
 * prepared but not submitted, and sees again each completion whose entry was not given back.
 * @see io_uring(7)
 */
export class Uring implements Disposable {
  /** The address of the ring's struct in the shim. */
  readonly address: number;
  readonly fd: number;
  /** IORING_FEAT_* bits. */
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
  /** Where the next entry goes. Entries up to here are prepared; `submit` publishes them. */
  #sqTail = 0;
  /** The submission queue's head when it was last read: the kernel has taken the entries up to here. */
  #sqTaken = 0;
  /**
   * The completions up to here have been seen. The kernel gets their entries back (`#publishSeen`) before each call
   * that enters it, and when there are no more.
   */
  #seen = 0;
  /** How many of the completions seen were not their request's last (IORING_CQE_F_MORE). */
  #intermediate = 0;
  #overflows = 0;
  #closed = false;

  /** @throws UringError: io_uring_setup(2)'s errors; those of `native` */
  constructor({ entries, cqEntries, flags, sqThreadIdleMs }: UringOptions) {
    // An enter runs at most 20 pieces of deferred work. Without this flag the ring would not show that more is left.
    const taskrun =
      (flags & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN)) === 0 ? 0 : IORING_SETUP_TASKRUN_FLAG;
    this.#native = native();
    const out = scratch(11 * 8);
    checked(
      this.#native.ringInit(entries, cqEntries, (flags | taskrun) >>> 0, sqThreadIdleMs, out.address),
      "io_uring_setup",
    );
    // In the order in which ring_init in c/teardown.c writes them.
    const value = (index: number) => Number(out.longs[index]);
    const words = (index: number, count = 1) => new Int32Array(mapped(value(index), 4 * count));
    this.address = value(0);
    this.fd = value(1);
    this.features = value(2);
    this.sqEntries = value(3);
    this.cqEntries = value(4);
    this.#sqeShift = (flags & IORING_SETUP_SQE128) === 0 ? 0 : 1;
    this.#cqeShift = (flags & IORING_SETUP_CQE32) === 0 ? 0 : 1;
    this.#sqes = words(5, (this.sqEntries * sqeWords) << this.#sqeShift);
    this.#sqHead = words(6);
    this.#sqFlags = words(7);
    this.#cqHead = words(8);
    this.#cqTail = words(9);
    this.#cqes = words(10, (this.cqEntries * cqeWords) << this.#cqeShift);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** How often completions found their queue full and were fetched from the kernel. */
  get overflows(): number {
    return this.#overflows;
  }

  /**
   * Whether every prepared request has had its last completion. Completions of tags count as well, so in a ring with
   * tags this proves nothing.
   */
  get isIdle(): boolean {
    return ((this.#sqTail - this.#seen + this.#intermediate) | 0) === 0;
  }

  /** The index of the submission queue entry that the next request gets. */
  get nextEntry(): number {
    return this.#sqTail & (this.sqEntries - 1);
  }

  /** Whether the kernel has work for the ring that only an enter carries out. */
  get holdsBack(): boolean {
    return (Atomics.load(this.#sqFlags, 0) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) !== 0;
  }

  /** Whether `count` entries are free. Reads the kernel's head only if the last known one is not enough. */
  hasSpace(count: number): boolean {
    if (((this.#sqTail - this.#sqTaken) | 0) + count <= this.sqEntries) return true;
    if (this.#closed) return false;
    this.#sqTaken = Atomics.load(this.#sqHead, 0);
    return ((this.#sqTail - this.#sqTaken) | 0) + count <= this.sqEntries;
  }

  /**
   * Writes the next entry, which must be free. Publishes nothing and does not call C.
   * @param flags - replaces `sqe.flags`, and contains them
   * @param fd - replaces `sqe.fd`: the same descriptor, or its index in the registered table
   * @see io_uring_get_sqe(3)
   */
  prepare(sqe: Sqe, flags: number, fd: number, userData: number): void {
    const tail = this.#sqTail;
    writeSqe(this.#sqes, ((tail & (this.sqEntries - 1)) << this.#sqeShift) * sqeWords, sqe, flags, fd, userData);
    this.#sqTail = (tail + 1) >>> 0;
  }

  /**
   * Submits what was prepared, and lets the kernel carry out the work that it deferred. Returns how many entries the
   * kernel took.
   * @throws UringError: io_uring_enter(2)'s errors
   * @see io_uring_submit(3), io_uring_get_events(3)
   */
  submit(): number {
    this.#publishSeen();
    return checked(this.#native.ringSubmit(this.address, this.#sqTail), "io_uring_submit");
  }

  /**
   * Like `submit`, but also waits for completions. Returns 0 if a signal interrupted it. It does not resume the wait,
   * because JavaScript has to run in between: a Worker that never leaves C could not be terminated.
   * @see io_uring_submit_and_wait(3)
   */
  submitAndWait(count: number): number {
    this.#publishSeen();
    const result = this.#native.ringSubmitAndWait(this.address, this.#sqTail, count);
    return result === EINTR ? 0 : checked(result, "io_uring_submit_and_wait");
  }

  /**
   * Calls back for each available completion, including those for which the queue had no room. Each entry is consumed
   * before its callback, so the callback may submit, close or throw. If it throws, the remaining completions are left
   * for the next call. Returns how many completions there were.
   */
  forEachCompletion(callback: (userData: number, result: number, flags: number) => void): number {
    const mask = this.cqEntries - 1;
    let count = 0;
    let tail = this.#seen;
    while (!this.#closed) {
      const seen = this.#seen;
      // A callback may have called this method, and so have got beyond the tail read before.
      if (((tail - seen) | 0) <= 0) {
        tail = Atomics.load(this.#cqTail, 0);
        if (tail === seen && !this.#fetchCompletions()) break;
      }
      const base = ((seen & mask) << this.#cqeShift) * cqeWords;
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
   * Takes all available completions, including those for which the queue had no room. Entries are consumed only after
   * `take` has returned for them. So if the thread is terminated, the teardown sees every completion that `take` has
   * not noted. It may also see some that `take` has noted. `take` must not throw, submit or close.
   */
  takeCompletions(take: (userDataLow: number, userDataHigh: number, result: number) => void): void {
    const mask = this.cqEntries - 1;
    do {
      const tail = Atomics.load(this.#cqTail, 0);
      let seen = this.#seen;
      for (; seen !== tail; seen = (seen + 1) | 0) {
        const base = ((seen & mask) << this.#cqeShift) * cqeWords;
        if (((this.#cqes[base + 3] ?? 0) & IORING_CQE_F_MORE) !== 0) this.#intermediate++;
        take(this.#cqes[base] ?? 0, this.#cqes[base + 1] ?? 0, this.#cqes[base + 2] ?? 0);
      }
      this.#seen = seen;
    } while (this.#fetchCompletions());
  }

  /** Calls io_uring_register(2) with any opcode. Returns its result: a value or -errno. */
  register(opcode: number, address: number, count: number): number {
    this.#assertOpen("io_uring_register");
    return this.#native.ringRegister(this.address, opcode, address, count);
  }

  /**
   * Clones another ring's registered buffers into this ring's table. Returns 0 or -errno.
   * @param flags - IORING_REGISTER_DST_REPLACE, or 0: then the ring must have no table
   * @see io_uring_clone_buffers_offset(3)
   */
  clone(sourceFd: number, destinationOffset: number, sourceOffset: number, count: number, flags: number): number {
    if (this.#closed) this.#assertOpen("io_uring_clone_buffers");
    return this.#native.ringClone(this.address, sourceFd, destinationOffset, sourceOffset, count, flags);
  }

  /** @see io_uring_register_ring_fd(3) */
  registerRingFd(): void {
    checked(this.#native.ringRegisterRingFd(this.address), "io_uring_register_ring_fd");
  }

  unregisterRingFd(): void {
    checked(this.#native.ringUnregisterRingFd(this.address), "io_uring_unregister_ring_fd");
  }

  /** Creates the ring's eventfd, which the kernel signals when completions arrive. Closing the ring closes it. */
  eventfd(): number {
    return checked(this.#native.ringEventfd(this.address), "io_uring_register_eventfd");
  }

  /** Passes the table of the descriptors that the ring owns to the teardown, see engines/file-table.ts. */
  setFileTable(address: number, count: number): void {
    this.#native.ringFiles(this.address, address, count);
  }

  /**
   * Cancels what is in flight, waits until the kernel is done with it, unregisters buffers and files, and closes the
   * ring. Further calls do nothing.
   * @throws UringError: the requests did not end, and the kernel may still write the memory that they name
   */
  close(): void {
    if (this.#closed) return;
    this.#dropViews();
    checked(this.#native.ringClose(this.address), "io_uring_queue_exit");
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Closes the ring like `close`, but neither waits nor cancels. Returns 0; -EAGAIN if something is still in flight, in
   * which case it must be called again; or another -errno.
   */
  finish(): number {
    this.#dropViews();
    return this.#native.ringFinish(this.address);
  }

  /** Drops the views, because the memory that they map is about to be unmapped. */
  #dropViews(): void {
    this.#closed = true;
    this.#sqes = this.#sqFlags = this.#cqes = noWords;
    this.#sqHead = this.#cqHead = this.#cqTail = noWords;
  }

  /** Arguments are read after their caller's own check, by getters that may close the ring. */
  #assertOpen(syscall: string): void {
    if (this.#closed) throw new UringError("EBADF", syscall, { message: "the ring is closed" });
  }

  #userData(base: number): number {
    const low = this.#cqes[base] ?? 0;
    const high = this.#cqes[base + 1] ?? 0;
    return high === 0 && low >= 0 ? low : (low >>> 0) + (high >>> 0) * 2 ** 32;
  }

  /** Gives the entries of the completions seen back to the kernel. */
  #publishSeen(): void {
    Atomics.store(this.#cqHead, 0, this.#seen);
  }

  /**
   * Call it when all available completions have been seen. Lets the kernel deliver what it holds back: deferred work,
   * and completions that found the queue full. Returns whether any arrived.
   */
  #fetchCompletions(): boolean {
    this.#publishSeen();
    if (!this.holdsBack) return false;
    if ((Atomics.load(this.#sqFlags, 0) & IORING_SQ_CQ_OVERFLOW) !== 0) this.#overflows++;
    checked(this.#native.ringGetEvents(this.address), "io_uring_get_events");
    return this.#seen !== Atomics.load(this.#cqTail, 0);
  }
}
