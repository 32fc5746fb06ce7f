import { checkSignal } from "./arguments.ts";
import { assert, UringError } from "./errors.ts";
import { FileTable } from "./file-table.ts";
import type { Slot } from "./fixed-buffer.ts";
import { hold, letGo } from "./native.ts";
import { prepareRequest, RawRing, type RawRingOptions, ringEventfd, submissionSpace, takeCompletions } from "./raw-ring.ts";
import { IORING_ASYNC_CANCEL_ALL, IORING_ASYNC_CANCEL_ANY, IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE } from "./uapi.ts";
import { Wakeup } from "./wakeup.ts";

/** user_data, 53 bits: kind, generation, index of the operation. The teardown in C reads the kind and the index. */
export const indexSpan = 2 ** 24;
const generationSpan = 2 ** 27;
export const kindUnit = indexSpan * generationSpan;

/** Requests that bring or take a descriptor, which must not be lost whoever sees their completion. */
export const requestKind = { plain: 0, open: 1, close: 2 } as const;

/** One request, and what belongs to it from its start to its completion: as long as it is here its memory cannot go. */
export interface Request {
  readonly opcode: number;
  readonly syscall: string;
  readonly fd: number;
  readonly position: number | bigint;
  readonly address: number;
  readonly length: number;
  readonly operationFlags: number;
  readonly bufferIndex: number;
  readonly kind: (typeof requestKind)[keyof typeof requestKind];
  /** The slot that `address` lies in. */
  readonly slot: Slot | undefined;
  /** Other memory that `address` lies in. */
  readonly memory: SharedArrayBuffer | undefined;
  /** For its error to name. */
  readonly path: string | undefined;
  /** Of the file table: for a close, whose descriptor it is. */
  readonly fileEntry: number;
  /** Turns a result that is no error into what the promise resolves to; called once, before anything else can run. */
  readonly succeed: ((result: number, fileEntry: number) => void) | undefined;
  readonly fail: ((reason: unknown) => void) | undefined;
}

class Operation {
  readonly request: Request;
  index = -1;
  userData = -1;
  fileEntry: number;
  /** The promise has settled, though the kernel may not be done. */
  settled = false;
  readonly signal: AbortSignal | undefined;
  readonly abort: (() => void) | undefined;

