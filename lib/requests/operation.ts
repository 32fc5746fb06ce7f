/** A request as the queue sees it, and what it keeps in use until it completes. */
import { reasonOf } from "../base/abort.ts";
import { invalidValue } from "../base/arguments.ts";
import { keepAlive, later, letEnd } from "../base/timers.ts";
import { type EngineRequest, requestKind } from "../engines/engine.ts";
import { UringError } from "../errors/uring-error.ts";
import type { Slot } from "../pool/fixed-buffer.ts";
import { changesContent, isTransfer, isWrite, transferBytes } from "../uring/transfers.ts";
import type { OpenFile } from "./open-file.ts";

/**
 * Something that requests use, such as a file or a slot of a pool. It counts its uses, and is not closed or handed to
 * anyone else before the last use has ended.
 */
export interface Usable {
  /** @throws UringError: it is closed or released */
  assertUsable(syscall: string): void;
  beginUse(): void;
  endUse(): void;
  /** Notes that the uses begun so far will never end, because the ring is broken. */
  giveUp?(): void;
}

const noUses: readonly Usable[] = [];

/**
 * A unit's place in the line for one file's own position, see own-position.ts. A unit is a single operation, or a whole
 * chain.
 */
export interface Turn {
  /** The operation, or the chain's first operation. */
  readonly unit: Operation;
  /** How many of the unit's operations at this position have not ended. */
  left: number;
  /**
   * Where the unit's next operation at this position begins. Undefined until `placeAtOwnPosition` has placed the first.
   * Within a chain this can be computed in advance: each operation begins only if the one before it was not short.
   * Negative: only the kernel knows.
   */
  next: number | bigint | undefined;
  /** Called when one of the unit's operations has ended. */
  end(): void;
}

/** What only few operations need: those that use a file's own position, or a descriptor of an unusual kind. */
export class Particulars {
  /** The operation's turns in the lines for files' own positions. `placeAtOwnPosition` uses the first. */
  turns: readonly Turn[] = [];
  /** For a unit's first operation: the number of lines in which other units come before it. It may begin at 0. */
  ahead = 0;
  /**
   * Where the transfer begins, if it is at the file's own position and the queue has read that position. Otherwise -1.
   */
  beginsAt: number | bigint = -1;
  /** Such a transfer is a write that goes to the end of the file. */
  appends = false;
  /** The operation waits for an event that the kernel may not signal, see `Descriptor.anonymous`. */
  anonymous = false;
  /** A thread of node:fs carries the transfer out, see `Descriptor.fuse`. */
  onThread = false;
}

/**
 * A request in the kernel's terms, and how to convert a successful result. Fields that are left out keep the defaults
 * of a new Operation.
 */
export interface Request<Result> {
  readonly opcode: number;
  /** For error messages. */
  readonly syscall: string;
  readonly flags?: number;
  readonly fd?: number;
  readonly off?: number | bigint;
  readonly addr?: number | bigint;
  readonly len?: number;
  readonly opFlags?: number;
  readonly bufIndex?: number;
  readonly spliceFdIn?: number;
  readonly kind?: Operation["kind"];
  readonly file?: OpenFile | undefined;
  readonly uses?: readonly Usable[];
  readonly memory?: Operation["memory"];
  readonly path?: string | undefined;
  readonly destination?: string;
  readonly vectorBytes?: number;
  readonly expectedErrno?: number;
  readonly signal?: AbortSignal | undefined;
  result(res: number, fileEntry: number): Result;
}

/**
 * Where an operation is. This is independent of whether its promise has settled: an abort rejects the promise of an
 * operation that the engine still has.
 */
export const operationState = {
  /** It is not counted as a use of anything, so it can simply be dropped. */
  prepared: 0,
  /**
   * It is counted as a use of its files and slots, so `end` must be called. It waits for its turn at a file's own
   * position, for room in the engine, or for the rest of its chain.
   */
  waiting: 1,
  /** The engine has it. It ends only when the engine reports it. */
  started: 2,
  /** `end` was called. Its memory, files and slots may belong to others. */
  ended: 3,
} as const;

