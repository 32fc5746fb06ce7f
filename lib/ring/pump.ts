/** A constant number of transfers in flight, without a promise for each. */
import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import {
  checkInteger,
  checkPosition,
  checkSignal,
  invalidType,
  invalidValue,
  outOfRange,
  readOptions,
} from "../base/arguments.ts";
import { Promise } from "../base/globals.ts";
import { soon } from "../base/timers.ts";
import { UringError } from "../errors/uring-error.ts";
import type { FixedBuffer } from "../pool/fixed-buffer.ts";
import { Operation } from "../requests/operation.ts";
import { fixedSyscalls, type RingCore } from "./core.ts";
import { type FileTarget, targetOf } from "./file.ts";

/** Options of `Ring.pump`. */
export interface PumpOptions {
  /** The number of lanes, and so the most transfers in flight, 1 to 32768. Default 64. */
  readonly depth?: number;
  /**
   * What a transfer that fails does. "throw": the pump ends with the error. "result": the callback gets -errno as the
   * result, and `lane.error` is the error. Default "throw".
   */
  readonly errors?: "throw" | "result";
  /** Ends the pump with the signal's reason when the signal aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** One of the transfers that a pump keeps in flight. When it has completed, the next one takes its place. */
export interface PumpLane {
  /** Which lane of the pump, from 0 to `depth` - 1. */
  readonly index: number;
  /** The error of the lane's last transfer, if that has failed, with its syscall and path. */
  readonly error: UringError | undefined;
  /**
   * Starts the lane's next transfer: reads into a slot. Completes with the number of bytes read, 0 at the end of the
   * file.
   * @param file - a RingFile, or any open file descriptor. It must have positions
   * @param buffer - a slot of one of the ring's pools. It is in use until the transfer completes
   * @param position - where to begin in the file, in bytes
   * @param offset - where to begin in the slot, in bytes. Default 0
   * @param length - in bytes. Default: up to the end of the slot
   * @throws TypeError, RangeError: an argument; it is not the lane's turn to start a transfer
   * @throws UringError EBADF: the file or the ring is closed; ESTALE: the slot was released; EXDEV: the file belongs to
   * another ring; ESPIPE: the file has no positions
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 1, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("disk.img");
   * using buffer = await pool.acquire();
   * let position = 0;
   * await ring.pump(
   *   (lane, bytesRead) => {
   *     position += bytesRead ?? 0;
   *     if (bytesRead !== 0) lane.readFixed(file, buffer, position);
   *   },
   *   { depth: 1 },
   * );
   * console.log(`${position} bytes`);
   * ```
   * @see io_uring_prep_read_fixed(3)
   */
  readFixed(file: FileTarget, buffer: FixedBuffer, position: number | bigint, offset?: number, length?: number): void;
  /**
   * Starts the lane's next transfer: writes from a slot. Completes with the number of bytes written, which may be fewer
   * than `length`. Arguments and errors are those of readFixed.
   * @throws TypeError, RangeError, UringError: as readFixed
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 8, size: 65536, zero: true });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("zeros.img", "w");
   * const buffers = await Promise.all(Array.from({ length: 8 }, () => pool.acquire()));
   * let block = 0;
   * await ring.pump(
   *   (lane) => {
   *     const buffer = buffers[lane.index];
   *     if (buffer !== undefined && block < 100) lane.writeFixed(file, buffer, 65536 * block++);
   *   },
   *   { depth: 8 },
   * );
   * for (const buffer of buffers) buffer.release();
   * ```
   * @see io_uring_prep_write_fixed(3)
   */
  writeFixed(file: FileTarget, buffer: FixedBuffer, position: number | bigint, offset?: number, length?: number): void;
}

/**
 * Called once for each lane, with `undefined`, and then with the result of each of the lane's transfers: the bytes
 * transferred, or -errno with `errors: "result"`. The lane ends if the call starts no transfer. If the call returns a
 * promise, it may start the transfer until that promise is settled.
 */
export type PumpCallback = (lane: PumpLane, result: number | undefined) => unknown;

class Lane implements PumpLane {
  readonly index: number;
  readonly operation = new Operation();
  /** From the start of the transfer until its completion. */
  inFlight = false;
  /** The callback, or the promise that it returned, has not ended. Only meanwhile a transfer may be started. */
  isOpen = false;
  /** The result of the last transfer, until the callback is called with it. */
  result: number | undefined;
  readonly #pump: Pump;

  constructor(pump: Pump, index: number) {
    this.#pump = pump;
    this.index = index;
    this.operation.complete = (result) => {
      this.inFlight = false;
      this.result = result;
      this.#pump.completed(this, result);
    };
  }

  get error(): UringError | undefined {
    const { operation } = this;
    return operation.res < 0 ? this.#pump.core.requests.errorOf(operation, operation.res) : undefined;
  }

  readFixed(file: FileTarget, buffer: FixedBuffer, position: number | bigint, offset = 0, length?: number): void {
    this.#start("read", file, buffer, position, offset, length);
  }

  writeFixed(file: FileTarget, buffer: FixedBuffer, position: number | bigint, offset = 0, length?: number): void {
    this.#start("write", file, buffer, position, offset, length);
  }

