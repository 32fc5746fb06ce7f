import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { checkSignal, invalidValue, outOfRange } from "../base/arguments.ts";
import { Bun, Promise } from "../base/globals.ts";
import { hold, letGo } from "../base/hold.ts";
import { ItemQueue } from "../base/item-queue.ts";
import { keepAlive, later, letEnd } from "../base/timers.ts";
import { warn } from "../base/warn.ts";
import { type Engine, requestKind } from "../engines/engine.ts";
import { canTransferOnThread } from "../engines/node-transfer.ts";
import { ECANCELED, EINTR } from "../errors/errno.ts";
import { UringError } from "../errors/uring-error.ts";
import { isTransfer } from "../uring/transfers.ts";
import { IORING_OP_CLOSE, IORING_OP_POLL_ADD, IORING_OP_SPLICE, IOSQE_ASYNC } from "../uring/uapi.ts";
import { assertNotOfChain, startAsOfChain } from "./chain-start.ts";
import type { Descriptor } from "./descriptor.ts";
import { Loop } from "./loop.ts";
import { NumberedFiles } from "./numbered-file.ts";
import { explainOpen, type OpenFile } from "./open-file.ts";
import { Chain, Operation, operationState, type Request } from "./operation.ts";
import { moveOwnPosition, OwnPositions, placeAtOwnPosition } from "./own-position.ts";

/** Whether the unit may use a file's own position. The operations of a chain are examined later. */
function mayUseOwnPosition({ opcode, off, chain }: Operation): boolean {
  return chain !== undefined || opcode === IORING_OP_SPLICE || (off === -1 && isTransfer(opcode));
}

/** The paths to name in an error. */
function pathsOf({ path: given, destination, file }: Operation): { path?: string; destination?: string } {
  const path = given ?? file?.path;
  return { ...(path === undefined ? {} : { path }), ...(destination === undefined ? {} : { destination }) };
}

/** Whether the engine may succeed if it is asked again. Any other error is final. */
function isTransient(error: unknown): boolean {
  return (
    error instanceof UringError &&
    (error.code === "EAGAIN" || error.code === "EBUSY" || error.code === "ENOMEM" || error.code === "EINTR")
  );
}

/**
 * The requests of one ring, from `start` until the promise settles. An engine (engines/engine.ts) carries them out.
 * Requests for which it has no room wait in order. Completions settle in the turn that finds them.
 *
 * The way of an operation, with its state:
 * 1. `start` checks it and calls `begin`, which counts its uses (waiting). Chains collect their operations first.
 * 2. `#admit` puts it in line for a file's own position if it uses one, and then `#enqueue` gives it to the engine or
 *   appends it to the backlog.
 * 3. `#begin` gives it, or its whole chain, to the engine (started).
 * 4. `#advance` submits what was started and reaps what has completed: once a tick in a microtask, and whenever the
 *   engine wakes the queue.
 * 5. `#settle` calls `end` (ended) and then settles the promise.
 *
 * The rules that keep memory safe:
 * - A started operation ends only after the engine has reported it, whether or not it was aborted. An operation that
 *   the engine never had may end at any time.
 * - The queue is held (base/hold.ts) from its creation until the engine is closed, and refers to its operations. If the
 *   engine breaks or cannot be closed, the queue stays held for good: nothing proves that the kernel is done.
 * - A signal may be an object of the program's own, whose methods and getters may call any method of the queue. They
 *   run in `start`, in `Operation.end`, and where an abort's reason is read. What was checked before such a call must
 *   be checked again.
 */
