import { Fifo } from "../base/fifo.ts";
import { processors } from "../base/globals.ts";
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

/** How often the engine looks where the kernel may not signal. */
const watchMs = 4;

/** So many transfers past the page cache are submitted as soon as they are prepared. */
const directBatch = 16;

/** user_data of cancellations, which are no request's: they are counted, and nothing waits for one. */
const cancelKind = 3;
const cancelUserData = cancelKind * kindUnit;

function cancellation(addr: number, opFlags: number): Sqe {
  return { opcode: IORING_OP_ASYNC_CANCEL, flags: 0, fd: -1, off: 0, addr, len: 0, opFlags, bufIndex: 0, spliceFdIn: 0 };
}

/** Whether the kernel looks a request's file up when it is submitted. Others look it up in a worker, when the registered table may just be made anew. */
function looksUpAtOnce({ opcode, flags }: Sqe): boolean {
  return (flags & IOSQE_ASYNC) === 0 && (isTransfer(opcode) || opcode === IORING_OP_POLL_ADD);
}

/**
 * The kernel's worker threads of this thread are as many as its first ring had entries, and that may have been one. Gives them what a large ring would.
 * @see io_uring_register_iowq_max_workers(3)
 */
function allowWorkers(uring: Uring): void {
  const { address, words } = scratch(8);
  words[0] = Math.max(8, 4 * processors);
  checked(uring.register(IORING_REGISTER_IOWQ_MAX_WORKERS, address, 2), "io_uring_register_iowq_max_workers");
}

/**
 * Requests by an io_uring: those that are started between two submissions travel in one system call (or, to a device, in a few). What io_uring does not do right, transfers of
 * files on FUSE, threads of node:fs do.
 */
export class IoUringEngine<Request extends EngineRequest> implements Engine<Request> {
  readonly uring: Uring;
  readonly files: FileTable;
  onWake: () => void = () => undefined;
  readonly #wakeup: Wakeup;
  readonly #inFlight = new InFlight<Request>();
  /** Where completions go while they are taken. */
  #completed: Request[] = [];
  /** Done by threads, and not reaped. */
  readonly #doneByThreads: Request[] = [];
  #waking = false;
  /** Cancellations without room: what they wait behind may wait for them, so they go first. */
  readonly #cancels = new Fifo<Sqe>();
  #cancelsInKernel = 0;
  /** Of those in flight, what waits for what may signal nobody. */
  #anonymous = 0;
  /** Prepared and not submitted; and of those, transfers past the page cache. */
  #prepared = 0;
  #preparedDirect = 0;
  #looking = false;
  #watching = false;
  #submissions = 0;
  #submitted = 0;
  #wakeups = 0;

  /** @throws UringError: those of a ring; EMFILE */
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
    return { submissions: this.#submissions, submitted: this.#submitted, wakeups: this.#wakeups, overflows: this.uring.overflows };
  }

  [Symbol.iterator](): Iterator<Request> {
    return this.#inFlight[Symbol.iterator]();
  }

  /** Never more than completions can hold. */
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
    const isFixed = file !== undefined && chain === undefined && looksUpAtOnce(request) && this.files.isInstalled(file.entry);
    const flags = request.flags | (isFixed ? IOSQE_FIXED_FILE : 0) | (links ? IOSQE_IO_LINK : 0);
    this.uring.prepare(request, flags, isFixed ? file.entry : request.fd, userDataOf(request));
    this.#prepared++;
    if (file?.isDirect === true && chain === undefined && isTransfer(request.opcode) && ++this.#preparedDirect === directBatch) this.#submitAhead();
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

  /** Lets the device begin while the rest of a tick's requests is made: a disk that waits for all of them is idle for a tenth of the time. */
  #submitAhead(): void {
    try {
      this.#enter();
    } catch {
      // The submission of this tick, or of the end of a pause, comes all the same, meets what is in the way, and can wait.
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

  /** Notes one completion. What it brought or took is in the table before the entry is consumed, for a teardown may come between. */
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

  /** A thread's transfer cannot be cancelled. */
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
   * Looks without being woken. Work may bring no completion and leave more to do, a read that is tried again for its next page: Linux 7.3 signals that to nobody. At once
   * it could go on for ever.
   */
  #lookSoon(): void {
    if (this.#looking) return;
    this.#looking = true;
    later(1, () => {
      this.#looking = false;
      this.onWake();
    });
  }

  /** Whether the kernel may queue work for the ring, and signal that to nobody. */
  get #maySkipSignals(): boolean {
    return this.#anonymous > 0 || skipsSignals();
  }

  /** Looks, without a system call, whether the kernel has work that it has not signalled. */
  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    later(watchMs, () => {
      this.#watching = false;
      if (this.uring.closed || !this.busy || !this.#maySkipSignals) return;
      if (this.uring.holdsBack) this.#wakeUp();
      else this.#watch();
    });
  }
}
