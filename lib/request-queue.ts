import { onAbort, reasonOf, throwIfAborted } from "./abort.ts";
import { checkSignal, invalidValue, outOfRange } from "./arguments.ts";
import { assert } from "./assert.ts";
import type { Descriptor } from "./descriptor.ts";
import { UringError } from "./errors.ts";
import { Fifo } from "./fifo.ts";
import { FileTable } from "./file-table.ts";
import { Bun, Promise, processors } from "./globals.ts";
import { hold, letGo } from "./hold.ts";
import { skipsSignals } from "./kernel.ts";
import { assertNotOfChain, startAsOfChain } from "./linking.ts";
import { NumberedFiles } from "./numbered-file.ts";
import { explainOpen, type OpenFile } from "./open-file.ts";
import { Chain, Operation, type Prepared, requestKind } from "./operation.ts";
import { moveOwnPosition, OwnPositions, placeAtOwnPosition } from "./own-position.ts";
import {
  completionOverflows,
  hasSubmissionSpace,
  holdsBack,
  ownRawRing,
  prepareRequest,
  type RawRing,
  type RawRingOptions,
  registerAny,
  ringEventfd,
  takeCompletions,
} from "./raw-ring.ts";
import { scratch } from "./scratch.ts";
import { canTransferOnThread, transferOnThread } from "./threads.ts";
import { keepAlive, later, letEnd, soon } from "./timers.ts";
import { isTransfer, isWrite } from "./transfers.ts";
import {
  IORING_ASYNC_CANCEL_ALL,
  IORING_ASYNC_CANCEL_ANY,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_CLOSE,
  IORING_OP_POLL_ADD,
  IORING_OP_SPLICE,
  IORING_REGISTER_IOWQ_MAX_WORKERS,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_LINK,
} from "./uapi.ts";
import { Wakeup } from "./wakeup.ts";
import { warn } from "./warn.ts";

/** user_data, 53 bits: kind, generation, index of the operation. The teardown in C reads the kind and the index. */
export const indexSpan = 2 ** 24;
const generationSpan = 2 ** 27;
export const kindUnit = indexSpan * generationSpan;

const EINTR = -4;
const ECANCELED = -125;

/** How long a turn of the event loop settles before others, timers and sockets, have theirs: transfers that complete at once would never let them. */
const shareNs = 500_000;
/** And how much it settles: the clock of tests may stand still. */
const completionsPerTurn = 1024;

/** How often the queue looks where the kernel may not signal. */
const watchMs = 4;

/** So many transfers past the page cache are submitted as soon as they are prepared. */
const directBatch = 16;

/** Whether the kernel looks a request's file up when it is submitted. Others look it up in a worker, when the registered table may just be made anew. */
function looksUpAtOnce({ opcode, sqeFlags }: Operation): boolean {
  return (sqeFlags & IOSQE_ASYNC) === 0 && (isTransfer(opcode) || opcode === IORING_OP_POLL_ADD);
}

/** Kind, generation and index, in one number. */
function userDataOf({ kind, generation, index }: Operation): number {
  return kind * kindUnit + generation * indexSpan + index;
}

/** Whether it may use a file's own position: a chain has to be looked at. */
function mayUseOwnPosition({ opcode, position, chain }: Operation): boolean {
  return chain !== undefined || opcode === IORING_OP_SPLICE || (position === -1 && isTransfer(opcode));
}

function pathsOf({ path: given, destination, file }: Operation): { path?: string; destination?: string } {
  const path = given ?? file?.path;
  return { ...(path === undefined ? {} : { path }), ...(destination === undefined ? {} : { destination }) };
}

/**
 * The kernel's worker threads of this thread are as many as its first ring had entries, and that may have been one. Gives them what a large ring would.
 * @see io_uring_register_iowq_max_workers(3)
 */
function allowWorkers(ring: RawRing): void {
  const { address, words } = scratch(8);
  words[0] = Math.max(8, 4 * processors);
  registerAny(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, address, 2, "io_uring_register_iowq_max_workers");
}

function isTransient(error: unknown): boolean {
  return error instanceof UringError && (error.code === "EAGAIN" || error.code === "EBUSY" || error.code === "ENOMEM" || error.code === "EINTR");
}