export class RequestQueue {
  readonly engine: Engine<Operation>;
  readonly #loop = new Loop(() => this.#advance());
  /**
   * Units that found no room in the engine, in order; a chain is represented by its first operation. Entries that have
   * settled since are skipped.
   */
  readonly #backlog = new ItemQueue<Operation>();
  readonly #numbered = new NumberedFiles();
  /** Units that wait for others at a file's own position. */
  readonly #positions = new OwnPositions((unit) => {
    this.#backlog.push(unit);
    this.#loop.soon();
  });
  /** How many operations wait for their turn or for room, and have not settled. Counted per operation, not per unit. */
  #waiting = 0;
  /** How many tasks have not ended, see `task`. */
  #tasks = 0;
  /** See `onClosing`. */
  readonly #closers = new Set<() => void>();
  /** The chain that `startChain` is building. */
  #chain: Chain | undefined;
  /** Reported by the engine, and not settled yet. */
  #completed: Operation[] = [];
  /** Swapped with `#completed` by `#settle`. */
  #settling: Operation[] = [];
  /** A signal's own method may close the ring meanwhile: that waits until every operation of the batch is settled. */
  #isSettling = false;
  /** Completed operations to use again, so that a transfer creates less garbage. */
  readonly #spare: Operation[] = [];
  /** The promise of `close`, once it was called. */
  #closing: Promise<void> | undefined;
  /** Operations of chains that are cancelled and have not completed, see `#cancelAgainIn`. */
  readonly #cancelled = new Set<Operation>();
  /** An operation that has `complete` was cancelled in the backlog. */
  #hasCancelledWaiting = false;
  #repetition: { readonly ms: number } | undefined;
  /** Wakes `#drain`, which then checks whether anything is still in flight. */
  #idle: (() => void) | undefined;
  /** Closes the ring, once nothing is in flight. See `abandon`. */
  #abandoned: (() => void) | undefined;
  /** The engine is being closed, and must not be called any more. */
  #ended = false;
  /** The engine is closed. See `gone`. */
  #gone = false;
  /** The error after which the engine takes nothing any more. */
  #broken: unknown;

  constructor(engine: Engine<Operation>) {
    this.engine = engine;
    engine.onWake = () => this.#loop.wake();
    hold(this);
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether the engine has failed for good: requests reject with EIO. */
  get broken(): boolean {
    return this.#broken !== undefined;
  }

  /** Whether the queue has used up its share of the turn: what is started now is submitted in the next turn. */
  get paused(): boolean {
    return this.#loop.paused;
  }

  /** Whether the engine is closed, so that nothing writes the memory of any request. */
  get gone(): boolean {
    return this.#gone;
  }

  /** How many operations were started and have not settled. */
  get inFlight(): number {
    return (this.#gone ? 0 : this.engine.inFlight) + this.#completed.length + this.#waiting + this.#tasks;
  }

  /** Counters since the ring was created, and its current state. */
  stats() {
    const { submissions, submitted, wakeups, overflows } = this.engine.stats;
    return { inFlight: this.inFlight, waiting: this.#waiting, submissions, submitted, wakeups, overflows };
  }

  /**
   * Notes that nothing can start requests any more, because the ring and its files were garbage-collected. Calls
   * `close` as soon as nothing is in flight.
   */
  abandon(close: () => void): void {
    this.#abandoned = close;
    if (this.#broken === undefined) this.#loop.soon();
    else this.#closeAbandoned();
  }

  assertOpen(syscall: string): void {
    if (this.closed) throw new UringError("EBADF", syscall, { message: "the ring is closed" });
    if (this.#broken !== undefined) throw this.#brokenError(syscall);
  }

  #brokenError(syscall: string): UringError {
    return new UringError("EIO", syscall, { message: "the ring is broken", cause: this.#broken });
  }

  /**
   * Starts an operation. Exactly one of its `succeed` and `reject` will be called, once. An abort calls `reject` at
   * once, but the operation keeps its memory, file and slot in use until the engine is done with it.
   * @throws UringError EBADF: the ring is closed; EIO: the ring is broken; the signal's reason if it is already
   *   aborted. If it throws, the operation has not begun
   */
  start(operation: Operation, signal?: AbortSignal): void {
    if (signal !== undefined) this.#heed(operation, signal);
    // From here to `begin` none of the program's code runs. It could otherwise close or release what has been checked.
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

  /** Notes what is unusual about the operation's descriptor, see `Descriptor`. */
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
    operation.flags |= IOSQE_ASYNC;
  }

  /**
   * Makes the operation fail when the signal aborts. The signal's methods may be the program's own and do anything,
   * including aborting or closing the ring. That is why this comes before all checks, and why an abort during `onAbort`
   * is noticed here.
   */
  #heed(operation: Operation, signal: AbortSignal): void {
    let hasAborted = false;
    checkSignal(signal);
    throwIfAborted(signal);
    operation.signal = signal;
    operation.forget = onAbort(signal, () => {
      hasAborted = true;
      if (operation.state !== operationState.prepared) this.#abort(operation);
    });
    if (!hasAborted) return;
    operation.forget();
    throw reasonOf(signal);
  }

  /** Returns an operation for a transfer of a single slot: a completed one if there is one. See `Operation.reset`. */
  reusable(): Operation {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    const operation = new Operation();
    operation.isReusable = true;
    return operation;
  }

  get isBuildingChain(): boolean {
    return this.#chain !== undefined;
  }

  /**
   * Requires that no chain is being built. For calls that make several requests, or none: they cannot be an operation
   * of a chain.
   */
  assertNotInChain(syscall: string): void {
    if (this.#chain !== undefined)
      throw invalidValue(`${syscall} is not one request of the ring, and cannot be an operation of a chain`);
  }

  /**
   * Calls each function of `starts`, which must start exactly one request, and starts those requests as a chain. If any
   * of them cannot be started, it throws and none is started. The functions are the program's code.
   * @throws TypeError, RangeError: a function did not start exactly one request; too many operations; an operation's
   *   own errors
   */
  startChain<Started>(starts: readonly (() => Started)[]): Started[] {
    this.assertOpen("chain");
    if (this.#chain !== undefined) throw invalidValue("a chain cannot be started within another");
    const most = this.engine.longestChain;
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
        if (requests !== 1)
          throw invalidValue(`operations[${index}] must start one request of this ring, not ${requests}`);
      }
      this.assertOpen("chain");
    } catch (error) {
      // The caller gets the error thrown below.
      for (const one of started) if (one instanceof Promise) one.catch(() => undefined);
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

  /**
   * Starts the request that `prepare` returns. All errors reject the promise, except that while a chain is being built
   * they are thrown.
   */
  run<Result>(prepare: () => Request<Result>, signal?: AbortSignal): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    try {
      const request = prepare();
      const { signal: ownSignal = signal } = request;
      const operation = Operation.of(request);
      operation.succeed = (res, fileEntry) => resolve(request.result(res, fileEntry));
      operation.reject = reject;
      this.start(operation, ownSignal);
    } catch (error) {
      // So that `startChain` sees it at once, also through an async function.
      if (this.#chain !== undefined) throw error;
      reject(error);
    }
    return promise;
  }

  /** Counts a task of several requests as in flight, so that a dropped ring is not closed between two of them. */
  async task<Result>(act: () => Promise<Result>): Promise<Result> {
    this.#tasks++;
    try {
      return await act();
    } finally {
      this.#tasks--;
      this.#loop.soon();
    }
  }

  /**
   * Calls back when the ring begins to close, or at once if it has begun. `close` waits for tasks: one that waits for
   * the program, which may take any time, has to end when this is called. Returns a function that removes the callback.
   */
  onClosing(callback: () => void): () => void {
    if (this.closed) callback();
    else this.#closers.add(callback);
    return () => this.#closers.delete(callback);
  }

  /** Lets node:fs do something to a file. The file stays open until that is done. */
  async outside<Result>(file: OpenFile, syscall: string, act: (fd: number) => Promise<Result>): Promise<Result> {
    this.assertOpen(syscall);
    this.assertNotInChain(syscall);
    file.assertUsable(syscall);
    file.beginUse();
    file.changes++;
    return await this.task(() => act(file.fd)).finally(() => file.endUse());
  }

  /**
   * Starts an operation that has `complete`, or the chain that it is the first of. They can be started again after they
   * have completed. Checks nothing, and works while the ring is closing, too.
   */
  startAgain(first: Operation): void {
    for (let operation: Operation | undefined = first; operation !== undefined; operation = operation.next) {
      operation.settled = false;
      operation.begin();
      this.#waiting++;
    }
    if (this.#broken === undefined) this.#enqueue(first);
    else this.#completeUnstarted(first);
  }

  /** Cancels such an operation, if it has not completed. It still completes: with -ECANCELED if it has not begun. */
  cancelAgain(operation: Operation): void {
    if (operation.state === operationState.started) this.#cancel(operation);
    if (operation.state !== operationState.waiting) return;
    operation.settled = true;
    this.#hasCancelledWaiting = true;
    this.#loop.soon();
  }

  /** Completes operations that have `complete` and that the engine does not have. */
  #completeUnstarted(first: Operation): void {
    for (let operation: Operation | undefined = first; operation !== undefined; operation = operation.next) {
      this.#waiting--;
      operation.end();
      operation.complete?.(ECANCELED, -1);
    }
  }

  /** Closes a descriptor of the file table. Works while the ring is closing, too. */
  closeFile(fd: number, fileEntry: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#broken !== undefined) {
      reject(this.#brokenError("close"));
      return promise;
    }
    const operation = new Operation();
    operation.opcode = IORING_OP_CLOSE;
    operation.syscall = "close";
    operation.fd = fd;
    operation.kind = requestKind.close;
    operation.fileEntry = fileEntry;
    operation.succeed = () => resolve();
    operation.reject = (reason) => {
      // Cancelled because the ring is closing. The descriptor is still in the table, and closing the ring closes it.
      if (reason instanceof UringError && reason.code === "ECANCELED") resolve();
      else reject(reason);
    };
    operation.begin();
    this.#waiting++;
    this.#enqueue(operation);
    return promise;
  }

  /**
   * Refuses new requests, cancels what is in flight, waits for all of it, closes the files, and then the engine.
   * @throws UringError: the error of closing a file, in which case the ring is closed all the same; or the engine could
   *   not be closed
   */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#closing = promise; // set first: `#shutDown` may run a signal's methods, and those may close the ring
      resolve(this.#shutDown());
    }
    return this.#closing;
  }

  /** Lets an operation, or a chain, wait for its turn at files' own positions, or passes it on at once. */
  #admit(unit: Operation): void {
    this.#waiting += unit.chain?.operations.length ?? 1;
    if (unit.chain?.operations.some(({ particulars }) => particulars?.onThread === true)) unit.chain.isStepwise = true;
    if (!mayUseOwnPosition(unit) || this.#positions.enter(unit)) this.#enqueue(unit);
  }

  /** Gives a unit to the engine, or appends it to the backlog. Nothing overtakes the backlog. */
  #enqueue(unit: Operation): void {
    if (this.#backlog.size > 0 || !this.#begin(unit)) this.#backlog.push(unit);
    this.#loop.soon();
  }

  /**
   * Gives an operation, or all of its chain, to the engine. Returns false if the engine has no room. Everything that
   * may throw comes before the first `engine.start`: an error then fails the unit while the engine has none of it.
   */
  #begin(unit: Operation): boolean {
    const { chain, particulars } = unit;
    const rest = chain === undefined || chain.isStepwise ? undefined : chain.operations;
    if (!this.engine.hasRoom(rest?.length ?? 1)) return false;
    try {
      if (particulars !== undefined) placeAtOwnPosition(unit, particulars);
      if (rest !== undefined)
        for (const one of rest)
          if (one !== unit && one.particulars !== undefined) placeAtOwnPosition(one, one.particulars);
    } catch (error) {
      this.#dismiss(unit, () => error);
      return true;
    }
    if (rest === undefined) this.#startInEngine(unit, false);
    else for (const one of rest) this.#startInEngine(one, one.next !== undefined);
    return true;
  }

  /** The state changes first: from here on only the engine's report ends the operation. */
  #startInEngine(operation: Operation, links: boolean): void {
    operation.state = operationState.started;
    this.#waiting--;
    this.engine.start(operation, links);
  }

  /**
   * Submits what was started and settles what has completed. Repeats that as long as it makes room for waiting
   * requests, until the turn's share is used up. It then continues in the next turn.
   */
  #advance(): void {
    if (this.#ended || this.#broken !== undefined || this.#loop.paused) return;
    this.#beginWaiting();
    do {
      if (!this.#engineIsBusy) continue; // nothing is in flight: go to the loop's condition
      if (!this.#exchange()) return;
      const settled = this.#settle();
      // If nothing was settled, the next completion needs a wake-up, so the share need not be checked.
      if (settled > 0 && this.#loop.spend(settled)) {
        this.#loop.pause(0);
        return;
      }
    } while (this.#beginWaiting() || this.engine.unsubmitted);
    if (this.#engineIsBusy) {
      this.engine.arm();
      return;
    }
    this.engine.disarm();
    if (this.#tasks > 0) return;
    this.#idle?.();
    this.#closeAbandoned();
  }

  #closeAbandoned(): void {
    const close = this.#abandoned;
    this.#abandoned = undefined;
    close?.();
  }

  /** Completes the cancelled units of the backlog. They must not wait until those before them have begun. */
  #completeCancelled(): void {
    this.#hasCancelledWaiting = false;
    const cancelled: Operation[] = [];
    for (let left = this.#backlog.size; left > 0; left--) {
      const unit = this.#backlog.shift();
      if (unit?.settled === true && unit.complete !== undefined) cancelled.push(unit);
      else if (unit !== undefined) this.#backlog.push(unit);
    }
    for (const unit of cancelled) this.#completeUnstarted(unit);
  }

  /** Gives waiting units to the engine, as far as it has room. Returns whether it gave any. */
  #beginWaiting(): boolean {
    if (this.#hasCancelledWaiting) this.#completeCancelled();
    let begun = false;
    for (let unit = this.#backlog.peek(); unit !== undefined; unit = this.#backlog.peek()) {
      if (!unit.settled) {
        if (!this.#begin(unit)) break;
        begun = true;
      }
      this.#backlog.shift();
      if (unit.settled && unit.complete !== undefined) this.#completeUnstarted(unit);
    }
    return begun;
  }

  /**
   * Submits what was started, and reaps what has completed. Returns false if the engine refuses, either for now, in
   * which case the queue tries again in a millisecond, or for good.
   */
  #exchange(): boolean {
    try {
      this.engine.submit();
      this.engine.reap(this.#completed);
      return true;
    } catch (error) {
      if (isTransient(error)) this.#loop.pause(1);
      else this.#break(error);
      return false;
    }
  }

  /**
   * Gives up: nothing will complete any more. Rejects all promises. Operations that the engine has do not end, and
   * their memory stays held, because the kernel has not reported that it is done with them.
   */
  #break(error: unknown): void {
    this.#settle();
    this.#broken = error;
    this.engine.silence();
    for (const operation of this.engine) {
      operation.fail(error);
      operation.giveUp();
      if (operation.chain?.isStepwise === true && operation.next !== undefined)
        this.#dismiss(operation.next, () => error);
    }
    for (const unit of this.#takeWaiting()) this.#dismiss(unit, () => error);
    this.#idle?.();
    this.#closeAbandoned();
  }

  /**
   * Takes the units that wait for room, or for their turn at a file's own position. A unit may be found in both places.
   */
  #takeWaiting(): Operation[] {
    const waiting = new Set(this.#positions.waiting());
    for (let unit = this.#backlog.shift(); unit !== undefined; unit = this.#backlog.shift()) waiting.add(unit);
    return [...waiting];
  }

  /** Fails an operation that the engine does not have, and those after it in its chain. */
  #dismiss(first: Operation, why: (operation: Operation) => unknown): void {
    if (first.complete !== undefined) {
      this.#completeUnstarted(first);
      return;
    }
    for (let operation: Operation | undefined = first; operation !== undefined; operation = operation.next) {
      // `end` calls the signal's removeEventListener, which may close the ring: that dismisses the rest, and not this.
      if (operation.settled || operation.state === operationState.ended) continue;
      this.#waiting--;
      operation.end();
      operation.fail(why(operation));
    }
  }

  /**
   * Settles what has been reaped, and returns how many. Promises call back in microtasks, after this. The only code
   * of the program's that runs within is a signal's own: removeEventListener in `end`, and the getter of `reason` for
   * a chain. `#completed` is swapped first, so that what is being settled no longer counts as in flight.
   */
  #settle(): number {
    const settling = this.#completed;
    this.#isSettling = true;
    this.#completed = this.#settling;
    this.#settling = settling;
    // Two passes, because each operation's memory has usually left the processor's cache. The first pass does little
    // for each operation, so that the memory of the next can be fetched meanwhile. The order for each operation is
    // fixed: first its file's position moves, then it releases what it uses, then its promise settles and the next step
    // of its chain begins.
    for (const operation of settling) {
      if (this.#cancelled.size > 0) this.#cancelled.delete(operation);
      if (operation.particulars !== undefined) moveOwnPosition(operation, operation.particulars);
      operation.end();
    }
    for (const operation of settling) {
      const { res, chain, complete } = operation;
      if (complete !== undefined) {
        complete(this.#errnoOf(res), operation.fileEntry);
        continue;
      }
      const wasAborted = operation.settled;
      if (res < 0 && res !== operation.expectedErrno) this.#fail(operation, res);
      else if (!operation.settled) {
        this.#succeed(operation);
      } else if (operation.kind === requestKind.open) {
        this.closeUnseen(res, operation.fileEntry);
      }
      if (chain !== undefined) this.#advanceChain(operation, chain, wasAborted);
      else if (operation.isReusable && this.#spare.length < this.engine.capacity) {
        operation.reset();
        this.#spare.push(operation);
      }
    }
    const count = settling.length;
    settling.length = 0;
    this.#isSettling = false;
    return count;
  }

  #succeed(operation: Operation): void {
    operation.settled = true;
    try {
      operation.succeed?.(operation.res, operation.fileEntry);
    } catch (error) {
      operation.reject?.(error);
    }
  }

  #fail(operation: Operation, errno: number): void {
    const { chain } = operation;
    const error = this.errorOf(operation, errno);
    if (chain === undefined) operation.fail(error);
    else chain.failed(operation, error);
  }

  /** The error of an operation that has completed with -errno. */
  errorOf(operation: Operation, errno: number): UringError {
    const { syscall, file, opcode, opFlags } = operation;
    const why = file?.explain(errno, operation) ?? explainOpen(errno, opcode, opFlags);
    return new UringError(this.#errnoOf(errno), syscall, { ...pathsOf(operation), ...why });
  }

  /** @param wasAborted - whether the promise was rejected before the operation completed */
  #advanceChain(operation: Operation, chain: Chain, wasAborted: boolean): void {
    const { next } = operation;
    const why = this.closed ? "the ring was closed" : "an earlier read or write of its chain was short";
    if (chain.isStepwise && next !== undefined) {
      if (wasAborted) chain.aborted(operation);
      if (operation.isWhole() && !wasAborted && !this.closed) this.#enqueue(next);
      else this.#waiting -= chain.cutAfter(operation, why);
    }
    chain.completed(why);
    // The kernel has begun the next operation, or cancelled it. A cancellation from before that moment did not find it,
    // so repeat it.
    if (chain.isStepwise || next === undefined || next.state !== operationState.started) return;
    if (this.closed) this.#cancelAll();
    else if (next.settled) this.#cancel(next);
  }

  #cancel(operation: Operation): void {
    this.engine.cancel(operation);
    if (operation.chain !== undefined) {
      this.#cancelled.add(operation);
      if (this.#repetition?.ms !== 1) this.#cancelAgainIn(1);
    }
    this.#loop.soon();
  }

  #cancelAll(): void {
    this.engine.cancelAll();
    this.#loop.soon();
  }

  /**
   * Cancels operations of chains again until they complete. The kernel does not find an operation between the
   * completion of the one before it and its own beginning, which may be in another thread.
   */
  #cancelAgainIn(ms: number): void {
    const repetition = { ms };
    this.#repetition = repetition;
    later(ms, () => {
      if (this.#repetition !== repetition) return;
      this.#repetition = undefined;
      if (this.#cancelled.size === 0 || this.#ended || this.#broken !== undefined) return;
      for (const operation of this.#cancelled) this.engine.cancel(operation);
      this.#loop.soon();
      this.#cancelAgainIn(Math.min(2 * ms, 1000));
    });
  }

  /**
   * Maps the errno of an interrupted request. A request interrupted by a cancellation may complete with EINTR (Linux
   * 7.3), or with one of the kernel's internal errnos, ERESTARTSYS and similar (512 to 516).
   */
  #errnoOf(res: number): number {
    if (res !== EINTR && (res > -512 || res < -516)) return res;
    return this.closed ? ECANCELED : EINTR;
  }

  /** Closes a file whose open was aborted. Nobody else can: the promise has already rejected. */
  closeUnseen(fd: number, fileEntry: number): void {
    this.closeFile(fd, fileEntry).catch(() => undefined);
  }

  #abort(operation: Operation): void {
    // May be a getter of the program's, which may close the ring, so check the operation afterwards.
    const reason = operation.signal && reasonOf(operation.signal);
    if (operation.settled) return;
    operation.fail(reason);
    if (operation.state === operationState.started) {
      this.#cancel(operation);
      return;
    }
    operation.end();
    const { chain } = operation;
    if (chain !== undefined && chain === this.#chain) return;
    const rest = chain?.cutAt(operation) ?? 0; // may end the last use of a file, and so queue its close
    this.#waiting -= 1 + rest;
    this.#loop.soon(); // requests queued after it may have room now
  }

  /**
   * Whether the engine has anything in flight, or has reported something that is not settled: `reap` may have thrown
   * after it had reported some.
   */
  get #engineIsBusy(): boolean {
    return this.engine.busy || this.#completed.length > 0;
  }

  get #isBusy(): boolean {
    return this.#engineIsBusy || this.#isSettling || this.#backlog.size + this.#tasks > 0;
  }

  async #shutDown(): Promise<void> {
    for (const callback of this.#closers) callback();
    for (const unit of this.#takeWaiting()) {
      if (unit.kind === requestKind.close) this.#backlog.push(unit);
      else
        this.#dismiss(unit, ({ syscall }) => new UringError("ECANCELED", syscall, { message: "the ring was closed" }));
    }
    // If nothing is in flight, the engine is closed before this call returns. A program that fails to create a ring and
    // tries again at once must not have two.
    if (this.#isBusy) {
      keepAlive();
      await this.#drain().finally(letEnd);
    }
    // A broken ring cannot close its files. Closing the engine does.
    const closing =
      this.#broken === undefined ? Array.from(this.engine.files, ({ entry, fd }) => this.closeFile(fd, entry)) : [];
    const closed = closing.length > 0 ? await Promise.allSettled(closing) : [];
    this.#ended = true;
    this.engine.close();
    if (this.#endBroken()) letGo(this);
    this.#gone = true;
    for (const outcome of closed) if (outcome.status === "rejected") throw outcome.reason;
  }

  /**
   * Ends what a broken engine still had, now that the kernel is done with it. Returns whether that is all: a thread of
   * node:fs may still read or write, so its operation stays as it is.
   */
  #endBroken(): boolean {
    let isAll = true;
    for (const operation of this.engine) {
      if (operation.particulars?.onThread === true) isAll = false;
      else operation.end();
    }
    return isAll;
  }

  /**
   * Cancels until nothing is in flight. Only a request's own completion proves that the kernel is done with its memory.
   * Repeats that, because some requests begin only later.
   */
  async #drain(): Promise<void> {
    let waitedMs = 0; // not by a clock, which a test may have stopped
    let hasWarned = false;
    for (let ms = 1; this.#isBusy && this.#broken === undefined; ms = Math.min(2 * ms, 1000)) {
      if (waitedMs >= 5000 && !hasWarned) {
        hasWarned = true;
        warn(`bun-uring: closing a ring waits for ${this.inFlight} requests that the kernel cannot cancel`);
      }
      this.#cancelAll();
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      later(ms, resolve);
      await promise;
      waitedMs += ms;
    }
  }
}
