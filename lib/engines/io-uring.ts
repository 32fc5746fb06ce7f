import { processors } from "../base/globals.ts";
import { ItemQueue } from "../base/item-queue.ts";
import { later, soon } from "../base/timers.ts";
import { ECANCELED } from "../errors/errno.ts";
import { checked } from "../errors/uring-error.ts";
import { skipsSignals } from "../uring/kernel.ts";
import { scratch } from "../uring/scratch.ts";
import type { Sqe } from "../uring/sqe.ts";
import { isTransfer, isWrite } from "../uring/transfers.ts";
import {
  IORING_ASYNC_CANCEL_ALL,
  IORING_ASYNC_CANCEL_ANY,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_POLL_ADD,
  IORING_REGISTER_IOWQ_MAX_WORKERS,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_LINK,
} from "../uring/uapi.ts";
import { Uring, type UringOptions } from "../uring/uring.ts";
import { Wakeup } from "../uring/wakeup.ts";
import { type Engine, type EngineRequest, type EngineStats, requestKind } from "./engine.ts";
import { FileTable } from "./file-table.ts";
import { InFlight, kindOf, kindUnit, userDataOf } from "./in-flight.ts";
import { transferOnThread } from "./node-transfer.ts";

/** How often the engine polls if the kernel may not signal. */
const watchMs = 4;

/** O_DIRECT transfers are submitted as soon as this many are prepared. */
const directBatch = 16;

/** The user_data of cancellations, which belong to no request. The engine counts them, and ignores their results. */
const cancelKind = 3;
const cancelUserData = cancelKind * kindUnit;

function cancellation(addr: number, opFlags: number): Sqe {
  return {
    opcode: IORING_OP_ASYNC_CANCEL,
    flags: 0,
    fd: -1,
    off: 0,
    addr,
    len: 0,
    opFlags,
    bufIndex: 0,
    spliceFdIn: 0,
  };
}

/**
 * Whether the kernel looks up the request's file when the request is submitted. For other requests a worker looks it up
 * later, when `FileTable` may just be replacing the registered table, so they must name the descriptor.
 */
function looksUpAtOnce({ opcode, flags }: Sqe): boolean {
  return (flags & IOSQE_ASYNC) === 0 && (isTransfer(opcode) || opcode === IORING_OP_POLL_ADD);
}

/**
 * Raises the maximum number of the kernel's worker threads. The kernel sets it for each thread, to the number of
 * entries of the thread's first ring, which may have been one. This sets what a large ring would have had.
 * @see io_uring_register_iowq_max_workers(3)
 */
function allowWorkers(uring: Uring): void {
  const { address, words } = scratch(8);
  words[0] = Math.max(8, 4 * processors);
  checked(uring.register(IORING_REGISTER_IOWQ_MAX_WORKERS, address, 2), "io_uring_register_iowq_max_workers");
}

/**
 * Carries requests out by an io_uring. The requests started between two submissions share one system call, or a few if
 * they are O_DIRECT transfers. Transfers of files on FUSE, which io_uring does not do correctly, go to the threads of
 * node:fs.
 */
export class IoUringEngine<Request extends EngineRequest> implements Engine<Request> {
  readonly uring: Uring;
  readonly files: FileTable;
  onWake: () => void = () => undefined;
  readonly #wakeup: Wakeup;
  readonly #inFlight = new InFlight<Request>();
  /** The array given to `reap`, which `#done` appends to. */
  #completed: Request[] = [];
  /** Requests that threads have completed and `reap` has not reported yet. */
  readonly #doneByThreads: Request[] = [];
  /** `onWake` is already scheduled for them. */
  #waking = false;
  /**
   * Cancellations for which the submission queue has no room yet. They go before new requests: the requests that take
   * up the room may complete only once they are cancelled.
   */
  readonly #cancels = new ItemQueue<Sqe>();
  #cancelsInKernel = 0;
  /** How many requests in flight wait for an event that the kernel may not signal. */
  #anonymous = 0;
  /**
   * How many requests and cancellations were prepared since the last submission, and how many of those are O_DIRECT
   * transfers.
   */
  #prepared = 0;
  #preparedDirect = 0;
  #looking = false;
  #watching = false;
  #isSilent = false;
  #submissions = 0;
  #submitted = 0;
  #wakeups = 0;

  /** @throws UringError: the errors of creating a ring; EMFILE */
  constructor(options: UringOptions) {
    this.uring = new Uring(options);
    try {
      this.files = new FileTable(this.uring);
      allowWorkers(this.uring);
      this.#wakeup = new Wakeup(this.uring.eventfd(), () => this.#wakeUp());
    } catch (error) {
      this.uring.close();
      throw error;
    }
  }

  get longestChain(): number {
    return Math.min(this.uring.sqEntries, this.uring.cqEntries);
  }

