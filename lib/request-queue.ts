import { availableParallelism } from "node:os";
import { onAbort } from "./abort.ts";
import { checkSignal, invalidValue, outOfRange } from "./arguments.ts";
import { assert, UringError } from "./errors.ts";
import { Fifo } from "./fifo.ts";
import { FileTable } from "./file-table.ts";
import type { Slot } from "./fixed-buffer.ts";
import { hold, letGo } from "./hold.ts";
import type { OpenFile } from "./open-file.ts";
import { catchUp, isAtOwnPosition, isTransfer, moveOn, ownPositionOf, staysBehind } from "./own-position.ts";
import {
  completionOverflows,
  holdsBack,
  ownRawRing,
  prepareRequest,
  type RawRing,
  type RawRingOptions,
  registerAny,
  ringEventfd,
  submissionSpace,
  takeCompletions,
} from "./raw-ring.ts";
import { scratch } from "./scratch.ts";
import {
  IORING_ASYNC_CANCEL_ALL,
  IORING_ASYNC_CANCEL_ANY,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_CLOSE,
  IORING_OP_POLL_ADD,
  IORING_REGISTER_IOWQ_MAX_WORKERS,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_LINK,
} from "./uapi.ts";
import { Wakeup } from "./wakeup.ts";

/** user_data, 53 bits: kind, generation, index of the operation. The teardown in C reads the kind and the index. */
export const indexSpan = 2 ** 24;
const generationSpan = 2 ** 27;
export const kindUnit = indexSpan * generationSpan;

const EINTR = -4;
const ECANCELED = -125;

/** What one turn of the event loop settles before timers and sockets have theirs: transfers that complete at once would go on for ever. */
const completionsPerTurn = 1024;
const transferredBytesPerTurn = 2 * 2 ** 20;

/** Requests that bring or take a descriptor, which must not be lost whoever sees their completion. */
export const requestKind = { plain: 0, open: 1, close: 2 } as const;

/** What requests use: it is told when each begins and ends. */
export interface Usable {
  /** @throws UringError: it is closed, or given back */
  assertUsable(syscall: string): void;
  beginUse(): void;
  endUse(): void;
  /** No use of it that has begun will end. */
  giveUp?(): void;
}

/** One request, and what belongs to it from its start to its completion: as long as it is here its memory cannot go. */
export interface Request {
  readonly opcode: number;
  readonly sqeFlags: number;
  readonly syscall: string;
  readonly fd: number;
  readonly position: number | bigint;
  readonly address: number | bigint;
  readonly length: number;
  readonly operationFlags: number;
  readonly bufferIndex: number;
  readonly spliceFd: number;
  /** An errno, negative, that is this request's way to succeed; 0: there is none. */
  readonly expectedErrno: number;
  readonly kind: (typeof requestKind)[keyof typeof requestKind];
  /** The file of `fd`, used until the completion. */
  readonly file: OpenFile | undefined;
  /** The slot that `address` lies in. */
  readonly slot: Slot | undefined;
  /** What else is used from the request's start to its completion: other files, and where there are several slots the others. */
  readonly uses: readonly Usable[];
  /** Other memory that the request names. */
  readonly memory: SharedArrayBuffer | readonly SharedArrayBuffer[] | undefined;
  /** For its error to name. */
  readonly path: string | undefined;
  /** The second path, where there are two. */
  readonly destination: string | undefined;
  /** Of the file table: for a close, whose descriptor it is. */
  readonly fileEntry: number;
  /** Turns a result that is no error into what the promise resolves to; called once, before anything else can run. */
  readonly succeed: ((result: number, fileEntry: number) => void) | undefined;
  readonly fail: ((reason: unknown) => void) | undefined;
}

/** A request that needs no more than an opcode and its name: what to begin from. */
export const bareRequest = {
  sqeFlags: 0,
  fd: -1,
  position: 0,
  address: 0,
  length: 0,
  operationFlags: 0,
  bufferIndex: 0,
  spliceFd: 0,
  expectedErrno: 0,
  kind: requestKind.plain,
  file: undefined,
  slot: undefined,
  uses: [],
  memory: undefined,
  path: undefined,
  destination: undefined,
  fileEntry: -1,
  succeed: undefined,
  fail: undefined,
} as const satisfies Partial<Request>;

/** A request that can be started, and what its result, no error, means. */
export interface Prepared<Result> {
  readonly request: Pick<Request, "opcode" | "syscall"> & Partial<Request>;
  result(value: number, fileEntry: number): Result;
}