/**
 * The requests of one ring, on Bun's event loop: those of a tick travel in one system call (or, for a device, a few), more than the ring has room for wait in order, completions settle
 * in the turn that finds them. Held from its creation to the end of its close, and its operations with it.
 */
export class RequestQueue {
  readonly raw: RawRing;
  readonly files: FileTable;
  readonly #wakeup: Wakeup;
  /** In the kernel's hands or prepared for it, by index. */
  readonly #operations: (Operation | undefined)[] = [];
  readonly #unused: number[] = [];
  /** Completed, for the next: of what is made anew for each operation the collector has its share of the time. */
  readonly #spare: Operation[] = [];
  #inKernel = 0;
  /** What other threads of the process do with the ring's files. */
  #outside = 0;
  #generation = 0;
  /** Without room in the ring yet, in order, chains by their first; those that have settled are skipped. */
  readonly #backlog = new Fifo<Operation>();
  readonly #numbered = new NumberedFiles();
  /** At a file's own position, behind others that are. */
  readonly #positions = new OwnPositions((unit) => {
    this.#backlog.push(unit);
    this.#flushSoon();
  });
  /** Operations that are started and not prepared, and have not settled. */
  #waiting = 0;
  /** The chain that is being built. */
  #chain: Chain | undefined;
  /** Cancellations without room: what they wait behind may wait for them, so they go first. */
  readonly #cancels = new Fifo<Operation>();
  #cancelsInKernel = 0;
  /** Of those in the kernel, what waits for what may signal nobody. */
  #anonymous = 0;
  #flushing = false;
  #continuing = false;
  #looking = false;
  #watching = false;
  /** Transfers past the page cache that are prepared and not submitted. */
  #unsubmittedDirect = 0;
  /** Since the queue began a turn, as when the share of that is over: one that others begin, with their timers and sockets, goes on with both. */
  #settledInTurn = 0;
  #turnEndNs = 0;
  /** Taken from the ring, and not settled yet. */
  #completed: Operation[] = [];
  /** To change places with `#completed`. */
  #settling: Operation[] = [];
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  #abandoned: (() => void) | undefined;
  #gone = false;
  #submissions = 0;
  #submitted = 0;
  #wakeups = 0;
  /** Why the kernel takes nothing any more. */
  #broken: unknown;

  constructor(options: RawRingOptions) {
    this.raw = ownRawRing(options);
    try {
      this.files = new FileTable(this.raw);
      allowWorkers(this.raw);
      this.#wakeup = new Wakeup(ringEventfd(this.raw), () => {
        this.#wakeups++;
        this.#beginTurn();
        this.#advance();
      });
    } catch (error) {
      this.raw.close();
      throw error;
    }
    hold(this);
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** The kernel is done with the ring and its memory. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Operations started and not completed, the queue's own cancellations apart. */
  get inFlight(): number {
    return this.#inKernel - this.#cancelsInKernel + this.#waiting + this.#outside;
  }

  /** Counters since the ring was made, and how it stands. */
  stats(): { inFlight: number; waiting: number; submissions: number; submitted: number; wakeups: number; overflows: number } {
    return {
      inFlight: this.inFlight,
      waiting: this.#waiting,
      submissions: this.#submissions,
      submitted: this.#submitted,
      wakeups: this.#wakeups,
      overflows: completionOverflows(this.raw),
    };
  }

  /** Whether what is in flight keeps the process alive. */
  set referenced(referenced: boolean) {
    this.#wakeup.referenced = referenced;
  }

  /** Nobody can start anything any more: calls `close` as soon as nothing is in flight. */
  abandon(close: () => void): void {
    this.#abandoned = close;
    if (this.#broken === undefined) this.#flushSoon();
    else this.#closeAbandoned();
  }

  assertOpen(syscall: string): void {
    if (this.closed) throw new UringError("EBADF", syscall, { message: "the ring is closed" });
    if (this.#broken !== undefined) throw new UringError("EIO", syscall, { message: "the ring is broken", cause: this.#broken });
  }

  /**
   * Starts an operation; its `succeed` or `reject` is called once. An abort fails it at once, while its memory stays its own until the kernel is done.
   * @throws UringError EBADF: the ring is closed; EIO: it is broken; the signal's reason, where that is aborted
   */
  start(operation: Operation, signal?: AbortSignal): void {
    if (signal !== undefined) this.#heed(operation, signal);
    // From here on no code of the program's runs, which may have closed or released what was looked at before.
    try {
      this.assertOpen(operation.syscall);
      if (this.#chain === undefined) assertNotOfChain(operation.syscall);
      else this.#chain.check(operation);
      operation.assertUsable();
    } catch (error) {
      operation.forget?.();
      throw error;
    }
    if (isTransfer(operation.opcode) || operation.opcode === IORING_OP_POLL_ADD) this.#noteDescriptor(operation);
    operation.begin();
    if (this.#chain === undefined) this.#admit(operation);
    else this.#chain.add(operation);
  }

  /** Notes what is not as with most descriptors. */
  #noteDescriptor(operation: Operation): void {
    let descriptor: Descriptor | undefined = operation.file;
    if (descriptor === undefined) {
      const numbered = this.#numbered.of(operation.fd);
      operation.uses = operation.uses.length === 0 ? numbered.asUses : [...operation.uses, numbered];
      descriptor = numbered.descriptor;
    }
    if (descriptor.anonymous) operation.ownParticulars.anonymous = true;
    if (!descriptor.fuse || operation.opcode === IORING_OP_POLL_ADD) return;
    if (canTransferOnThread(operation)) operation.ownParticulars.onThread = true;
    operation.sqeFlags |= IOSQE_ASYNC;
  }

  /** Has the operation fail when the signal aborts. The signal's methods may be the program's own, and do anything. */
  #heed(operation: Operation, signal: AbortSignal): void {
    let hasAborted = false;
    checkSignal(signal);
    throwIfAborted(signal);
    operation.signal = signal;
    operation.forget = onAbort(signal, () => {
      hasAborted = true;
      if (operation.begun) this.#abort(operation);
    });
    if (!hasAborted) return;
    operation.forget();
    throw reasonOf(signal);
  }

  /** An operation for a transfer of one slot: one that has completed, as far as there is any. */
  reusable(): Operation {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    const operation = new Operation();
    operation.isReusable = true;
    return operation;
  }

  /** Requires that no chain is being built: what is not one request of the ring cannot be one of its operations. */
  assertUnlinked(syscall: string): void {
    if (this.#chain !== undefined) throw invalidValue(`${syscall} is not one request of the ring, and cannot be an operation of a chain`);
  }

  /**
   * Starts what each of `starts` does, one request, as a chain. Throws, and starts none, where one cannot be started.
   * @throws TypeError, RangeError: not one request each, too many of them; what an operation refuses
   */
  link<Started>(starts: readonly (() => Started)[]): Started[] {
    this.assertOpen("link");
    if (this.#chain !== undefined) throw invalidValue("a chain cannot be linked within another");
    const most = Math.min(this.raw.sqEntries, this.raw.cqEntries);
    if (starts.length > most) throw outOfRange("operations.length", `up to ${most}, the ring's entries`, starts.length);
    const chain = new Chain();
    const started: Started[] = [];
    this.#chain = chain;
    try {
      for (const [index, start] of starts.entries()) {
        const one = startAsOfChain(start);
        started.push(one);
        if (one instanceof Promise && Bun.peek.status(one) === "rejected") throw Bun.peek(one);
        const requests = chain.operations.length - index;
        if (requests !== 1) throw invalidValue(`operations[${index}] must start one request of this ring, not ${requests}`);
      }
      this.assertOpen("link");
    } catch (error) {
      for (const one of started) if (one instanceof Promise) one.catch(() => undefined); // what is thrown says it
      for (const operation of chain.operations) {
        if (!operation.settled) operation.end();
        operation.fail(error);
      }
      throw error;
    } finally {
      this.#chain = undefined;
    }
    chain.truncate();
    const [first] = chain.operations;
    if (first !== undefined) this.#admit(first);
    return started;
  }

  /** Starts what `prepare` returns; whatever is wrong with it rejects. */
  run<Result>(prepare: () => Prepared<Result>, signal?: AbortSignal): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    try {
      const { request, result, signal: ownSignal = signal } = prepare();
      const operation = Operation.of(request);
      operation.succeed = (value, fileEntry) => resolve(result(value, fileEntry));
      operation.reject = reject;
      this.start(operation, ownSignal);
    } catch (error) {
      if (this.#chain !== undefined) throw error; // for `link` to see at once, also through an async function
      reject(error);
    }
    return promise;
  }

  /** Has node:fs do something to a file, which stays open until that is done. */
  async outside<Result>(file: OpenFile, syscall: string, act: (fd: number) => Promise<Result>): Promise<Result> {
    this.assertOpen(syscall);
    this.assertUnlinked(syscall);
    file.assertUsable(syscall);
    this.#outside++;
    file.beginUse();
    try {
      return await act(file.fd);
    } finally {
      this.#outside--;
      file.endUse();
      this.#flushSoon();
    }
  }

  /** Closes a descriptor of the file table, also while the ring closes. */
  closeFile(fd: number, fileEntry: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#broken !== undefined) {
      reject(new UringError("EIO", "close", { message: "the ring is broken", cause: this.#broken }));
      return promise;
    }
    const operation = Operation.of({ opcode: IORING_OP_CLOSE, syscall: "close", fd, kind: requestKind.close, fileEntry });
    operation.succeed = () => resolve();
    operation.reject = (reason) => {
      // Cancelled by the ring's close, which closes what is left in the table.
      if (reason instanceof UringError && reason.code === "ECANCELED") resolve();
      else reject(reason);
    };
    this.#waiting++;
    this.#enqueue(operation);
    return promise;
  }

  /**
   * Refuses new requests, cancels what is in flight, waits for all of it, closes the files, then the ring.
   * @throws UringError: what closing a file reported; the ring is closed all the same
   */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#closing = promise; // first, for a signal's own method may close the ring while it is closed
      resolve(this.#shutDown());
    }
    return this.#closing;
  }

  /** Has an operation, or a chain, wait for its turn at files' own positions, or go on at once. */
  #admit(unit: Operation): void {
    this.#waiting += unit.chain?.operations.length ?? 1;
    if (unit.chain?.operations.some(({ particulars }) => particulars?.onThread === true)) unit.chain.isStepwise = true;
    if (!mayUseOwnPosition(unit) || this.#positions.enter(unit)) this.#enqueue(unit);
  }

  #enqueue(unit: Operation): void {
    if (this.#backlog.size > 0 || !this.#prepare(unit)) this.#backlog.push(unit);
    else if (isTransfer(unit.opcode) && unit.file?.isDirect === true && ++this.#unsubmittedDirect === directBatch) this.#submitAhead();
    this.#flushSoon();
  }

  /** Lets the device begin while the rest of a tick's requests is made: a disk that waits for all of them is idle for a tenth of the time. */
  #submitAhead(): void {
    this.#unsubmittedDirect = 0;
    try {
      this.#submitted += this.raw.submit();
      this.#submissions++;
    } catch {
      // The submission of this tick, or of the end of a pause, comes all the same, meets what is in the way, and can wait.
    }
  }

  #cancel(address: number, operationFlags: number): void {
    const operation = Operation.of({ opcode: IORING_OP_ASYNC_CANCEL, syscall: "async_cancel", address, operationFlags });
    if (this.#cancels.size > 0 || !this.#prepare(operation)) this.#cancels.push(operation);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    soon(() => {
      this.#flushing = false;
      this.#advance();
    });
  }

  /**
   * Writes the entries of an operation, or of its chain. Returns false where the ring has no room: of operations, never more than completions can hold. What throws fails
   * the operation, before anything of it is written.
   */
  #prepare(unit: Operation): boolean {
    const { chain, particulars } = unit;
    const isOne = chain === undefined || chain.isStepwise;
    const count = isOne ? 1 : chain.operations.length;
    const isCancel = unit.opcode === IORING_OP_ASYNC_CANCEL;
    if (!hasSubmissionSpace(this.raw, count) || (!isCancel && this.#inKernel - this.#cancelsInKernel + count > this.raw.cqEntries)) return false;
    const operations = isOne ? undefined : chain.operations;
    try {
      if (particulars !== undefined) placeAtOwnPosition(unit, particulars);
      if (operations !== undefined) for (const one of operations) if (one !== unit && one.particulars !== undefined) placeAtOwnPosition(one, one.particulars);
    } catch (error) {
      this.#dismiss(unit, () => error);
      return true;
    }
    if (operations === undefined) this.#write(unit, isOne);
    else for (const one of operations) this.#write(one, false);
    return true;
  }

  #write(operation: Operation, isOne: boolean): void {
    const { file, next, particulars } = operation;
    const index = this.#unused.pop() ?? this.#operations.length;
    assert(index < indexSpan, "operations have an index of 24 bits");
    this.#generation = (this.#generation + 1) % generationSpan;
    operation.index = index;
    operation.generation = this.#generation;
    this.#operations[index] = operation;
    this.#inKernel++;
    if (operation.opcode === IORING_OP_ASYNC_CANCEL) this.#cancelsInKernel++;
    else this.#waiting--;
    if (particulars?.anonymous === true) this.#anonymous++;
    if (operation.kind === requestKind.close) this.files.closing(operation.fileEntry, index);
    if (particulars?.onThread === true) {
      const written = isWrite(operation.opcode) ? file?.entry : undefined;
      if (written !== undefined) this.files.writeOutside(written);
      transferOnThread(operation, (result) => {
        if (written !== undefined) this.files.writtenOutside(written);
        operation.result = result;
        this.#completed.push(operation);
        this.#flushSoon();
      });
      return;
    }
    const isFixed = file !== undefined && operation.chain === undefined && looksUpAtOnce(operation) && this.files.isInstalled(file.entry);
    prepareRequest(
      this.raw,
      operation.opcode,
      operation.sqeFlags | (isFixed ? IOSQE_FIXED_FILE : 0) | (next === undefined || isOne ? 0 : IOSQE_IO_LINK),
      isFixed ? file.entry : operation.fd,
      particulars !== undefined && particulars.beginsAt !== -1 && !particulars.appends ? particulars.beginsAt : operation.position,
      operation.address,
      operation.length,
      operation.operationFlags,
      userDataOf(operation),
      operation.bufferIndex,
      operation.spliceFd,
    );
  }

  /** Submits, settles what has completed, and goes on while that makes room for those who wait; after a turn's share, in the next turn. */
  #advance(): void {
    if (this.raw.closed || this.#broken !== undefined || this.#continuing) return;
    do {
      if (this.#inKernel === 0) continue; // nothing is prepared, nor can complete
      if (!this.#exchange()) return;
      const settled = this.#completed.length;
      this.#settledInTurn += settled;
      this.#settle();
      // Where nothing was settled, nothing goes on by itself.
      if (settled > 0 && this.#isTurnOver()) {
        this.#continueLater(0);
        return;
      }
    } while (this.#prepareWaiting());
    if (this.#inKernel > 0) {
      this.#wakeup.arm();
      if (holdsBack(this.raw)) this.#lookSoon();
      else if (this.#maySkipSignals) this.#watch();
      return;
    }
    this.#wakeup.disarm();
    if (this.#outside > 0) return;
    this.#idle?.();
    this.#closeAbandoned();
  }

  #beginTurn(): void {
    this.#settledInTurn = 0;
    this.#turnEndNs = Bun.nanoseconds() + shareNs;
  }

  #isTurnOver(): boolean {
    return this.#settledInTurn >= completionsPerTurn || Bun.nanoseconds() >= this.#turnEndNs;
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
      this.#beginTurn();
      this.#advance();
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
      if (this.raw.closed || this.#broken !== undefined || this.#inKernel === 0 || !this.#maySkipSignals) return;
      if (!holdsBack(this.raw)) {
        this.#watch();
        return;
      }
      this.#wakeups++;
      this.#beginTurn();
      this.#advance();
    });
  }

  #closeAbandoned(): void {
    const close = this.#abandoned;
    this.#abandoned = undefined;
    close?.();
  }

  /** Goes on `ms` later, 0: in the next turn of the event loop; once, however often it is asked for. Nothing else may be there to keep the process alive until then. */
  #continueLater(ms: number): void {
    if (this.#continuing) return;
    this.#continuing = true;
    keepAlive();
    later(ms, () => {
      letEnd();
      this.#continuing = false;
      this.#beginTurn();
      if (this.raw.closed || this.#broken !== undefined) return;
      this.#prepareWaiting();
      this.#advance();
    });
  }

  /** Prepares what waits, as far as there is room. Returns whether anything was. */
  #prepareWaiting(): boolean {
    let prepared = false;
    for (let operation = this.#cancels.peek(); operation !== undefined && this.#prepare(operation); operation = this.#cancels.peek()) {
      this.#cancels.shift();
      prepared = true;
    }
    for (let unit = this.#backlog.peek(); unit !== undefined; unit = this.#backlog.peek()) {
      if (!unit.settled) {
        if (!this.#prepare(unit)) break;
        prepared = true;
      }
      this.#backlog.shift();
    }
    return prepared;
  }

  /** Submits what is prepared and takes what has completed. Returns false where the kernel takes nothing: for now, and then it is tried again soon; or for good. */
  #exchange(): boolean {
    this.#unsubmittedDirect = 0;
    try {
      this.#submitted += this.raw.submit();
      this.#submissions++;
      takeCompletions(this.raw, this.#take);
      return true;
    } catch (error) {
      if (isTransient(error)) this.#continueLater(1);
      else this.#break(error);
      return false;
    }
  }

  /** Nothing will complete any more. Memory stays held all the same: the kernel has not said that it is done. */
  #break(error: unknown): void {
    this.#settle();
    this.#broken = error;
    this.#wakeup.close();
    for (const operation of this.#operations) {
      if (operation === undefined) continue;
      operation.fail(error);
      operation.giveUp();
      if (operation.chain?.isStepwise === true && operation.next !== undefined) this.#dismiss(operation.next, () => error);
    }
    for (const unit of this.#takeWaiting()) this.#dismiss(unit, () => error);
    this.#idle?.();
    this.#closeAbandoned();
  }

  /** What waits for room, or for its turn at a file's own position. */
  #takeWaiting(): Operation[] {
    const waiting = new Set(this.#positions.waiting());
    for (let unit = this.#backlog.shift(); unit !== undefined; unit = this.#backlog.shift()) waiting.add(unit);
    return [...waiting];
  }

  /** Fails an operation that is not prepared, or its chain. */
  #dismiss(first: Operation, why: (operation: Operation) => unknown): void {
    for (let operation: Operation | undefined = first; operation !== undefined; operation = operation.next) {
      if (operation.settled) continue;
      this.#waiting--;
      operation.end();
      operation.fail(why(operation));
    }
  }

  /** Notes one completion. What it brought or took is in the table before the entry is consumed, for a teardown may come between. */
  readonly #take = (userDataLow: number, userDataHigh: number, result: number): void => {
    const operation = this.#operations[userDataLow & (indexSpan - 1)];
    const generation = ((userDataLow >>> 24) | (userDataHigh << 8)) & (generationSpan - 1);
    assert(operation?.generation === generation, "a completion of an operation in flight");
    if (operation.kind === requestKind.open && result >= 0) operation.fileEntry = this.files.add(result);
    if (operation.kind === requestKind.close) {
      if (result === ECANCELED) this.files.notClosed(operation.fileEntry);
      else this.files.remove(operation.fileEntry);
    }
    operation.result = result;
    this.#completed.push(operation);
  };

  /** Settles what was taken. Callers' code runs after this, never within. */
  #settle(): void {
    const settling = this.#completed;
    this.#completed = this.#settling;
    this.#settling = settling;
    // In two goes: in the first no operation has to wait until the memory of the one before has come from afar.
    for (const operation of settling) {
      this.#operations[operation.index] = undefined;
      this.#unused.push(operation.index);
      this.#inKernel--;
      if (operation.opcode === IORING_OP_ASYNC_CANCEL) this.#cancelsInKernel--;
      const { particulars } = operation;
      if (particulars !== undefined) {
        if (particulars.anonymous) this.#anonymous--;
        moveOwnPosition(operation, particulars);
      }
      operation.end();
    }
    for (const operation of settling) {
      const { result, chain } = operation;
      const wasAborted = operation.settled;
      if (result < 0 && result !== operation.expectedErrno) this.#fail(operation, result);
      else if (!operation.settled) {
        this.#succeed(operation);
      } else if (operation.kind === requestKind.open) {
        this.#closeUnseen(result, operation.fileEntry);
      }
      if (chain !== undefined) this.#advanceChain(operation, chain, wasAborted);
      else if (operation.isReusable && this.#spare.length < this.raw.cqEntries) {
        operation.reset();
        this.#spare.push(operation);
      }
    }
    settling.length = 0;
  }

  #succeed(operation: Operation): void {
    operation.settled = true;
    try {
      operation.succeed?.(operation.result, operation.fileEntry);
    } catch (error) {
      operation.reject?.(error);
    }
  }

  #fail(operation: Operation, errno: number): void {
    const { syscall, file, chain, opcode, operationFlags } = operation;
    const why = file?.explain(errno, operation) ?? explainOpen(errno, opcode, operationFlags);
    const error = new UringError(this.#errnoOf(errno), syscall, { ...pathsOf(operation), ...why });
    if (chain === undefined) operation.fail(error);
    else chain.failed(operation, error);
  }

  /** @param wasAborted - before its completion */
  #advanceChain(operation: Operation, chain: Chain, wasAborted: boolean): void {
    const { next } = operation;
    const why = this.closed ? "the ring was closed" : "an earlier read or write of its chain was short";
    if (chain.isStepwise && next !== undefined) {
      if (wasAborted) chain.aborted(operation);
      if (operation.isWhole() && !wasAborted && !this.closed) this.#enqueue(next);
      else this.#waiting -= chain.cutAfter(operation, why);
    }
    chain.completed(why);
    // The kernel has begun what comes next, or given it up. A cancellation before that has missed it.
    if (chain.isStepwise || next === undefined || this.#operations[next.index] !== next) return;
    if (this.closed) this.#cancelAll();
    else if (next.settled) this.#cancel(userDataOf(next), 0);
  }

  #cancelAll(): void {
    this.#cancel(0, IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);
  }

  /** What a cancellation interrupts may complete with EINTR (Linux 7.3), or with an errno of the kernel's own, ERESTARTSYS and its like. */
  #errnoOf(result: number): number {
    if (result !== EINTR && (result > -512 || result < -516)) return result;
    return this.closed ? ECANCELED : EINTR;
  }

  /** Closes a file whose open was aborted: nobody is there to hear of it. */
  #closeUnseen(fd: number, fileEntry: number): void {
    this.closeFile(fd, fileEntry).catch(() => undefined);
  }

  #abort(operation: Operation): void {
    const reason = operation.signal && reasonOf(operation.signal); // by a getter that may be the program's own, and close the ring
    if (operation.settled) return;
    operation.fail(reason);
    if (operation.index !== -1) {
      if (operation.particulars?.onThread !== true) this.#cancel(userDataOf(operation), 0);
      return;
    }
    operation.end();
    const { chain } = operation;
    if (chain !== undefined && chain === this.#chain) return;
    const rest = chain?.cutAt(operation) ?? 0; // which may end a file's last use, and so queue its close
    this.#waiting -= 1 + rest;
    this.#flushSoon(); // what waits behind it may have room now
  }

  get #isBusy(): boolean {
    return this.#inKernel + this.#backlog.size + this.#outside > 0;
  }

  async #shutDown(): Promise<void> {
    for (const unit of this.#takeWaiting()) {
      if (unit.kind === requestKind.close) this.#backlog.push(unit);
      else this.#dismiss(unit, ({ syscall }) => new UringError("ECANCELED", syscall, { message: "the ring was closed" }));
    }
    // With nothing to wait for it is closed in the call: who fails to make a ring, and tries again at once, has not two.
    if (this.#isBusy) {
      keepAlive();
      await this.#drain().finally(letEnd);
    }
    // A ring that is broken leaves its files to the teardown.
    const closing = this.#broken === undefined ? Array.from(this.files, ({ entry, fd }) => this.closeFile(fd, entry)) : [];
    const closed = closing.length > 0 ? await Promise.allSettled(closing) : [];
    this.#wakeup.close();
    this.raw.close();
    letGo(this);
    this.#gone = true;
    for (const outcome of closed) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** Cancels until nothing is in flight: only a request's own completion says that the kernel is done with its memory. */
  async #drain(): Promise<void> {
    for (let seconds = 0; this.#isBusy && this.#broken === undefined; seconds++) {
      if (seconds === 5) warn(`bun-uring: closing a ring waits for ${this.inFlight} requests that the kernel cannot cancel`);
      this.#cancelAll();
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      later(1000, resolve);
      await promise;
    }
  }
}
