/**
 * Files' own positions: where transfers without one of their own begin. read(2) takes the position and moves it on under a lock; io_uring does not lock, and with O_DIRECT
 * does not move it on. So transfers at one file's own position run one after the other, each at the position where the one before has ended, and the position is moved here.
 */

import { Fifo } from "../base/fifo.ts";
import { native } from "../uring/native.ts";
import { isTransfer, isWrite, RWF_APPEND, transferBytes } from "../uring/transfers.ts";
import { IORING_OP_SPLICE } from "../uring/uapi.ts";
import { describe, identityOf, knownSizeOf } from "./descriptor.ts";
import type { OpenFile } from "./open-file.ts";
import { O_ACCMODE, O_APPEND, O_DIRECT, O_WRONLY } from "./open-flags.ts";
import type { Operation, Particulars, Turn } from "./operation.ts";

const SEEK_SET = 0;
const SEEK_CUR = 1;

/** A position so many bytes further. */
export function positionAfter(position: number | bigint, bytes: number): number | bigint {
  if (typeof position === "bigint") return position + BigInt(bytes);
  const end = position + bytes;
  return Number.isSafeInteger(end) ? end : BigInt(position) + BigInt(bytes);
}

class LineTurn implements Turn {
  readonly unit: Operation;
  left = 0;
  next: number | bigint | undefined;
  readonly #line: Line;

  constructor(unit: Operation, line: Line) {
    this.unit = unit;
    this.#line = line;
  }

  end(): void {
    if (--this.left === 0) this.#line.advance();
  }
}

/** Those who use one position, in order. The first has its turn. */
class Line {
  /** Of the file. */
  readonly identity: string;
  readonly #key: Key;
  readonly #lines: OwnPositions;
  readonly #turns = new Fifo<Turn>();
  #last: Turn | undefined;

  constructor(lines: OwnPositions, key: Key, identity: string) {
    this.#lines = lines;
    this.#key = key;
    this.identity = identity;
  }