/** Whether the kernel looks a request's file up when it is submitted. Others look it up in a worker, when the registered table may just be made anew. */
function looksUpAtOnce({ opcode, sqeFlags }: Request): boolean {
  return (sqeFlags & IOSQE_ASYNC) === 0 && (isTransfer(opcode) || opcode === IORING_OP_POLL_ADD);
}

/** Has the file's own position be behind what was transferred. The kernel moves it itself where all of it was; of a vector that is not known here. */
function movePosition({ request, ownPosition, staysBehind }: Operation, transferred: number): void {
  if (staysBehind) moveOn(request, ownPosition + transferred);
  else if (transferred !== request.length) catchUp(request, ownPosition, transferred);
}

function pathsOf({ path: given, destination, file }: Request): { path?: string; destination?: string } {
  const path = given ?? file?.path;
  return { ...(path === undefined ? {} : { path }), ...(destination === undefined ? {} : { destination }) };
}

class Operation {
  readonly request: Request;
  readonly signal: AbortSignal | undefined;
  index = -1;
  userData = -1;
  fileEntry: number;
  /** A value, or -errno. */
  result = 0;
  /** Where the transfer begins, if that is the file's own position; or -1. */
  ownPosition = -1;
  /** The kernel will not move that on. */
  staysBehind = false;
  /** The promise has settled, though the kernel may not be done. */
  settled = false;
  /** Takes the signal's callback back. */
  forget: (() => void) | undefined;
  chain: Chain | undefined;
  /** What the kernel begins when this has succeeded. */
  next: Operation | undefined;

  constructor(request: Request, signal?: AbortSignal) {
    this.request = request;
    this.signal = signal;
    this.fileEntry = request.fileEntry;
  }

  /** What belonged to the operation is its own no more. */
  end(): void {
    this.forget?.();
    this.request.file?.endUse();
    this.request.slot?.endUse();
    for (const use of this.request.uses) use.endUse();
  }

  fail(reason: unknown): void {
    if (this.settled) return;
    this.settled = true;
    this.request.fail?.(reason);
  }
}

/** Operations that the kernel runs one after the other, until one fails. */
class Chain {
  operations: Operation[] = [];
  #failure: { readonly reason: unknown } | undefined;
  readonly #cancelled: Operation[] = [];
  #completed = 0;

  /** The kernel is told all positions at once, so one has to be known before the transfer ahead of it has ended. */
  check(request: Request): void {
    if (staysBehind(request) && this.operations.some((other) => other.request.fd === request.fd && staysBehind(other.request)))
      throw invalidValue("of a chain only one transfer may be at the own position of a file that was opened with O_DIRECT: give the others positions");
  }

  add(operation: Operation): void {
    operation.chain = this;
    const last = this.operations.at(-1);
    if (last !== undefined) last.next = operation;
    this.operations.push(operation);
  }

  /** One has failed. Those that the kernel cancels for it may come before it. */
  failed(operation: Operation, error: UringError): void {
    if (operation.settled) this.#failure ??= { reason: operation.signal?.reason };
    else if (error.code === "ECANCELED") this.#cancelled.push(operation);
    else {
      this.#failure ??= { reason: error };
      operation.fail(error);
    }
  }