  get capacity(): number {
    return this.uring.cqEntries;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  get busy(): boolean {
    return this.#inFlight.size + this.#cancelsInKernel > 0;
  }

  get unsubmitted(): boolean {
    return this.#prepared > 0;
  }

  set referenced(referenced: boolean) {
    this.#wakeup.referenced = referenced;
  }

  get stats(): EngineStats {
    return {
      submissions: this.#submissions,
      submitted: this.#submitted,
      wakeups: this.#wakeups,
      overflows: this.uring.overflows,
    };
  }

  [Symbol.iterator](): Iterator<Request> {
    return this.#inFlight[Symbol.iterator]();
  }

  /** Allows no more requests in flight than the completion queue has entries. */
  hasRoom(count: number): boolean {
    return this.uring.hasSpace(count) && this.#inFlight.size + count <= this.uring.cqEntries;
  }

  start(request: Request, links: boolean): void {
    const { file, particulars, chain } = request;
    this.#inFlight.add(request);
    if (request.kind === requestKind.close) this.files.closing(request.fileEntry, request.index);
    if (particulars !== undefined) {
      if (particulars.anonymous) this.#anonymous++;
      if (particulars.onThread) {
        this.#startOnThread(request);
        return;
      }
    }
    const isFixed =
      file !== undefined && chain === undefined && looksUpAtOnce(request) && this.files.isInstalled(file.entry);
    const flags = request.flags | (isFixed ? IOSQE_FIXED_FILE : 0) | (links ? IOSQE_IO_LINK : 0);
    this.uring.prepare(request, flags, isFixed ? file.entry : request.fd, userDataOf(request));
    this.#prepared++;
    if (
      file?.isDirect === true &&
      chain === undefined &&
      isTransfer(request.opcode) &&
      ++this.#preparedDirect === directBatch
    )
      this.#submitAhead();
  }

  #startOnThread(request: Request): void {
    const written = isWrite(request.opcode) ? request.file?.entry : undefined;
    if (written !== undefined) this.files.writeOutside(written);
    transferOnThread(request, (result) => {
      if (written !== undefined) this.files.writtenOutside(written);
      request.res = result;
      this.#doneByThreads.push(request);
      if (this.#waking) return;
      this.#waking = true;
      soon(() => {
        this.#waking = false;
        this.onWake();
      });
    });
  }

  /**
   * Submits early, so that the device can begin while the rest of the tick's requests is still being made. Otherwise a
   * disk would be idle for that time.
   */
  #submitAhead(): void {
    try {
      this.#enter();
    } catch {
      // Ignore the error: `submit` follows at the end of this tick, or of the queue's pause. It will meet the same
      // error, and its caller can wait and try again.
    }
  }

  submit(): void {
    this.#enter();
  }

  #enter(): void {
    this.#prepared = this.#preparedDirect = 0;
    this.#submitted += this.uring.submit();
    this.#submissions++;
  }

  reap(completed: Request[]): void {
    this.#completed = completed;
    for (const request of this.#doneByThreads) this.#done(request);
    this.#doneByThreads.length = 0;
    this.uring.takeCompletions(this.#take);
    this.#prepareCancels();
  }

  /**
   * Notes one completion. Runs inside `takeCompletions`, which gives the entry back to the kernel only afterwards. So
   * an open's descriptor is in the file table, and a closed one is not, before the teardown of an ended thread can no
   * longer see the completion. Must not throw.
   */
  readonly #take = (userDataLow: number, userDataHigh: number, result: number): void => {
    if (kindOf(userDataHigh) === cancelKind) {
      this.#cancelsInKernel--;
      return;
    }
    const request = this.#inFlight.of(userDataLow, userDataHigh);
    if (request.kind === requestKind.open && result >= 0) request.fileEntry = this.files.add(result);
    if (request.kind === requestKind.close) {
      if (result === ECANCELED) this.files.notClosed(request.fileEntry);
      else this.files.remove(request.fileEntry);
    }
    request.res = result;
    this.#done(request);
  };

  #done(request: Request): void {
    this.#inFlight.remove(request);
    if (request.particulars?.anonymous === true) this.#anonymous--;
    this.#completed.push(request);
  }

  /**
   * Cancels through the kernel. A thread's transfer cannot be cancelled. If the request is no longer in flight, the
   * kernel finds nothing.
   */
  cancel(request: Request): void {
    if (request.particulars?.onThread !== true) this.#cancel(cancellation(userDataOf(request), 0));
  }

  cancelAll(): void {
    this.#cancel(cancellation(0, IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY));
  }

  #cancel(sqe: Sqe): void {
    this.#cancels.push(sqe);
    this.#prepareCancels();
  }

  #prepareCancels(): void {
    for (let sqe = this.#cancels.peek(); sqe !== undefined && this.uring.hasSpace(1); sqe = this.#cancels.peek()) {
      this.#cancels.shift();
      this.uring.prepare(sqe, 0, -1, cancelUserData);
      this.#prepared++;
      this.#cancelsInKernel++;
    }
  }

  arm(): void {
    this.#wakeup.arm();
    if (this.uring.holdsBack) this.#lookSoon();
    else if (this.#maySkipSignals) this.#watch();
  }

  disarm(): void {
    this.#wakeup.disarm();
  }

  silence(): void {
    this.#isSilent = true;
    this.#wakeup.close();
  }

  close(): void {
    this.#wakeup.close();
    this.uring.close();
  }

  #wakeUp(): void {
    this.#wakeups++;
    this.onWake();
  }

  /**
   * Calls `onWake` in a millisecond, without a signal. The kernel's deferred work may produce no completion and leave
   * more work behind, such as a read that is retried for its next page, and Linux 7.3 does not signal that. Not at
   * once: a loop without a pause might never end.
   */
  #lookSoon(): void {
    if (this.#looking) return;
    this.#looking = true;
    later(1, () => {
      this.#looking = false;
      this.onWake();
    });
  }

  /** Whether the kernel may queue work for the ring without signalling its eventfd. */
  get #maySkipSignals(): boolean {
    return this.#anonymous > 0 || skipsSignals();
  }

  /** Polls every `watchMs`, without a system call, for work that the kernel has not signalled. */
  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    later(watchMs, () => {
      this.#watching = false;
      if (this.#isSilent || this.uring.closed || !this.busy || !this.#maySkipSignals) return;
      if (this.uring.holdsBack) this.#wakeUp();
      else this.#watch();
    });
  }
}
