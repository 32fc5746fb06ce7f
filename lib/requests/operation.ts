/** What is asked of an engine, and what belongs to it from its start to its completion. */
import { reasonOf } from "../base/abort.ts";
import { invalidValue } from "../base/arguments.ts";
import { keepAlive, later, letEnd } from "../base/timers.ts";
import { type EngineRequest, requestKind } from "../engines/engine.ts";
import { UringError } from "../errors/uring-error.ts";
import type { Slot } from "../pool/fixed-buffer.ts";
import { isTransfer, isWrite, transferBytes } from "../uring/transfers.ts";
import type { OpenFile } from "./open-file.ts";

/** What requests use: it is told when each begins and ends. */
export interface Usable {
  /** @throws UringError: it is closed, or given back */
  assertUsable(syscall: string): void;
  beginUse(): void;
  endUse(): void;
  /** No use of it that has begun will end. */
  giveUp?(): void;
}

const noUses: readonly Usable[] = [];

/** The place of an operation, or of a chain, in the line for one file's own position, see own-position.ts. */
export interface Turn {
  /** The operation, or the chain's first. */
  readonly unit: Operation;
  /** Operations of the unit at this position that have not ended. */
  left: number;
  /** Where the next of them begins: known from the unit's preparation on, for in a chain each begins only when the one before was not short. */
  next: number | bigint | undefined;
  /** One of the unit's operations has ended. */
  end(): void;
}

/** What matters of an operation whose descriptor is not as most are, or whose position is the file's own. */
export class Particulars {
  /** Its places in the lines for files' own positions. */
  turns: readonly Turn[] = [];
  /** Of an operation, or a chain's first: the lines in which others are before it. */
  ahead = 0;
  /** Where the transfer begins, if that is the file's own position and known here; or -1. */
  beginsAt: number | bigint = -1;
  /** It is such a write, and goes to the file's end. */
  appends = false;
  /** Waits for what may signal nobody, see `Descriptor.anonymous`. */
  anonymous = false;
  /** Carried out by a thread of node:fs, see `Descriptor.fuse`. */
  onThread = false;
}

/** What is asked for, under the kernel's names, and what a result that is no error means. What is not given is as in a new Operation. */
export interface Request<Result> {
  readonly opcode: number;
  /** For its error to name. */
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
  readonly fileEntry?: number;
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

/** Where an operation is. Whether its promise has settled is another question: an abort settles that of one that the engine still has. */
export const operationState = {
  /** Nothing is counted, and nothing has to be taken back. */
  prepared: 0,
  /** What it uses is counted. It waits for its turn, or for room. */
  waiting: 1,
  /** The engine has it. */
  started: 2,
  ended: 3,
} as const;

/** One request, from its start to its completion: as long as it is here its memory cannot go. */
export class Operation implements EngineRequest {
  // What every transfer uses comes first: an operation is read and written in several lines of the processor's cache, which the kernel's copying has taken.
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
  /** The file of `fd`, used until the completion. */
  file: OpenFile | undefined = undefined;
  /** The slot that `addr` lies in. */
  slot: Slot | undefined = undefined;
  /** What else is used from the request's start to its completion: other files, and where there are several slots the others. */
  uses: readonly Usable[] = noUses;
  /** Turns a result that is no error into what the promise resolves to; called once, before anything else can run. */
  succeed: ((res: number, fileEntry: number) => void) | undefined = undefined;
  reject: ((reason: unknown) => void) | undefined = undefined;
  state: (typeof operationState)[keyof typeof operationState] = operationState.prepared;
  /** The promise has settled, though the engine may not be done. */
  settled = false;
  index = -1;
  generation = 0;
  res = 0;
  kind: EngineRequest["kind"] = requestKind.plain;
  fileEntry = -1;
  /** What only some operations have. */
  particulars: Particulars | undefined = undefined;
  chain: Chain | undefined = undefined;
  /** What begins when this has succeeded. */
  next: Operation | undefined = undefined;
  /** Takes the signal's callback back. */
  forget: (() => void) | undefined = undefined;
  /** It may be another request once it has completed, see `reset`. */
  isReusable = false;

  signal: AbortSignal | undefined = undefined;
  /** Bytes of a vectored transfer; -1: of another. */
  vectorBytes = -1;
  /** An errno, negative, that is this request's way to succeed; 0: there is none. */
  expectedErrno = 0;
  /** Other memory that the request names. */
  memory: SharedArrayBuffer | readonly SharedArrayBuffer[] | undefined = undefined;
  /** For its error to name. */
  path: string | undefined = undefined;
  /** The second path, where there are two. */
  destination: string | undefined = undefined;