  /** One more is through; `why` the rest was cancelled, where nothing has failed. */
  completed(why: string): void {
    this.#completed++;
    if (this.#failure === undefined && this.#completed < this.operations.length) return;
    for (const operation of this.#cancelled.splice(0))
      operation.fail(chainBroken(operation, this.#failure === undefined ? why : undefined, this.#failure?.reason));
  }

  /** Lets go of what comes after an operation that was aborted before the kernel had any. Returns how many had not settled. */
  truncate(): number {
    const broken = this.operations.findIndex(({ settled }) => settled);
    if (broken === -1) return 0;
    const rest = this.operations.splice(broken).filter(({ settled }) => !settled);
    const last = this.operations.at(-1);
    if (last !== undefined) last.next = undefined;
    for (const operation of rest) {
      operation.end();
      operation.fail(chainBroken(operation, undefined, undefined));
    }
    return rest.length;
  }
}

function chainBroken({ request }: Operation, why = "another operation of its chain did not succeed", cause?: unknown): UringError {
  return new UringError("ECANCELED", request.syscall, { message: why, cause });
}

/**
 * The kernel's worker threads of this thread are as many as its first ring had entries, and that may have been one. Gives them what a large ring would.
 * @see io_uring_register_iowq_max_workers(3)
 */
function allowWorkers(ring: RawRing): void {
  const { address, words } = scratch(8);
  words[0] = Math.max(8, 4 * availableParallelism());
  registerAny(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, address, 2, "io_uring_register_iowq_max_workers");
}

function isTransient(error: unknown): boolean {
  return error instanceof UringError && (error.code === "EAGAIN" || error.code === "EBUSY" || error.code === "ENOMEM" || error.code === "EINTR");
}

/**
 * The requests of one ring, on Bun's event loop: those of a tick travel in one system call, more than the ring has room for wait in order, completions settle
 * in the turn that finds them. Held from its creation to the end of its close, and its operations with it.
 */
export class RequestQueue {
  readonly raw: RawRing;
  readonly files: FileTable;
  readonly #wakeup: Wakeup;
  /** In the kernel's hands or prepared for it, by index. */
  readonly #operations: (Operation | undefined)[] = [];
  readonly #unused: number[] = [];
  #inKernel = 0;
  /** What other threads of the process do with the ring's files. */
  #outside = 0;
  #generation = 0;
  /** Without room in the ring yet, in order, chains by their first; those that have settled are skipped. */
  readonly #backlog = new Fifo<Operation>();
  /** Operations of the backlog that have not settled. */
  #waiting = 0;
  /** The chain that is being built. */
  #chain: Chain | undefined;
  /** Cancellations without room: what they wait behind may wait for them, so they go first. */
  readonly #cancels = new Fifo<Operation>();
  #cancelsInKernel = 0;
  #flushing = false;
  #continuing = false;
  #looking = false;
  #settledThisTurn = 0;
  #transferredBytesThisTurn = 0;
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
   * Starts a request; its `succeed` or `fail` is called once. An abort fails it at once, while its memory stays its own until the kernel is done.
   * @throws UringError EBADF: the ring is closed; EIO: it is broken; the signal's reason, where that is aborted
   */
  start(request: Request, signal?: AbortSignal): void {
    this.assertOpen(request.syscall);
    if (signal !== undefined) {
      checkSignal(signal);
      signal.throwIfAborted();
    }
    this.#chain?.check(request);
    // Looked at already, but a getter of the options may have closed or released it since.
    request.file?.assertUsable(request.syscall);
    request.slot?.assertUsable(request.syscall);
    for (const use of request.uses) use.assertUsable(request.syscall);
    const operation = new Operation(request, signal);
    if (signal !== undefined) operation.forget = onAbort(signal, () => this.#abort(operation));
    request.file?.beginUse();
    request.slot?.beginUse();
    for (const use of request.uses) use.beginUse();
    if (this.#chain === undefined) this.#enqueue(operation);
    else this.#chain.add(operation);
  }

  /** Requires that no chain is being built: what takes several requests, one after the other, cannot be one of its operations. */
  assertUnlinked(syscall: string): void {
    if (this.#chain !== undefined) throw invalidValue(`${syscall} takes more than one request, and cannot be an operation of a chain`);
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
        const one = start();
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
    if (first !== undefined) this.#enqueue(first);
    return started;
  }

  /** Starts what `prepare` returns; whatever is wrong with it rejects. */
  run<Result>(prepare: () => Prepared<Result>, signal?: AbortSignal): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    try {
      const { request, result } = prepare();
      const succeed = (value: number, fileEntry: number) => resolve(result(value, fileEntry));
      this.start({ ...bareRequest, ...request, succeed, fail: reject }, signal);
    } catch (error) {
      if (this.#chain !== undefined) throw error; // for `link` to see at once, also through an async function
      reject(error);
    }
    return promise;
  }

  /** Has node:fs do something to a file, which stays open until that is done. */
  async outside<Result>(file: OpenFile, syscall: string, act: (fd: number) => Promise<Result>): Promise<Result> {
    this.assertOpen(syscall);
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
    const fail = (reason: unknown) => {
      // Cancelled by the ring's close, which closes what is left in the table.
      if (reason instanceof UringError && reason.code === "ECANCELED") resolve();
      else reject(reason);
    };
    this.#enqueue(
      new Operation({ ...bareRequest, opcode: IORING_OP_CLOSE, syscall: "close", fd, kind: requestKind.close, fileEntry, succeed: () => resolve(), fail }),
    );
    return promise;
  }

  /**
   * Refuses new requests, cancels what is in flight, waits for all of it, closes the files, then the ring.
   * @throws UringError: what closing a file reported; the ring is closed all the same
   */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  #enqueue(operation: Operation): void {
    if (this.#backlog.size > 0 || !this.#prepare(operation)) {
      this.#backlog.push(operation);
      this.#waiting += operation.chain?.operations.length ?? 1;
    }
    this.#flushSoon();
  }

  #cancel(userData: number, flags: number): void {
    const operation = new Operation({ ...bareRequest, opcode: IORING_OP_ASYNC_CANCEL, syscall: "async_cancel", address: userData, operationFlags: flags });
    if (this.#cancels.size > 0 || !this.#prepare(operation)) this.#cancels.push(operation);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#advance();
    });
  }

  /** Writes the entries of the operation, or of its chain. Returns false where the ring has no room: of operations, never more than completions can hold. */
  #prepare(operation: Operation): boolean {
    const count = operation.chain?.operations.length ?? 1;
    const isCancel = operation.request.opcode === IORING_OP_ASYNC_CANCEL;
    if (submissionSpace(this.raw) < count || (!isCancel && this.#inKernel - this.#cancelsInKernel + count > this.raw.cqEntries)) return false;
    for (let one: Operation | undefined = operation; one !== undefined; one = one.next) this.#write(one);
    return true;
  }

  #write(operation: Operation): void {
    const { request, chain, next } = operation;
    const index = this.#unused.pop() ?? this.#operations.length;
    assert(index < indexSpan, "operations have an index of 24 bits");
    this.#generation = (this.#generation + 1) % generationSpan;
    operation.index = index;
    operation.userData = request.kind * kindUnit + this.#generation * indexSpan + index;
    this.#operations[index] = operation;
    this.#inKernel++;
    if (request.opcode === IORING_OP_ASYNC_CANCEL) this.#cancelsInKernel++;
    if (request.kind === requestKind.close) this.files.closing(request.fileEntry, index);
    const isFixed = request.file !== undefined && chain === undefined && looksUpAtOnce(request) && this.files.isInstalled(request.file.entry);
    if (isAtOwnPosition(request)) {
      operation.ownPosition = ownPositionOf(request);
      operation.staysBehind = staysBehind(request);
    }
    prepareRequest(
      this.raw,
      request.opcode,
      request.sqeFlags | (isFixed ? IOSQE_FIXED_FILE : 0) | (next === undefined ? 0 : IOSQE_IO_LINK),
      isFixed ? (request.file?.entry ?? -1) : request.fd,
      operation.staysBehind ? operation.ownPosition : request.position,
      request.address,
      request.length,
      request.operationFlags,
      operation.userData,
      request.bufferIndex,
      request.spliceFd,
    );
  }

  /** Submits, settles what has completed, and goes on while that makes room for those who wait; after a turn's share, in the next turn. */
  #advance(): void {
    if (this.raw.closed || this.#broken !== undefined || this.#continuing) return;
    do {
      if (!this.#exchange()) return;
      this.#settledThisTurn += this.#completed.length;
      this.#settle();
      if (this.#settledThisTurn >= completionsPerTurn || this.#transferredBytesThisTurn >= transferredBytesPerTurn) {
        this.#continueLater(setImmediate);
        return;
      }
    } while (this.#prepareWaiting());
    if (this.#inKernel > 0) {
      this.#wakeup.arm();
      if (holdsBack(this.raw)) this.#lookSoon();
      return;
    }
    this.#wakeup.disarm();
    if (this.#outside > 0) return;
    this.#idle?.();
    this.#closeAbandoned();
  }

  /**
   * Looks without being woken. Work may bring no completion and leave more to do, a read that is tried again for its next page: Linux 7.3 signals that to nobody. At once
   * it could go on for ever.
   */
  #lookSoon(): void {
    if (this.#looking) return;
    this.#looking = true;
    setTimeout(() => {
      this.#looking = false;
      this.#advance();
    }, 1).unref();
  }

  #closeAbandoned(): void {
    const close = this.#abandoned;
    this.#abandoned = undefined;
    close?.();
  }

  /** Goes on in another turn of the event loop, which `schedule` says when; once, however often it is asked for. */
  #continueLater(schedule: (callback: () => void) => void): void {
    if (this.#continuing) return;
    this.#continuing = true;
    schedule(() => {
      this.#continuing = false;
      this.#settledThisTurn = this.#transferredBytesThisTurn = 0;
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
    for (let operation = this.#backlog.peek(); operation !== undefined; operation = this.#backlog.peek()) {
      if (!operation.settled) {
        if (!this.#prepare(operation)) break;
        this.#waiting -= operation.chain?.operations.length ?? 1;
        prepared = true;
      }
      this.#backlog.shift();
    }
    return prepared;
  }

  /** Submits what is prepared and takes what has completed. Returns false where the kernel takes nothing: for now, and then it is tried again soon; or for good. */
  #exchange(): boolean {
    try {
      this.#submitted += this.raw.submit();
      this.#submissions++;
      takeCompletions(this.raw, this.#take);
      return true;
    } catch (error) {
      if (isTransient(error)) this.#continueLater((again) => setTimeout(again, 1));
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
      operation.request.file?.giveUp();
      for (const use of operation.request.uses) use.giveUp?.();
    }
    for (let operation = this.#backlog.shift(); operation !== undefined; operation = this.#backlog.shift()) this.#dismiss(operation, () => error);
    this.#idle?.();
    this.#closeAbandoned();
  }

  /** Fails an operation that was in the backlog, or its chain. */
  #dismiss(first: Operation, why: (request: Request) => unknown): void {
    for (let operation: Operation | undefined = first; operation !== undefined; operation = operation.next) {
      if (operation.settled) continue;
      this.#waiting--;
      operation.end();
      operation.fail(why(operation.request));
    }
  }

  /** Notes one completion. What it brought or took is in the table before the entry is consumed, for a teardown may come between. */
  readonly #take = (userData: number, result: number): void => {
    const index = userData % indexSpan;
    const operation = this.#operations[index];
    assert(operation?.userData === userData, `a completion of an operation in flight, not of ${userData}`);
    const { kind } = operation.request;
    if (kind === requestKind.open && result >= 0) operation.fileEntry = this.files.add(result);
    if (kind === requestKind.close) {
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
    for (const operation of settling) {
      const { request, result } = operation;
      this.#operations[operation.index] = undefined;
      this.#unused.push(operation.index);
      this.#inKernel--;
      if (request.opcode === IORING_OP_ASYNC_CANCEL) this.#cancelsInKernel--;
      if (result > 0 && isTransfer(request.opcode)) this.#transferredBytesThisTurn += result;
      if (operation.ownPosition !== -1 && result > 0) movePosition(operation, result);
      operation.end();
      if (result < 0 && result !== request.expectedErrno) {
        const error = new UringError(this.#errnoOf(result), request.syscall, { ...pathsOf(request), ...request.file?.explain(result, request) });
        if (operation.chain === undefined) operation.fail(error);
        else operation.chain.failed(operation, error);
      } else if (!operation.settled) {
        operation.settled = true;
        request.succeed?.(result, operation.fileEntry);
      } else if (request.kind === requestKind.open) {
        this.#closeUnseen(result, operation.fileEntry);
      }
      if (operation.chain !== undefined) this.#advanceChain(operation, operation.chain);
    }
    settling.length = 0;
  }

  /** The kernel has begun what comes next in the chain, or given it up. A cancellation before that has missed it. */
  #advanceChain({ next }: Operation, chain: Chain): void {
    chain.completed(this.closed ? "the ring was closed" : "an earlier read or write of its chain was short");
    if (next === undefined || this.#operations[next.index] !== next) return;
    if (this.closed) this.#cancelAll();
    else if (next.settled) this.#cancel(next.userData, 0);
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
    if (operation.settled) return;
    operation.fail(operation.signal?.reason);
    if (operation.index !== -1) {
      this.#cancel(operation.userData, 0);
      return;
    }
    operation.end();
    const { chain } = operation;
    if (chain !== undefined && chain === this.#chain) return;
    const rest = chain?.truncate() ?? 0; // which may end a file's last use, and so queue its close
    this.#waiting -= 1 + rest;
  }

  get #isBusy(): boolean {
    return this.#inKernel + this.#backlog.size + this.#outside > 0;
  }

  async #shutDown(): Promise<void> {
    const backlog: Operation[] = [];
    for (let operation = this.#backlog.shift(); operation !== undefined; operation = this.#backlog.shift()) backlog.push(operation);
    for (const operation of backlog) {
      if (operation.request.kind === requestKind.close) this.#backlog.push(operation);
      else this.#dismiss(operation, ({ syscall }) => new UringError("ECANCELED", syscall, { message: "the ring was closed" }));
    }
    // With nothing to wait for it is closed in the call: who fails to make a ring, and tries again at once, has not two.
    if (this.#isBusy) await this.#drain();
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
      if (seconds === 5) console.warn(`bun-uring: closing a ring waits for ${this.inFlight} requests that the kernel cannot cancel`);
      this.#cancelAll();
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      const timer = setTimeout(resolve, 1000);
      await promise;
      clearTimeout(timer);
    }
  }
}