/**
 * One request, from its start to its completion.
 *
 * The kernel, or a thread, may write the memory of a started operation at any time until the engine reports it, whether
 * or not the program still waits for it. Two mechanisms keep that memory in place:
 * - **Reachability.** The operation refers to the memory (`memory`, `slot`, `uses`), the engine refers to the operation
 *   while it is in flight, and `RequestQueue` is held (base/hold.ts) until the kernel is done. So the garbage collector
 *   cannot free it. Never clear these fields before `end`.
 * - **Use counts.** `begin` counts the operation as a use of its file, its slot and its `uses`, and `end` takes that
 *   back. A slot that is released, or a file that is closed, while it is in use goes back to its pool or is closed at
 *   its last `endUse`. Each `begin` needs exactly one `end`, and a started operation must not end before the engine
 *   reports it.
 *
 * An abort settles the promise early and changes neither.
 */
export class Operation implements EngineRequest {
  // The fields that every transfer uses come first, so that they share few of the processor's cache lines: copying by
  // the kernel has usually evicted them.
  opcode = 0;
  syscall = "";
  flags = 0;
  fd = -1;
  off: number | bigint = 0;
  addr: number | bigint = 0;
  len = 0;
  opFlags = 0;
  bufIndex = 0;
  spliceFdIn = 0;
  /** The ring's file that `fd` belongs to, in use until the operation ends. */
  file: OpenFile | undefined = undefined;
  /** The slot that contains `addr`, in use until the operation ends. */
  slot: Slot | undefined = undefined;
  /** Whatever else is in use until the operation ends: other files, and the slots of a transfer with several. */
  uses: readonly Usable[] = noUses;
  /**
   * Converts a successful result into the value that the promise resolves to. Called at most once, directly after the
   * operation has ended.
   */
  succeed: ((res: number, fileEntry: number) => void) | undefined = undefined;
  reject: ((reason: unknown) => void) | undefined = undefined;
  /**
   * For an operation without a promise, instead of `succeed`: called with every result, a value or -errno, directly
   * after the operation has ended. Must not throw or run the program's code. `reject` is then called only if the ring
   * breaks. Such operations are started by `RequestQueue.startAgain`.
   */
  complete: ((res: number, fileEntry: number) => void) | undefined = undefined;
  state: (typeof operationState)[keyof typeof operationState] = operationState.prepared;
  /** The promise has settled. The engine may still have the operation. */
  settled = false;
  index = -1;
  generation = 0;
  res = 0;
  kind: EngineRequest["kind"] = requestKind.plain;
  fileEntry = -1;
  /** Undefined for most operations. */
  particulars: Particulars | undefined = undefined;
  chain: Chain | undefined = undefined;
  /** The next operation of the chain. It begins when this one has succeeded. */
  next: Operation | undefined = undefined;
  /** Removes the callback from the signal. May call the signal's own removeEventListener. */
  forget: (() => void) | undefined = undefined;
  /** The queue may use the object for another request after this one has completed, see `reset`. */
  isReusable = false;

  signal: AbortSignal | undefined = undefined;
  /** The bytes of a vectored transfer, or -1 for any other request. */
  vectorBytes = -1;
  /** A negative errno that means success for this request; 0 if there is none. */
  expectedErrno = 0;
  /**
   * Memory that the request names outside of slots. Never read: the reference keeps it alive until the operation is
   * dropped.
   */
  memory: ArrayBufferLike | readonly ArrayBufferLike[] | undefined = undefined;
  /** For error messages. */
  path: string | undefined = undefined;
  /** The second path of a request with two, for error messages. */
  destination: string | undefined = undefined;