  #start(
    direction: "read" | "write",
    file: FileTarget,
    buffer: FixedBuffer,
    position: number | bigint,
    offset: number,
    length: number | undefined,
  ): void {
    const { ring, core, outcome } = this.#pump;
    const { requests } = core;
    if (outcome?.failed === true) throw outcome.reason;
    if (!this.isOpen || this.inFlight || this.result !== undefined)
      throw invalidValue("a lane of a pump starts one transfer for each call of the callback, during that call");
    const syscall = fixedSyscalls[direction];
    requests.assertNotInChain(syscall);
    checkPosition("position", position, 0);
    const { operation } = this;
    operation.reset();
    operation.res = 0;
    operation.reject = this.#pump.fail;
    core.describeFixed(operation, direction, targetOf(file, ring, syscall), buffer, position, offset, length, 0);
    requests.start(operation);
    this.inFlight = true;
  }
}

/**
 * The lanes of one call of `Ring.pump`. Their results are passed to the program in a microtask, together, and what it
 * starts is submitted together. So the queue divides the turns of the event loop as it does between promises.
 */
class Pump {
  /** Referenced so that the ring is not closed as dropped. */
  readonly ring: object;
  readonly core: RingCore;
  /** Undefined until the pump ends. */
  outcome: { readonly failed: boolean; readonly reason?: unknown } | undefined;
  readonly #callback: PumpCallback;
  readonly #throwsErrors: boolean;
  readonly #lanes: readonly Lane[];
  /** How many lanes have not ended. */
  #going: number;
  /** The lanes for which the callback is to be called. */
  #ready: Lane[];
  /** Swapped with `#ready`. */
  #spare: Lane[] = [];
  #isScheduled = false;
  readonly #settled = Promise.withResolvers<void>();

  constructor(ring: object, core: RingCore, callback: PumpCallback, depth: number, throwsErrors: boolean) {
    this.ring = ring;
    this.core = core;
    this.#callback = callback;
    this.#throwsErrors = throwsErrors;
    this.#lanes = Array.from({ length: depth }, (_, index) => new Lane(this, index));
    this.#going = depth;
    this.#ready = [...this.#lanes];
    this.#settled.promise.catch(() => undefined); // `run` may have thrown before it waits
  }

  async run(signal: AbortSignal | undefined): Promise<void> {
    const { requests } = this.core;
    await requests.task(async () => {
      const forgetClosing = requests.onClosing(() =>
        this.fail(new UringError("ECANCELED", "pump", { message: "the ring was closed" })),
      );
      let forgetAbort: (() => void) | undefined;
      try {
        // May run the program's code, which may abort at once, close the ring, or throw.
        forgetAbort = signal && onAbort(signal, () => this.fail(reasonOf(signal)));
        this.#schedule();
        await this.#settled.promise;
      } finally {
        forgetClosing();
        forgetAbort?.();
      }
    });
  }

  completed(lane: Lane, result: number): void {
    if (this.outcome !== undefined) return;
    if (result < 0 && this.#throwsErrors) this.fail(this.core.requests.errorOf(lane.operation, result));
    else if (!lane.isOpen) this.#callSoon(lane);
  }

  #callSoon(lane: Lane): void {
    this.#ready.push(lane);
    this.#schedule();
  }

  readonly fail = (reason: unknown): void => {
    this.#end({ failed: true, reason });
  };

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(() => {
      this.#isScheduled = false;
      const ready = this.#ready;
      this.#ready = this.#spare;
      this.#spare = ready;
      for (const lane of ready) if (this.outcome === undefined) this.#step(lane);
      ready.length = 0;
    });
  }

  #step(lane: Lane): void {
    const { result } = lane;
    const callback = this.#callback; // called without a `this`
    lane.result = undefined;
    lane.isOpen = true;
    try {
      const returned = callback(lane, result);
      if (typeof returned === "object" && returned !== null && "then" in returned)
        new Promise((resolve) => resolve(returned)).then(() => this.#stepped(lane), this.fail);
      else this.#stepped(lane);
    } catch (error) {
      this.fail(error);
    }
  }

  #stepped(lane: Lane): void {
    lane.isOpen = false;
    if (lane.inFlight) return;
    if (lane.result !== undefined) this.#callSoon(lane);
    else if (--this.#going === 0) this.#end({ failed: false });
  }

  #end(outcome: { readonly failed: boolean; readonly reason?: unknown }): void {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    for (const { inFlight, operation } of this.#lanes) if (inFlight) this.core.requests.cancelAgain(operation);
    if (outcome.failed) this.#settled.reject(outcome.reason);
    else this.#settled.resolve();
  }
}

/** See `Ring.pump`. */
export async function pumpOf(
  ring: object,
  core: RingCore,
  callback: PumpCallback,
  options: PumpOptions,
): Promise<void> {
  core.requests.assertNotInChain("pump");
  core.requests.assertOpen("pump");
  const { depth = 64, errors = "throw", signal } = readOptions(options, ["depth", "errors", "signal"]);
  if (typeof callback !== "function") throw invalidType("callback", "a function", callback);
  checkInteger("options.depth", depth, 1, 32768);
  if (errors !== "throw" && errors !== "result") throw outOfRange("options.errors", '"throw" or "result"', errors);
  if (signal !== undefined) checkSignal(signal);
  throwIfAborted(signal);
  await new Pump(ring, core, callback, depth, errors === "throw").run(signal);
}
