/**
 * Files' own positions: where transfers without one of their own begin. read(2) takes the position and moves it on under a lock; io_uring does not lock, and with O_DIRECT
 * does not move it on. So transfers at one file's own position run one after the other, each at the position where the one before has ended, and the position is moved here.
 */
import { describe, knownSizeOf } from "./descriptor.ts";
import { Fifo } from "./fifo.ts";
import { native } from "./native.ts";
import { O_APPEND } from "./open-flags.ts";
import type { Operation, Particulars } from "./operation.ts";
import { canTransferOnThread } from "./threads.ts";
import { isTransfer, isWrite, RWF_APPEND, transferBytes } from "./transfers.ts";
import { IORING_OP_POLL_ADD, IORING_OP_SPLICE } from "./uapi.ts";

const SEEK_SET = 0;
const SEEK_CUR = 1;

/** A position so many bytes further. */
export function positionAfter(position: number | bigint, bytes: number): number | bigint {
  if (typeof position === "bigint") return position + BigInt(bytes);
  const end = position + bytes;
  return Number.isSafeInteger(end) ? end : BigInt(position) + BigInt(bytes);
}

/** The place of an operation, or of a chain, in the line for one file's own position. */
export class Turn {
  readonly fd: number;
  /** The operation, or the chain's first. */
  readonly unit: Operation;
  /** Operations of the unit at this position that have not ended. */
  left = 0;
  /** Where the next of them begins: known from the unit's preparation on, for in a chain each begins only when the one before was not short. */
  next: number | bigint | undefined;
  readonly #line: Line;

  constructor(fd: number, unit: Operation, line: Line) {
    this.fd = fd;
    this.unit = unit;
    this.#line = line;
  }

  /** One of the unit's operations has ended. */
  end(): void {
    if (--this.left === 0) this.#line.advance();
  }
}

/** Those who use one file's own position, in order. The first has its turn. */
class Line {
  readonly #turns = new Fifo<Turn>();
  #last: Turn | undefined;
  readonly #lines: OwnPositions;
  readonly #fd: number;

  constructor(lines: OwnPositions, fd: number) {
    this.#lines = lines;
    this.#fd = fd;
  }

  /** The unit's turn, which is a new one unless the unit came last. */
  join(unit: Operation): Turn {
    if (this.#last?.unit === unit) return this.#last;
    const turn = new Turn(this.#fd, unit, this);
    if (this.#turns.size > 0) unit.ownParticulars.ahead++;
    this.#turns.push(turn);
    this.#last = turn;
    return turn;
  }

  /** Goes on to the first turn that has not ended, if another's has. */
  advance(): void {
    if (this.#turns.peek()?.left !== 0) return;
    while (this.#turns.peek()?.left === 0) this.#turns.shift();
    const first = this.#turns.peek();
    if (first === undefined) this.#lines.remove(this.#fd);
    else if (--first.unit.ownParticulars.ahead === 0) this.#lines.begin(first.unit);
  }

  *[Symbol.iterator](): Generator<Turn> {
    yield* this.#turns;
  }
}

/** The files whose own positions a request moves, by descriptor. Notes what else matters of the descriptor, which is looked at here. */
function positionsOf(operation: Operation): readonly number[] {
  const { opcode, position, address, fd, spliceFd, file } = operation;
  if (isTransfer(opcode) || opcode === IORING_OP_POLL_ADD) {
    if (position !== -1 && opcode !== IORING_OP_POLL_ADD) return [];
    const { ordered, fuse, anonymous } = file ?? describe(fd);
    if (anonymous) operation.ownParticulars.anonymous = true;
    if (opcode === IORING_OP_POLL_ADD) return [];
    if (fuse && canTransferOnThread(operation)) operation.ownParticulars.onThread = true;
    return ordered ? [fd] : [];
  }
  if (opcode !== IORING_OP_SPLICE) return [];
  return [...(position === -1 && describe(fd).ordered ? [fd] : []), ...(address === -1 && describe(spliceFd).ordered ? [spliceFd] : [])];
}

/** Whether others are before it. */
function isBehind({ particulars }: Operation): boolean {
  return particulars !== undefined && particulars.ahead > 0;
}

/** The lines of a ring's files. */
export class OwnPositions {
  readonly #lines = new Map<number, Line>();
  /** Called with an operation, or a chain's first, when it is its turn everywhere. */
  readonly begin: (unit: Operation) => void;

  constructor(begin: (unit: Operation) => void) {
    this.begin = begin;
  }

  /** Has an operation, or a chain, stand in line for each own position that it uses. Returns whether it may begin at once. */
  enter(unit: Operation): boolean {
    for (let one: Operation | undefined = unit; one !== undefined; one = one.next) {
      for (const fd of positionsOf(one)) {
        let line = this.#lines.get(fd);
        if (line === undefined) {
          line = new Line(this, fd);
          this.#lines.set(fd, line);
        }
        const turn = line.join(unit);
        turn.left++;
        const particulars = one.ownParticulars;
        particulars.turns = [...particulars.turns, turn];
      }
    }
    return !isBehind(unit);
  }

  /** Those that wait for their turn. */
  waiting(): Set<Operation> {
    const found = new Set<Operation>();
    for (const line of this.#lines.values()) for (const { unit, left } of line) if (left > 0 && isBehind(unit)) found.add(unit);
    return found;
  }

  remove(fd: number): void {
    this.#lines.delete(fd);
  }
}

/** Finds out where a transfer at a file's own position begins. Its turn has come. */
export function placeAtOwnPosition(operation: Operation, particulars: Particulars): void {
  const [turn] = particulars.turns;
  if (turn === undefined || !isTransfer(operation.opcode) || particulars.onThread) return;
  turn.next ??= native().fileSeek(turn.fd, 0, SEEK_CUR);
  if (turn.next < 0) return; // not known here: the kernel takes its own
  particulars.beginsAt = turn.next;
  particulars.appends = appends(operation);
  // Where the file's end will be is the kernel's to know.
  turn.next = particulars.appends ? -1 : positionAfter(turn.next, transferBytes(operation));
}

/** Moves the file's own position on to where a transfer at it has ended. */
export function moveOwnPosition({ fd, result }: Operation, { beginsAt, appends }: Particulars): void {
  if (beginsAt === -1 || result <= 0) return;
  if (!appends) native().fileSeek(fd, positionAfter(beginsAt, result), SEEK_SET);
  // The kernel has moved it, unless the write was past the page cache.
  else if (native().fileSeek(fd, 0, SEEK_CUR) === beginsAt) native().fileSeek(fd, knownSizeOf(fd), SEEK_SET);
}

function appends({ opcode, operationFlags, file, fd }: Operation): boolean {
  if (!isWrite(opcode)) return false;
  const flags = file?.flags ?? Math.max(0, native().descriptorFlags(fd));
  return (operationFlags & RWF_APPEND) !== 0 || (flags & O_APPEND) !== 0;
}