  constructor(request: Request, signal: AbortSignal | undefined, abort: ((operation: Operation) => void) | undefined) {
    this.request = request;
    this.fileEntry = request.fileEntry;
    this.signal = signal;
    this.abort = abort && (() => abort(this));
  }
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
  #generation = 0;
  /** Without room in the ring yet, in order. */
  readonly #backlog = new Set<Operation>();
  #flushing = false;
  readonly #completed: { operation: Operation; result: number }[] = [];
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  constructor(options: RawRingOptions) {
    this.raw = new RawRing(options);
    try {
      this.files = new FileTable(this.raw);
      this.#wakeup = new Wakeup(ringEventfd(this.raw), () => this.#advance());
    } catch (error) {
      this.raw.close();
      throw error;
    }
    hold(this);
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  get inFlight(): number {
    return this.#inKernel + this.#backlog.size;
  }

  assertOpen(syscall: string): void {
    if (this.closed) throw new UringError("EBADF", syscall, { message: "the ring is closed" });
  }

  /**
   * Starts a request; its `succeed` or `fail` is called once. An abort fails it at once, while its memory stays its own until the kernel is done.
   * @throws UringError EBADF: the ring is closed; the signal's reason, where that is aborted
   */
  start(request: Request, signal?: AbortSignal): void {
    this.assertOpen(request.syscall);
    if (signal !== undefined) {
      checkSignal(signal);
      signal.throwIfAborted();
    }
    const operation = new Operation(request, signal, signal && ((aborted) => this.#abort(aborted)));
    if (operation.abort !== undefined) signal?.addEventListener("abort", operation.abort, { once: true });
    request.slot?.beginUse();
    this.#enqueue(operation);
  }

  /** Refuses new requests, cancels what is in flight, waits for all of it, closes the files, then the ring. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  #enqueue(operation: Operation): void {
    if (this.#backlog.size > 0 || !this.#prepare(operation)) this.#backlog.add(operation);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  /** Writes the operation's entry. Returns false where the ring has no room: never more in the kernel than completions can hold. */
  #prepare(operation: Operation): boolean {
    if (this.#inKernel >= this.raw.cqEntries || submissionSpace(this.raw) === 0) return false;
    const { request } = operation;
    const index = this.#unused.pop() ?? this.#operations.length;
    assert(index < indexSpan, "operations have an index of 24 bits");
    this.#generation = (this.#generation + 1) % generationSpan;
    operation.index = index;
    operation.userData = request.kind * kindUnit + this.#generation * indexSpan + index;
    this.#operations[index] = operation;
    this.#inKernel++;
    if (request.kind === requestKind.close) this.files.closing(request.fileEntry, index);
    prepareRequest(
      this.raw,
      request.opcode,
      request.fd,
      request.position,
      request.address,
      request.length,
      request.operationFlags,
      operation.userData,
      request.bufferIndex,
    );
    return true;
  }

  #flush(): void {
    this.#flushing = false;
    this.#advance();
  }

  /** Submits, settles what has completed, and goes on while that makes room for the backlog. */
  #advance(): void {
    if (this.raw.closed) return;
    let room: boolean;
    do {
      if (!this.#submit()) return;
      takeCompletions(this.raw, this.#take);
      this.#settle();
      room = false;
      for (const operation of this.#backlog) {
        if (!this.#prepare(operation)) break;
        this.#backlog.delete(operation);
        room = true;
      }
    } while (room);
    if (this.#inKernel > 0) {
      this.#wakeup.arm();
      return;
    }
    this.#wakeup.disarm();
    this.#idle?.();
  }

  /** Returns false where the kernel takes nothing for now; tried again soon, and nothing is lost. */
  #submit(): boolean {
    try {
      this.raw.submit();
      return true;
    } catch (error) {
      if (!isTransient(error)) throw error;
      setTimeout(() => this.#advance(), 1);
      return false;
    }
  }

  /** Notes one completion. What it brought or took is in the table before the entry is consumed, for a teardown may come between. */
  readonly #take = (userData: number, result: number): void => {
    const index = userData % indexSpan;
    const operation = this.#operations[index];
    assert(operation?.userData === userData, `a completion of an operation in flight, not of ${userData}`);
    const { kind } = operation.request;
    if (kind === requestKind.open && result >= 0) operation.fileEntry = this.files.add(result);
    if (kind === requestKind.close && result !== -125) this.files.remove(operation.fileEntry);
    this.#completed.push({ operation, result });
  };

  /** Settles what was taken. Callers' code runs after this, never within. */
  #settle(): void {
    for (const { operation, result } of this.#completed.splice(0)) {
      this.#operations[operation.index] = undefined;
      this.#unused.push(operation.index);
      this.#inKernel--;
      this.#finish(operation);
      const { request } = operation;
      if (operation.settled) {
        if (request.kind === requestKind.open && result >= 0) this.closeFile(result, operation.fileEntry);
        continue;
      }
      operation.settled = true;
      if (result >= 0) request.succeed?.(result, operation.fileEntry);
      else request.fail?.(new UringError(result, request.syscall, request.path === undefined ? {} : { path: request.path }));
    }
  }

  /** What belonged to an operation is its own no more. */
  #finish(operation: Operation): void {
    if (operation.abort !== undefined) operation.signal?.removeEventListener("abort", operation.abort);
    operation.request.slot?.endUse();
  }

  #abort(operation: Operation): void {
    if (operation.settled) return;
    operation.settled = true;
    if (this.#backlog.delete(operation)) this.#finish(operation);
    else this.#cancel(operation.userData, 0);
    operation.request.fail?.(operation.signal?.reason);
  }

  #cancel(userData: number, flags: number): void {
    this.#enqueue(
      new Operation(
        {
          opcode: IORING_OP_ASYNC_CANCEL,
          syscall: "async_cancel",
          fd: -1,
          position: 0,
          address: userData,
          length: 0,
          operationFlags: flags,
          bufferIndex: 0,
          kind: requestKind.plain,
          slot: undefined,
          memory: undefined,
          path: undefined,
          fileEntry: -1,
          succeed: undefined,
          fail: undefined,
        },
        undefined,
        undefined,
      ),
    );
  }

  /** Closes a descriptor of the file table, also while the ring closes. */
  closeFile(fd: number, fileEntry: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (reason: unknown) => {
      // Cancelled by the ring's close, which closes what is left in the table.
      if (reason instanceof UringError && reason.code === "ECANCELED") resolve();
      else reject(reason);
    };
    this.#enqueue(
      new Operation(
        {
          opcode: IORING_OP_CLOSE,
          syscall: "close",
          fd,
          position: 0,
          address: 0,
          length: 0,
          operationFlags: 0,
          bufferIndex: 0,
          kind: requestKind.close,
          slot: undefined,
          memory: undefined,
          path: undefined,
          fileEntry,
          succeed: () => resolve(),
          fail,
        },
        undefined,
        undefined,
      ),
    );
    return promise;
  }

  async #shutDown(): Promise<void> {
    for (const operation of this.#backlog) {
      if (operation.request.kind === requestKind.close) continue;
      this.#backlog.delete(operation);
      this.#finish(operation);
      if (operation.settled) continue;
      operation.settled = true;
      operation.request.fail?.(new UringError("ECANCELED", operation.request.syscall, { message: "the ring was closed" }));
    }
    await this.#drain();
    await Promise.all(Array.from(this.files, ({ entry, fd }) => this.closeFile(fd, entry)));
    this.#wakeup.close();
    this.raw.close();
    letGo(this);
  }

  /** Cancels until nothing is in flight: only a request's own completion says that the kernel is done with its memory. */
  async #drain(): Promise<void> {
    for (let seconds = 0; this.inFlight > 0; seconds++) {
      if (seconds === 5) console.warn(`bun-uring: closing a ring waits for ${this.inFlight} requests that the kernel cannot cancel`);
      this.#cancel(0, IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      const timer = setTimeout(resolve, 1000);
      await promise;
      clearTimeout(timer);
    }
  }
}