  static of({ result: _, signal: __, ...fields }: Request<unknown>): Operation {
    return Object.assign(new Operation(), fields);
  }

  /** Its particulars, from now on. */
  get ownParticulars(): Particulars {
    this.particulars ??= new Particulars();
    return this.particulars;
  }

  /** @throws UringError: something that it uses is closed, or given back */
  assertUsable(): void {
    this.file?.assertUsable(this.syscall);
    this.slot?.assertUsable(this.syscall);
    if (this.uses !== noUses) for (const use of this.uses) use.assertUsable(this.syscall);
  }

  begin(): void {
    this.state = operationState.waiting;
    this.file?.beginUse();
    this.slot?.beginUse();
    if (this.uses !== noUses) for (const use of this.uses) use.beginUse();
  }

  /** What belonged to the operation is its own no more. */
  end(): void {
    this.state = operationState.ended;
    this.forget?.();
    this.file?.endUse();
    this.slot?.endUse();
    if (this.uses !== noUses) for (const use of this.uses) use.endUse();
    if (this.particulars !== undefined) for (const turn of this.particulars.turns) turn.end();
  }

  /** What it uses will never be given back. */
  giveUp(): void {
    this.file?.giveUp();
    for (const use of this.uses) use.giveUp?.();
  }

  fail(reason: unknown): void {
    if (this.settled) return;
    this.settled = true;
    this.reject?.(reason);
  }

  /** Whether a result means that what comes next in a chain may begin. */
  isWhole(): boolean {
    if (this.res < 0) return this.res === this.expectedErrno;
    return !isTransfer(this.opcode) || this.res === transferBytes(this);
  }

  /** As new, for the next transfer of a slot that is none of a chain: such a one has set no more than this. */
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
  /** Each is begun here when the one before has ended: the kernel would begin them by itself, but does not carry out all of them. */
  isStepwise = false;
  #failure: { readonly reason: unknown } | undefined;
  readonly #cancelled: Operation[] = [];
  #completed = 0;

  /** Where a write to the end of a file past the page cache ends is known when it has, and the kernel is told all positions at once. */
  check(operation: Operation): void {
    if (operation.file === undefined || !operation.file.isDirect || !isAtOwnPosition(operation)) return;
    const { file } = operation;
    const follows = this.operations.some((other) => other.file === file && isAtOwnPosition(other) && file.appends && isWrite(other.opcode));
    if (follows && !isWrite(operation.opcode))
      throw invalidValue(
        "after a write to the end of a file opened with O_DIRECT no read of the same chain may be at the file's own position: give it a position",
      );
  }

  add(operation: Operation): void {
    operation.chain = this;
    const last = this.operations.at(-1);
    if (last !== undefined) last.next = operation;
    this.operations.push(operation);
  }

  /** One has failed. Those that are cancelled for it may come before it. */
  failed(operation: Operation, error: UringError): void {
    if (operation.settled) this.#failure ??= { reason: operation.signal && reasonOf(operation.signal) };
    else if (error.code === "ECANCELED") this.#cancelled.push(operation);
    else {
      this.#failure ??= { reason: error };
      operation.fail(error);
    }
  }

  /** One was aborted, and has run to its end all the same: what comes after it is not begun. */
  aborted({ signal }: Operation): void {
    this.#failure ??= { reason: signal && reasonOf(signal) };
  }

  /** One more is through; `why` the rest was cancelled, where nothing has failed. */
  completed(why: string): void {
    this.#completed++;
    if (this.#failure === undefined && this.#completed < this.operations.length) return;
    this.#failCancelled(this.#cancelled.splice(0), why);
  }

  /** Lets go of what comes after the first that was aborted, before any was begun. */
  truncate(): void {
    const broken = this.operations.findIndex(({ settled }) => settled);
    if (broken !== -1) this.#cut(broken, undefined);
  }

  /** Lets go of an operation that was aborted before it was begun, and of what comes after it. Returns how many others had not settled. */
  cutAt(operation: Operation): number {
    return this.#cut(this.operations.indexOf(operation), undefined);
  }

  /** Lets go of what comes after an operation that did not succeed, or was short. Returns how many had not settled. */
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

  /** After a failure, in the next turn: who waits for all of the chain's promises hears of what failed, whose promise may take some steps to reject, first. */
  #failCancelled(cancelled: readonly Operation[], why: string | undefined): void {
    const failure = this.#failure;
    const fail = () => {
      for (const operation of cancelled) operation.fail(chainBroken(operation, failure === undefined ? why : undefined, failure?.reason));
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

function chainBroken({ syscall }: Operation, why = "another operation of its chain did not succeed", cause?: unknown): UringError {
  return new UringError("ECANCELED", syscall, { message: why, cause });
}