  /** Field by field: Object.assign takes longer than the rest of an operation's way to the engine. */
  static of(request: Request<unknown>): Operation {
    const operation = new Operation();
    operation.opcode = request.opcode;
    operation.syscall = request.syscall;
    operation.flags = request.flags ?? 0;
    operation.fd = request.fd ?? -1;
    operation.off = request.off ?? 0;
    operation.addr = request.addr ?? 0;
    operation.len = request.len ?? 0;
    operation.opFlags = request.opFlags ?? 0;
    operation.bufIndex = request.bufIndex ?? 0;
    operation.spliceFdIn = request.spliceFdIn ?? 0;
    operation.kind = request.kind ?? requestKind.plain;
    operation.file = request.file;
    operation.uses = request.uses ?? noUses;
    operation.memory = request.memory;
    operation.path = request.path;
    operation.destination = request.destination;
    operation.vectorBytes = request.vectorBytes ?? -1;
    operation.expectedErrno = request.expectedErrno ?? 0;
    return operation;
  }

  /** Its particulars, created on first use. */
  get ownParticulars(): Particulars {
    this.particulars ??= new Particulars();
    return this.particulars;
  }

  /** @throws UringError: something that it uses is closed or released */
  assertUsable(): void {
    this.file?.assertUsable(this.syscall);
    this.slot?.assertUsable(this.syscall);
    if (this.uses !== noUses) for (const use of this.uses) use.assertUsable(this.syscall);
  }

  /**
   * Counts the operation as a use of all that it names. From here on it must end. Nothing may run the program's code
   * between `assertUsable` and this.
   */
  begin(): void {
    this.state = operationState.waiting;
    if (this.file !== undefined) {
      this.file.beginUse();
      if (changesContent(this.opcode)) this.file.changes++;
    }
    this.slot?.beginUse();
    if (this.uses !== noUses) for (const use of this.uses) use.beginUse();
  }

  /**
   * Takes back what `begin` counted, and the signal's callback. Call it once, and only when the engine is done with the
   * operation or never had it: afterwards the memory may be handed to others. It may close a file, let another
   * operation begin at a file's own position, and run a signal's own removeEventListener, which is the program's code
   * and may abort or close anything.
   */
  end(): void {
    this.state = operationState.ended;
    this.forget?.();
    this.file?.endUse();
    this.slot?.endUse();
    if (this.uses !== noUses) for (const use of this.uses) use.endUse();
    if (this.particulars !== undefined) for (const turn of this.particulars.turns) turn.end();
  }

  /**
   * Notes that the operation will never end, because the ring is broken. `end` is not called: the kernel may still
   * write its memory.
   */
  giveUp(): void {
    this.file?.giveUp();
    for (const use of this.uses) use.giveUp?.();
  }

  /** Rejects the promise, if it has not settled. Releases nothing. */
  fail(reason: unknown): void {
    if (this.settled) return;
    this.settled = true;
    this.reject?.(reason);
  }

  /** Whether the result allows the next operation of the chain to begin. */
  isWhole(): boolean {
    if (this.res < 0) return this.res === this.expectedErrno;
    return !isTransfer(this.opcode) || this.res === transferBytes(this);
  }

  /**
   * Prepares the object for the next request. Only for objects from `RequestQueue.reusable`, that is transfers of a
   * single slot outside of chains: the other fields are still those of a new Operation, or are set by each such
   * transfer. A new field that such a transfer may set must be reset here.
   */
  reset(): void {
    this.file = this.slot = this.succeed = this.reject = undefined;
    this.state = operationState.prepared;
    this.settled = false;
    this.particulars = undefined;
    this.uses = noUses;
    if (this.forget !== undefined) this.signal = this.forget = undefined;
  }
}

/** Operations that run one after the other, until one fails. */
export class Chain {
  operations: Operation[] = [];
  /**
   * True: the queue begins each operation when the one before it has ended. False: the engine gets all of them at once,
   * as a linked chain. That is not possible if a thread of node:fs carries out one of them, or if where one begins is
   * known only when the one before it has ended.
   */
  isStepwise = false;
  #failure: { readonly reason: unknown } | undefined;
  readonly #cancelled: Operation[] = [];
  #completed = 0;

