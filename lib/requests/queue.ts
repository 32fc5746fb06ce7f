import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { checkSignal, invalidValue, outOfRange } from "../base/arguments.ts";
import { Fifo } from "../base/fifo.ts";
import { Bun, Promise } from "../base/globals.ts";
import { hold, letGo } from "../base/hold.ts";
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

/** Whether it may use a file's own position: a chain has to be looked at. */
function mayUseOwnPosition({ opcode, off, chain }: Operation): boolean {
  return chain !== undefined || opcode === IORING_OP_SPLICE || (off === -1 && isTransfer(opcode));
}

function pathsOf({ path: given, destination, file }: Operation): { path?: string; destination?: string } {
  const path = given ?? file?.path;
  return { ...(path === undefined ? {} : { path }), ...(destination === undefined ? {} : { destination }) };
}

function isTransient(error: unknown): boolean {
  return error instanceof UringError && (error.code === "EAGAIN" || error.code === "EBUSY" || error.code === "ENOMEM" || error.code === "EINTR");
}

/**
 * The requests of one ring, from `start` to the promise that settles: an engine carries them out, more than it has room for wait in order, completions settle in the turn that
 * finds them. Held from its creation to the end of its close, and its operations with it.
 */
export class RequestQueue {
  readonly engine: Engine<Operation>;
  readonly #loop = new Loop(() => this.#advance());
  /** Without room in the engine yet, in order, chains by their first; those that have settled are skipped. */
  readonly #backlog = new Fifo<Operation>();
  readonly #numbered = new NumberedFiles();
  /** At a file's own position, behind others that are. */
  readonly #positions = new OwnPositions((unit) => {
    this.#backlog.push(unit);
    this.#loop.soon();
  });
  /** Operations that wait for their turn or for room, and have not settled. */
  #waiting = 0;
  /** What other threads of the process do with the ring's files. */
  #outside = 0;
  /** The chain that is being built. */
  #chain: Chain | undefined;
  /** Completed, and not settled yet. */
  #completed: Operation[] = [];
  /** To change places with `#completed`. */
  #settling: Operation[] = [];
  /** Ended, for the next: of what is made anew for each operation the collector has its share of the time. */
  readonly #spare: Operation[] = [];
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  #abandoned: (() => void) | undefined;
  /** The engine is not to be asked for anything any more. */
  #ended = false;
  #gone = false;
  /** Why the engine takes nothing any more. */
  #broken: unknown;

  constructor(engine: Engine<Operation>) {
    this.engine = engine;
    engine.onWake = () => this.#loop.wake();
    hold(this);
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** The engine is closed: nothing writes the memory of any request. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Operations started and not completed. */
  get inFlight(): number {
    return this.engine.inFlight + this.#completed.length + this.#waiting + this.#outside;
  }

  /** Counters since the ring was made, and how it stands. */
  stats() {
    const { submissions, submitted, wakeups, overflows } = this.engine.stats;
    return { inFlight: this.inFlight, waiting: this.#waiting, submissions, submitted, wakeups, overflows };
  }

  /** Nobody can start anything any more: calls `close` as soon as nothing is in flight. */
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
   * Starts an operation; its `succeed` or `reject` is called once. An abort fails it at once, while its memory stays its own until the engine is done.
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
    operation.flags |= IOSQE_ASYNC;
  }

  /** Has the operation fail when the signal aborts. The signal's methods may be the program's own, and do anything. */
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

  /** An operation for a transfer of one slot: one that has ended, as far as there is any. */
  reusable(): Operation {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    const operation = new Operation();
    operation.isReusable = true;
    return operation;
  }

  /** Requires that no chain is being built: what is not one request of the ring cannot be one of its operations. */
  assertNotInChain(syscall: string): void {
    if (this.#chain !== undefined) throw invalidValue(`${syscall} is not one request of the ring, and cannot be an operation of a chain`);
  }

  /**
   * Starts what each of `starts` does, one request, as a chain. Throws, and starts none, where one cannot be started.
   * @throws TypeError, RangeError: not one request each, too many of them; what an operation refuses
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
        if (requests !== 1) throw invalidValue(`operations[${index}] must start one request of this ring, not ${requests}`);
      }
      this.assertOpen("chain");
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
      if (this.#chain !== undefined) throw error; // for `startChain` to see at once, also through an async function
      reject(error);
    }
    return promise;
  }

  /** Has node:fs do something to a file, which stays open until that is done. */
  async outside<Result>(file: OpenFile, syscall: string, act: (fd: number) => Promise<Result>): Promise<Result> {
    this.assertOpen(syscall);
    this.assertNotInChain(syscall);
    file.assertUsable(syscall);
    this.#outside++;
    file.beginUse();
    try {
      return await act(file.fd);
    } finally {
      this.#outside--;
      file.endUse();
      this.#loop.soon();
    }
  }

  /** Closes a descriptor of the file table, also while the ring closes. */
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
      // Cancelled by the ring's close, which closes what is left in the table.
      if (reason instanceof UringError && reason.code === "ECANCELED") resolve();
      else reject(reason);
    };
    operation.begin();
    this.#waiting++;
    this.#enqueue(operation);
    return promise;
  }

  /**
   * Refuses new requests, cancels what is in flight, waits for all of it, closes the files, then the engine.
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
    if (this.#backlog.size > 0 || !this.#begin(unit)) this.#backlog.push(unit);
    this.#loop.soon();
  }

  /**
   * Gives an operation, or all of its chain, to the engine. Returns false where that has no room. What throws fails the operation, before the engine has any of it.
   */
  #begin(unit: Operation): boolean {
    const { chain, particulars } = unit;
    const rest = chain === undefined || chain.isStepwise ? undefined : chain.operations;
    if (!this.engine.hasRoom(rest?.length ?? 1)) return false;
    try {
      if (particulars !== undefined) placeAtOwnPosition(unit, particulars);
      if (rest !== undefined) for (const one of rest) if (one !== unit && one.particulars !== undefined) placeAtOwnPosition(one, one.particulars);
    } catch (error) {
      this.#dismiss(unit, () => error);
      return true;
    }
    if (rest === undefined) this.#startInEngine(unit, false);
    else for (const one of rest) this.#startInEngine(one, one.next !== undefined);
    return true;
  }

  #startInEngine(operation: Operation, links: boolean): void {
    operation.state = operationState.started;
    this.#waiting--;
    this.engine.start(operation, links);
  }

  /** Submits, settles what has completed, and goes on while that makes room for those who wait; after a turn's share, in the next turn. */
  #advance(): void {
    if (this.#ended || this.#broken !== undefined || this.#loop.paused) return;
    this.#beginWaiting();
    do {
      if (!this.#engineIsBusy) continue; // nothing is started, nor can complete
      if (!this.#exchange()) return;
      const settled = this.#settle();
      // Where nothing was settled, nothing goes on by itself.
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
    if (this.#outside > 0) return;
    this.#idle?.();
    this.#closeAbandoned();
  }

  #closeAbandoned(): void {
    const close = this.#abandoned;
    this.#abandoned = undefined;
    close?.();
  }

  /** Begins what waits, as far as there is room. Returns whether anything was. */
  #beginWaiting(): boolean {
    let begun = false;
    for (let unit = this.#backlog.peek(); unit !== undefined; unit = this.#backlog.peek()) {
      if (!unit.settled) {
        if (!this.#begin(unit)) break;
        begun = true;
      }
      this.#backlog.shift();
    }
    return begun;
  }

  /** Submits what is started and takes what has completed. Returns false where the engine takes nothing: for now, and then it is tried again soon; or for good. */
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

  /** Nothing will complete any more. Memory stays held all the same: the kernel has not said that it is done. */
  #break(error: unknown): void {
    this.#settle();
    this.#broken = error;
    this.engine.silence();
    for (const operation of this.engine) {
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

  /** Fails an operation that the engine does not have, or its chain. */
  #dismiss(first: Operation, why: (operation: Operation) => unknown): void {
    for (let operation: Operation | undefined = first; operation !== undefined; operation = operation.next) {
      if (operation.settled) continue;
      this.#waiting--;
      operation.end();
      operation.fail(why(operation));
    }
  }

  /** Settles what has completed; returns how many. Callers' code runs after this, never within. */
  #settle(): number {
    const settling = this.#completed;
    this.#completed = this.#settling;
    this.#settling = settling;
    // Two passes: in the first no operation has to wait until the memory of the one before has come from afar.
    for (const operation of settling) {
      if (operation.particulars !== undefined) moveOwnPosition(operation, operation.particulars);
      operation.end();
    }
    for (const operation of settling) {
      const { res, chain } = operation;
      const wasAborted = operation.settled;
      if (res < 0 && res !== operation.expectedErrno) this.#fail(operation, res);
      else if (!operation.settled) {
        this.#succeed(operation);
      } else if (operation.kind === requestKind.open) {
        this.#closeUnseen(res, operation.fileEntry);
      }
      if (chain !== undefined) this.#advanceChain(operation, chain, wasAborted);
      else if (operation.isReusable && this.#spare.length < this.engine.capacity) {
        operation.reset();
        this.#spare.push(operation);
      }
    }
    const count = settling.length;
    settling.length = 0;
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
    const { syscall, file, chain, opcode, opFlags } = operation;
    const why = file?.explain(errno, operation) ?? explainOpen(errno, opcode, opFlags);
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
    if (chain.isStepwise || next === undefined || next.state !== operationState.started) return;
    if (this.closed) this.#cancelAll();
    else if (next.settled) this.#cancel(next);
  }

  #cancel(operation: Operation): void {
    this.engine.cancel(operation);
    this.#loop.soon();
  }

  #cancelAll(): void {
    this.engine.cancelAll();
    this.#loop.soon();
  }

  /** What a cancellation interrupts may complete with EINTR (Linux 7.3), or with an errno of the kernel's own, ERESTARTSYS and its like. */
  #errnoOf(res: number): number {
    if (res !== EINTR && (res > -512 || res < -516)) return res;
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
    if (operation.state === operationState.started) {
      this.#cancel(operation);
      return;
    }
    operation.end();
    const { chain } = operation;
    if (chain !== undefined && chain === this.#chain) return;
    const rest = chain?.cutAt(operation) ?? 0; // which may end a file's last use, and so queue its close
    this.#waiting -= 1 + rest;
    this.#loop.soon(); // what waits behind it may have room now
  }

  /** What it has done may wait to be settled where it could not tell all of it. */
  get #engineIsBusy(): boolean {
    return this.engine.busy || this.#completed.length > 0;
  }

  get #isBusy(): boolean {
    return this.#engineIsBusy || this.#backlog.size + this.#outside > 0;
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
    const closing = this.#broken === undefined ? Array.from(this.engine.files, ({ entry, fd }) => this.closeFile(fd, entry)) : [];
    const closed = closing.length > 0 ? await Promise.allSettled(closing) : [];
    this.#ended = true;
    this.engine.close();
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
