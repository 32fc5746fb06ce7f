/** Many requests with one promise. */
import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { checkInteger, checkPosition, checkSignal, mark, outOfRange, readOptions } from "../base/arguments.ts";
import { Promise } from "../base/globals.ts";
import { byteLengthOf, isBytes } from "../base/view.ts";
import { invalidState } from "../errors/node.ts";
import type { UringError } from "../errors/uring-error.ts";
import type { FixedBuffer } from "../pool/fixed-buffer.ts";
import * as builders from "../requests/builders.ts";
import { Operation, operationState, type Request, type Usable } from "../requests/operation.ts";
import { largestTransferBytes } from "../uring/transfers.ts";
import { fixedSyscalls, noOptions, type OperationOptions, type RingCore } from "./core.ts";
import { type FileTarget, targetOf } from "./file.ts";

/** For `Ring.batch`. */
export let batchOf: (ring: object, core: RingCore) => Batch;

/**
 * Requests that are submitted together and share one promise. Made by `Ring.batch`. Each method adds a request and
 * returns its index. `submit` starts all of them, and can be called again: with the same requests, or after `clear` with
 * others. Reads and writes of slots then allocate nothing.
 *
 * A batch that has not been submitted keeps no file and no slot in use. A submitted one keeps each of them in use until
 * its own request has completed.
 * @example
 * ```ts
 * import { BufferPool, Ring } from "bun-uring";
 *
 * using pool = new BufferPool({ count: 64, size: 4096 });
 * await using ring = new Ring({ pool });
 * await using file = await ring.open("disk.img");
 * const buffers = await Promise.all(Array.from({ length: 64 }, () => pool.acquire()));
 * const batch = ring.batch();
 * for (const buffer of buffers) batch.readFixed(file, buffer, 4096 * Math.floor(Math.random() * 1000));
 * const bytesRead = (await batch.submit()).reduce((sum, result) => sum + Math.max(0, result), 0);
 * console.log(bytesRead);
 * for (const buffer of buffers) buffer.release();
 * ```
 */
export class Batch {
  readonly #ring: object;
  readonly #core: RingCore;
  /** Those from `#size` on are spare. */
  readonly #operations: Operation[] = [];
  /** What each operation uses, without what the queue adds. */
  readonly #uses: (readonly Usable[])[] = [];
  #size = 0;
  #results = new Int32Array(0);
  /** How many requests have results: none while they are in flight, and after `clear`. */
  #known = 0;
  /** How many requests have not completed. */
  #pending = 0;
  #resolve: ((results: Int32Array) => void) | undefined;
  #reject: ((reason: unknown) => void) | undefined;
  #forget: (() => void) | undefined;

  private constructor(ring: object, core: RingCore) {
    this.#ring = ring;
    this.#core = core;
  }

  /** The number of requests. */
  get size(): number {
    return this.#size;
  }

  /** Whether requests have not completed. Meanwhile the batch can neither be changed nor submitted. */
  get inFlight(): boolean {
    return this.#pending > 0;
  }

  /**
   * Adds a read into a slot.
   * @param file - a RingFile, or any open file descriptor. It must have positions
   * @param buffer - a slot of one of the ring's pools
   * @param position - where to begin in the file, in bytes
   * @param offset - where to begin in the slot, in bytes. Default 0
   * @param length - in bytes. Default: up to the end of the slot
   * @returns the request's index in the results
   * @throws TypeError, RangeError: an argument
   * @throws UringError EBADF: the file is closed; ESTALE: the slot was released; EXDEV: the file belongs to another ring;
   * ESPIPE: the file has no positions
   * @throws Error ERR_INVALID_STATE: the batch is in flight
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 2, size: 4096 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("disk.img");
   * using one = await pool.acquire();
   * using other = await pool.acquire();
   * const batch = ring.batch();
   * batch.readFixed(file, one, 0);
   * batch.readFixed(file, other, 1_000_000);
   * console.log(await batch.submit()); // Int32Array [ 4096, 4096 ]
   * ```
   * @see io_uring_prep_read_fixed(3)
   */
  readFixed(file: FileTarget, buffer: FixedBuffer, position: number | bigint, offset = 0, length?: number): number {
    return this.#addFixed("read", file, buffer, position, offset, length);
  }

  /**
   * Adds a write from a slot. Arguments and errors are those of readFixed.
   * @returns the request's index in the results
   * @throws TypeError, RangeError, UringError, Error: as readFixed
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 1, size: 4096, zero: true });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("zeros.img", "w");
   * using buffer = await pool.acquire();
   * const batch = ring.batch();
   * for (let block = 0; block < 100; block++) batch.writeFixed(file, buffer, 4096 * block);
   * await batch.submit();
   * ```
   * @see io_uring_prep_write_fixed(3)
   */
  writeFixed(file: FileTarget, buffer: FixedBuffer, position: number | bigint, offset = 0, length?: number): number {
    return this.#addFixed("write", file, buffer, position, offset, length);
  }