  /**
   * Refuses a read at a file's own position after a write to the end of the same O_DIRECT file. Where the write ends,
   * and so where the read begins, is known only when the write has completed, but the positions of a chain are given to
   * the kernel all at once.
   */
  check(operation: Operation): void {
    if (operation.file === undefined || !operation.file.isDirect || !isAtOwnPosition(operation)) return;
    const { file } = operation;
    const follows = this.operations.some(
      (other) => other.file === file && isAtOwnPosition(other) && file.appends && isWrite(other.opcode),
    );
    if (follows && !isWrite(operation.opcode))
      throw invalidValue(
        "in a chain, a read after a write to the end of the same O_DIRECT file cannot be at the file's own position: give it a position",
      );
  }

  add(operation: Operation): void {
    operation.chain = this;
    const last = this.operations.at(-1);
    if (last !== undefined) last.next = operation;
    this.operations.push(operation);
  }

  /**
   * Notes that an operation completed with an error. Operations that were cancelled because of an earlier failure may
   * be reported before it, so they wait for `completed` to learn the reason.
   */
  failed(operation: Operation, error: UringError): void {
    if (operation.settled) this.#failure ??= { reason: operation.signal && reasonOf(operation.signal) };
    else if (error.code === "ECANCELED") this.#cancelled.push(operation);
    else {
      this.#failure ??= { reason: error };
      operation.fail(error);
    }
  }

  /** Notes that an operation completed although it had been aborted. The operations after it do not begin. */
  aborted({ signal }: Operation): void {
    this.#failure ??= { reason: signal && reasonOf(signal) };
  }

  /**
   * Notes that one more operation has completed. `why` is the reason given to cancelled operations if nothing has
   * failed.
   */
  completed(why: string): void {
    this.#completed++;
    if (this.#failure === undefined && this.#completed < this.operations.length) return;
    this.#failCancelled(this.#cancelled.splice(0), why);
  }

  /**
   * Removes the first operation that was aborted while the chain was being built, and those after it. Nothing has
   * begun.
   */
  truncate(): void {
    const broken = this.operations.findIndex(({ settled }) => settled);
    if (broken !== -1) this.#cut(broken, undefined);
  }

  /**
   * Removes an operation that was aborted before it began, and those after it. Returns how many of the others had not
   * settled.
   */
  cutAt(operation: Operation): number {
    return this.#cut(this.operations.indexOf(operation), undefined);
  }

  /** Removes the operations after one that did not succeed, or was short. Returns how many had not settled. */
  cutAfter(operation: Operation, why: string): number {
    return this.#cut(this.operations.indexOf(operation) + 1, why);
  }

  #cut(index: number, why: string | undefined): number {
    const rest = this.operations.splice(index).filter(({ settled }) => !settled);
    const last = this.operations.at(-1);
    if (last !== undefined) last.next = undefined;
    for (const operation of rest) operation.end();
    this.#failCancelled(rest, why);
    return rest.length;
  }

  /**
   * Rejects cancelled operations. After a failure this waits for the next turn: a program that waits for all promises
   * of the chain must see the original failure first, and that promise may take a few more microtasks to reject.
   */
  #failCancelled(cancelled: readonly Operation[], why: string | undefined): void {
    const failure = this.#failure;
    const fail = () => {
      for (const operation of cancelled)
        operation.fail(chainBroken(operation, failure === undefined ? why : undefined, failure?.reason));
    };
    if (failure === undefined) {
      fail();
    } else if (cancelled.length > 0) {
      keepAlive();
      later(0, () => {
        letEnd();
        fail();
      });
    }
  }
}

function isAtOwnPosition({ opcode, off }: Operation): boolean {
  return off === -1 && isTransfer(opcode);
}

function chainBroken(
  { syscall }: Operation,
  why = "another operation of its chain did not succeed",
  cause?: unknown,
): UringError {
  return new UringError("ECANCELED", syscall, { message: why, cause });
}