  /** The unit's turn, which is a new one unless the unit came last. */
  join(unit: Operation): Turn {
    if (this.#last?.unit === unit) return this.#last;
    const turn = new LineTurn(unit, this);
    if (this.#turns.size > 0) unit.ownParticulars.ahead++;
    this.#turns.push(turn);
    this.#last = turn;
    return turn;
  }

  /** Goes on to the first turn that has not ended, if another's has. */
  advance(): void {
    if (this.#turns.peek()?.left !== 0) return;
    this.#turns.shift();
    for (let turn = this.#turns.peek(); turn !== undefined; turn = this.#turns.peek()) {
      if (--turn.unit.ownParticulars.ahead === 0 && !turn.unit.settled) this.#lines.begin(turn.unit);
      if (turn.left > 0) return;
      this.#turns.shift(); // aborted before its turn: what is left of its chain does not use this position
    }
    this.#lines.remove(this.#key);
  }

  *[Symbol.iterator](): Generator<Turn> {
    yield* this.#turns;
  }
}

/** A RingFile has a position of its own, by its descriptor; a number may be a duplicate of any descriptor of the same file. */
type Key = number | string;

/** An own position that a request moves. */
interface Used {
  readonly fd: number;
  readonly file: OpenFile | undefined;
}

/** Whether nothing begins at the file's own position: it is open for nothing but writes that go to its end, in the page cache and under a lock of the kernel's. */
function appendsOnly({ file, fd }: Operation): boolean {
  const flags = file?.flags ?? Math.max(0, native().descriptorFlags(fd));
  return (flags & (O_ACCMODE | O_APPEND | O_DIRECT)) === (O_WRONLY | O_APPEND);
}

function usedBy(operation: Operation): readonly Used[] {
  const { opcode, off, addr, fd, spliceFdIn, file } = operation;
  if (isTransfer(opcode)) return off === -1 && (file ?? describe(fd)).ordered && !appendsOnly(operation) ? [{ fd, file }] : [];
  if (opcode !== IORING_OP_SPLICE) return [];
  const given = [...(off === -1 ? [fd] : []), ...(addr === -1 ? [spliceFdIn] : [])];
  return given.filter((one) => describe(one).ordered).map((one) => ({ fd: one, file: undefined }));
}

/** Whether others are before it. */
function isBehind({ particulars }: Operation): boolean {
  return particulars !== undefined && particulars.ahead > 0;
}

/** The lines of a ring's files. */
export class OwnPositions {
  readonly #lines = new Map<Key, Line>();
  /** Called with an operation, or a chain's first, when it is its turn everywhere. */
  readonly begin: (unit: Operation) => void;

  constructor(begin: (unit: Operation) => void) {
    this.begin = begin;
  }

  /**
   * Has an operation, or a chain, stand in line for each own position that it uses. Returns whether it may begin at once. A chain that moves one file's position in
   * different ways, by a splice or by several descriptors, is begun step by step: where each of it begins is known only then.
   */
  enter(unit: Operation): boolean {
    const descriptors = new Map<string, number>();
    for (let one: Operation | undefined = unit; one !== undefined; one = one.next) {
      for (const { fd, file } of usedBy(one)) {
        const identity = file?.identity ?? identityOf(fd);
        const { chain } = one;
        if (chain !== undefined && (one.opcode === IORING_OP_SPLICE || (descriptors.get(identity) ?? fd) !== fd)) chain.isStepwise = true;
        descriptors.set(identity, fd);
        const particulars = one.ownParticulars;
        particulars.turns = [...particulars.turns, ...this.#linesOf(fd, file, identity).map((line) => this.#join(line, unit))];
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

  remove(key: Key): void {
    this.#lines.delete(key);
  }

  #join(line: Line, unit: Operation): Turn {
    const turn = line.join(unit);
    turn.left++;
    return turn;
  }

  #linesOf(fd: number, file: OpenFile | undefined, identity: string): Line[] {
    const ofNumbers = this.#lines.get(identity);
    if (file !== undefined) return [this.#lineOf(fd, identity), ...(ofNumbers === undefined ? [] : [ofNumbers])];
    const ofFiles = Array.from(this.#lines.values()).filter((line) => line !== ofNumbers && line.identity === identity);
    return [ofNumbers ?? this.#lineOf(identity, identity), ...ofFiles];
  }

  #lineOf(key: Key, identity: string): Line {
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = new Line(this, key, identity);
      this.#lines.set(key, line);
    }
    return line;
  }
}

/** Finds out where a transfer at a file's own position begins. Its turn has come. */
export function placeAtOwnPosition(operation: Operation, particulars: Particulars): void {
  const [turn] = particulars.turns;
  if (turn === undefined || !isTransfer(operation.opcode) || particulars.onThread) return;
  if (operation.chain?.isStepwise === true) turn.next = undefined; // what came before has ended, and may have moved it elsewhere
  turn.next ??= native().fileSeek(operation.fd, 0, SEEK_CUR);
  if (turn.next < 0) return; // not known here: the kernel takes its own
  particulars.beginsAt = turn.next;
  particulars.appends = appends(operation);
  // Where the file's end will be is the kernel's to know.
  turn.next = particulars.appends ? -1 : positionAfter(turn.next, transferBytes(operation));
  if (!particulars.appends) operation.off = particulars.beginsAt;
}

/** Moves the file's own position on to where a transfer at it has ended. */
export function moveOwnPosition({ fd, res }: Operation, { beginsAt, appends }: Particulars): void {
  if (beginsAt === -1 || res <= 0) return;
  if (!appends) native().fileSeek(fd, positionAfter(beginsAt, res), SEEK_SET);
  // The kernel has moved it, unless the write was past the page cache.
  else if (native().fileSeek(fd, 0, SEEK_CUR) === beginsAt) native().fileSeek(fd, knownSizeOf(fd), SEEK_SET);
}

function appends({ opcode, opFlags, file, fd }: Operation): boolean {
  if (!isWrite(opcode)) return false;
  const flags = file?.flags ?? Math.max(0, native().descriptorFlags(fd));
  return (opFlags & RWF_APPEND) !== 0 || (flags & O_APPEND) !== 0;
}