  /**
   * Adds a read into memory of the program's, which must be shared.
   * @param file - as for readFixed
   * @param bytes - of a SharedArrayBuffer. Up to 0x7ffff000 bytes
   * @param position - where to begin in the file, in bytes
   * @returns the request's index in the results
   * @throws TypeError, RangeError, UringError, Error: as readFixed
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("disk.img");
   * const bytes = new Uint8Array(new SharedArrayBuffer(100));
   * const batch = ring.batch();
   * batch.read(file, bytes.subarray(0, 50), 0);
   * batch.read(file, bytes.subarray(50), 1000);
   * console.log(await batch.submit());
   * ```
   * @see io_uring_prep_read(3)
   */
  read(file: FileTarget, bytes: Uint8Array, position: number | bigint): number {
    return this.#addTransfer("read", file, bytes, position);
  }

  /**
   * Adds a write from memory of the program's, which must be shared. Arguments and errors are those of read.
   * @returns the request's index in the results
   * @throws TypeError, RangeError, UringError, Error: as readFixed
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("table.bin", "w");
   * const bytes = new Uint8Array(new SharedArrayBuffer(4));
   * const batch = ring.batch();
   * for (const position of [0, 1000, 2000]) batch.write(file, bytes, position);
   * console.log(await batch.submit()); // Int32Array [ 4, 4, 4 ]
   * ```
   * @see io_uring_prep_write(3)
   */
  write(file: FileTarget, bytes: Uint8Array, position: number | bigint): number {
    return this.#addTransfer("write", file, bytes, position);
  }

  /**
   * Adds a sync of a file's content and metadata. The requests of a batch run in any order: to sync what a batch writes,
   * submit another one.
   * @param file - a RingFile, or any open file descriptor
   * @returns the request's index in the results
   * @throws TypeError, RangeError, UringError, Error: as readFixed
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("table.bin", "w");
   * const batch = ring.batch();
   * batch.fsync(file);
   * console.log(await batch.submit()); // Int32Array [ 0 ]
   * ```
   * @see fsync(2), io_uring_prep_fsync(3)
   */
  fsync(file: FileTarget): number {
    return this.#addSync("fsync", file);
  }

  /**
   * Adds a sync of a file's content, and of the metadata that reading it needs. Otherwise as fsync.
   * @param file - a RingFile, or any open file descriptor
   * @returns the request's index in the results
   * @throws TypeError, RangeError, UringError, Error: as readFixed
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("table.bin", "w");
   * const batch = ring.batch();
   * batch.fdatasync(file);
   * console.log(await batch.submit()); // Int32Array [ 0 ]
   * ```
   * @see fdatasync(2), io_uring_prep_fsync(3)
   */
  fdatasync(file: FileTarget): number {
    return this.#addSync("fdatasync", file);
  }

  /**
   * Removes all requests.
   * @throws Error ERR_INVALID_STATE: the batch is in flight
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("table.bin", "w");
   * const bytes = new Uint8Array(new SharedArrayBuffer(4));
   * const batch = ring.batch();
   * for (let round = 0; round < 3; round++) {
   *   batch.clear();
   *   batch.write(file, bytes, 4 * round);
   *   console.log(await batch.submit()); // Int32Array [ 4 ]
   * }
   * ```
   */
  clear(): void {
    this.#assertIdle();
    for (let index = 0; index < this.#size; index++) {
      const operation = this.#operations[index];
      if (operation === undefined) continue;
      operation.reset();
      operation.memory = undefined;
    }
    this.#size = this.#known = 0;
  }

  /**
   * Starts all requests. Resolves, when all of them have completed, to their results in the order in which they were
   * added: bytes transferred, 0, or -errno. An error of a request is a result and rejects nothing, see `errorOf`. The
   * array is used again by the next `submit` of as many requests.
   *
   * If the signal aborts, the promise rejects at once, and what has not completed is cancelled. The batch remains in
   * flight until all requests have completed.
   * @throws the signal's reason
   * @throws UringError EBADF: the ring or a file is closed; ESTALE: a slot was released. Nothing has been started
   * @throws Error ERR_INVALID_STATE: the batch is in flight
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("table.bin", "w");
   * const bytes = new Uint8Array(new SharedArrayBuffer(4));
   * const batch = ring.batch();
   * for (let position = 0; position < 100; position += 4) batch.write(file, bytes, position);
   * const results = await batch.submit({ signal: AbortSignal.timeout(5000) });
   * console.log(results.every((bytesWritten) => bytesWritten === 4));
   * ```
   * @see io_uring_submit(3)
   */
  submit(options: OperationOptions = noOptions): Promise<Int32Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Int32Array>();
    try {
      const { signal } = readOptions(options, ["signal"]);
      if (signal !== undefined) checkSignal(signal);
      throwIfAborted(signal);
      this.#assertIdle();
      this.#startWith(signal, resolve, reject);
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /**
   * The error of a request that has failed in the last `submit`, with its syscall and path; undefined if it succeeded,
   * or has not completed.
   * @param index - what the method that added it has returned
   * @throws RangeError: there is no such request
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * const batch = ring.batch();
   * const index = batch.fsync(0);
   * await batch.submit();
   * console.log(batch.errorOf(index)?.code); // EINVAL, if standard input is a pipe
   * ```
   */
  errorOf(index: number): UringError | undefined {
    checkInteger("index", index, 0, this.#size - 1);
    const result = index < this.#known ? (this.#results[index] ?? 0) : 0;
    const operation = this.#operations[index];
    return result < 0 && operation !== undefined ? this.#core.requests.errorOf(operation, result) : undefined;
  }

  #assertIdle(): void {
    if (this.#pending > 0) throw invalidState("the batch is in flight");
  }

  #addFixed(
    direction: "read" | "write",
    file: FileTarget,
    buffer: FixedBuffer,
    position: number | bigint,
    offset: number,
    length: number | undefined,
  ): number {
    this.#assertIdle();
    checkPosition("position", position, 0);
    const target = targetOf(file, this.#ring, fixedSyscalls[direction]);
    const index = this.#size;
    let operation = this.#operations[index];
    if (operation?.isReusable === true) operation.reset();
    else {
      operation = this.#place(index, new Operation());
      operation.isReusable = true;
    }
    this.#core.describeFixed(operation, direction, target, buffer, position, offset, length, 0);
    return this.#added(operation);
  }

  #addTransfer(direction: "read" | "write", file: FileTarget, bytes: Uint8Array, position: number | bigint): number {
    this.#assertIdle();
    checkPosition("position", position, 0);
    if (isBytes(bytes) && byteLengthOf(bytes) > largestTransferBytes)
      throw outOfRange("bytes.length", `up to ${largestTransferBytes}`, byteLengthOf(bytes));
    return this.#add(builders.transfer(direction, targetOf(file, this.#ring, direction), bytes, position));
  }

  #addSync(kind: "fsync" | "fdatasync", file: FileTarget): number {
    this.#assertIdle();
    return this.#add(builders.sync(kind, targetOf(file, this.#ring, kind)));
  }

  #add(request: Request<unknown>): number {
    return this.#added(this.#place(this.#size, Operation.of(request)));
  }

  #place(index: number, operation: Operation): Operation {
    operation.complete = (result) => this.#completed(index, result);
    this.#operations[index] = operation;
    return operation;
  }

  #added(operation: Operation): number {
    operation.reject = this.#broken;
    this.#uses[this.#size] = operation.uses;
    return this.#size++;
  }

  #startWith(
    signal: AbortSignal | undefined,
    resolve: (results: Int32Array) => void,
    reject: (reason: unknown) => void,
  ): void {
    let hasStarted = false;
    let hasAborted = false;
    // The signal's methods are the program's code, so all checks come afterwards.
    const forget =
      signal &&
      onAbort(signal, () => {
        hasAborted = true;
        if (!hasStarted) return;
        reject(reasonOf(signal));
        this.#cancel();
      });
    try {
      if (signal !== undefined && hasAborted) throw reasonOf(signal);
      this.#assertIdle();
      this.#start();
    } catch (error) {
      forget?.();
      throw error;
    }
    hasStarted = true;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#forget = forget;
    if (this.#pending === 0) this.#end();
  }

  /** Checks everything before it starts anything. */
  #start(): void {
    const { requests } = this.#core;
    requests.assertNotInChain("a batch");
    requests.assertOpen("submit");
    const size = this.#size;
    for (let index = 0; index < size; index++) this.#operations[index]?.assertUsable();
    if (this.#results.length !== size) this.#results = new Int32Array(size);
    this.#known = 0;
    for (let index = 0; index < size; index++) {
      const operation = this.#operations[index];
      const uses = this.#uses[index];
      if (operation === undefined || uses === undefined) continue;
      operation.state = operationState.prepared;
      operation.settled = false;
      operation.particulars = undefined;
      operation.uses = uses;
      requests.start(operation); // may throw for the first only, while another ring builds a chain
      this.#pending++;
    }
  }

  #cancel(): void {
    for (let index = 0; this.#pending > 0 && index < this.#size; index++) {
      const operation = this.#operations[index];
      if (operation !== undefined) this.#core.requests.cancelAgain(operation);
    }
  }

  #completed(index: number, result: number): void {
    this.#results[index] = result;
    this.#pending--;
    if (this.#pending === 0) this.#end();
  }

  /** The signal's method, which comes last, may submit the batch again. */
  #end(): void {
    const resolve = this.#resolve;
    const forget = this.#forget;
    this.#resolve = this.#reject = this.#forget = undefined;
    this.#known = this.#size;
    resolve?.(this.#results);
    forget?.();
  }

  /** The ring is broken: nothing completes any more. */
  readonly #broken = (error: unknown): void => {
    this.#reject?.(error);
  };

  static {
    mark("Batch", Batch.prototype);
    batchOf = (ring, core) => new Batch(ring, core);
  }
}
