/**
 * Transfers at a file's own position, that is transfers for which the caller gives no position.
 *
 * read(2) takes the file's position and moves it under a lock. io_uring does not take that lock, and does not
 * move the position with O_DIRECT. Two such transfers in flight could read the same bytes twice. So this module makes
 * the transfers at one file's own position run one after the other, each where the one before it ended:
 * 1. `OwnPositions.enter` puts each operation, or each chain as a whole (a "unit"), in a line for every position that
 *   it uses. A unit begins when it is first in all its lines.
 * 2. `placeAtOwnPosition` reads the position by lseek(2) when the unit begins, and gives the request that position.
 * 3. `moveOwnPosition` moves the position by lseek(2) when the request has completed. It must run before
 *   `Operation.end`, which ends the turn and lets the next unit begin.
 *
 * All of this is bookkeeping of one ring. Other rings, threads and processes that use the same position are not
 * synchronised.
 */

import { ItemQueue } from "../base/item-queue.ts";
import { native } from "../uring/native.ts";
import { isTransfer, isWrite, RWF_APPEND, transferBytes } from "../uring/transfers.ts";
import { IORING_OP_SPLICE } from "../uring/uapi.ts";
import { describe, identityOf, knownSizeOf } from "./descriptor.ts";
import type { OpenFile } from "./open-file.ts";
import { O_ACCMODE, O_APPEND, O_DIRECT, O_WRONLY } from "./open-flags.ts";
import type { Operation, Particulars, Turn } from "./operation.ts";

const SEEK_SET = 0;
const SEEK_CUR = 1;

/** The position `bytes` further on. */
export function positionAfter(position: number | bigint, bytes: number): number | bigint {
  if (typeof position === "bigint") return position + BigInt(bytes);
  const end = position + bytes;
  return Number.isSafeInteger(end) ? end : BigInt(position) + BigInt(bytes);
}

/** A unit's turn. `left` counts down as its operations end, and the line advances at 0. */
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

/** The units that use one position, in order. The first unit has its turn. */
class Line {
  /** The identity of the file, see `identityOf`. */
  readonly identity: string;
  readonly #key: Key;
  readonly #lines: OwnPositions;
  readonly #turns = new ItemQueue<Turn>();
  #last: Turn | undefined;

  constructor(lines: OwnPositions, key: Key, identity: string) {
    this.#lines = lines;
    this.#key = key;
    this.identity = identity;
  }

  /**
   * Returns the unit's turn. A unit that joined last keeps its turn; any other gets a new one at the end of the line.
   */
  join(unit: Operation): Turn {
    if (this.#last?.unit === unit) return this.#last;
    const turn = new LineTurn(unit, this);
    if (this.#turns.size > 0) unit.ownParticulars.ahead++;
    this.#turns.push(turn);
    this.#last = turn;
    return turn;
  }

  /**
   * Removes the turns at the front that have ended. The unit that is then first begins, unless others come before it in
   * another line. Does nothing if the first turn goes on: a unit that was aborted while waiting ends its turn further
   * back in the line.
   */
  advance(): void {
    if (this.#turns.peek()?.left !== 0) return;
    this.#turns.shift();
    for (let turn = this.#turns.peek(); turn !== undefined; turn = this.#turns.peek()) {
      if (--turn.unit.ownParticulars.ahead === 0 && !turn.unit.settled) this.#lines.begin(turn.unit);
      if (turn.left > 0) return;
      this.#turns.shift(); // aborted before its turn: no remaining operation of its chain uses this position
    }
    this.#lines.remove(this.#key);
  }

  *[Symbol.iterator](): Generator<Turn> {
    yield* this.#turns;
  }
}

/**
 * A line's key. A RingFile has a position of its own, so its key is its descriptor. A descriptor given as a number may
 * be a duplicate of any other descriptor of the same file, so all numbers of a file share a line under the file's
 * identity. A number also stands in the lines of the RingFiles with that identity, and a RingFile in the line of the
 * numbers, if there is one.
 */
type Key = number | string;

/** A file whose own position a request moves. */
interface Used {
  readonly fd: number;
  readonly file: OpenFile | undefined;
}

/**
 * Whether the file is open only for writes to its end, through the page cache. Such writes do not begin at the file's
 * own position, and the kernel does them under a lock of its own, so they need not wait.
 */
function appendsOnly({ file, fd }: Operation): boolean {
  const flags = file?.flags ?? Math.max(0, native().descriptorFlags(fd));
  return (flags & (O_ACCMODE | O_APPEND | O_DIRECT)) === (O_WRONLY | O_APPEND);
}

/** The own positions that an operation uses: one for a transfer, up to two for a splice. */
function usedBy(operation: Operation): readonly Used[] {
  const { opcode, off, addr, fd, spliceFdIn, file } = operation;
  if (isTransfer(opcode))
    return off === -1 && (file ?? describe(fd)).ordered && !appendsOnly(operation) ? [{ fd, file }] : [];
  if (opcode !== IORING_OP_SPLICE) return [];
  const given = [...(off === -1 ? [fd] : []), ...(addr === -1 ? [spliceFdIn] : [])];
  return given.filter((one) => describe(one).ordered).map((one) => ({ fd: one, file: undefined }));
}

/** Whether other units come before it in any line. */
function isBehind({ particulars }: Operation): boolean {
  return particulars !== undefined && particulars.ahead > 0;
}

/** The lines for a ring's files. */
export class OwnPositions {
  readonly #lines = new Map<Key, Line>();
  /** Called with a unit's first operation when the unit is first in all its lines. */
  readonly begin: (unit: Operation) => void;

  constructor(begin: (unit: Operation) => void) {
    this.begin = begin;
  }

  /**
   * Puts a unit in a line for each own position that it uses. Returns whether it may begin at once. If not, `begin` is
   * called later.
   *
   * A chain that moves one file's position in several ways, by a splice or through several descriptors, becomes
   * stepwise: where each of its operations begins is known only when the one before it has ended.
   */
  enter(unit: Operation): boolean {
    const descriptors = new Map<string, number>();
    for (let one: Operation | undefined = unit; one !== undefined; one = one.next) {
      for (const { fd, file } of usedBy(one)) {
        const identity = file?.identity ?? identityOf(fd);
        const { chain } = one;
        if (chain !== undefined && (one.opcode === IORING_OP_SPLICE || (descriptors.get(identity) ?? fd) !== fd))
          chain.isStepwise = true;
        descriptors.set(identity, fd);
        const particulars = one.ownParticulars;
        particulars.turns = [
          ...particulars.turns,
          ...this.#linesOf(fd, file, identity).map((line) => this.#join(line, unit)),
        ];
      }
    }
    return !isBehind(unit);
  }

  /** The units that are waiting for their turn. A unit of which nothing is left is not among them. */
  waiting(): Set<Operation> {
    const found = new Set<Operation>();
    for (const line of this.#lines.values())
      for (const { unit, left } of line) if (left > 0 && isBehind(unit)) found.add(unit);
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

/**
 * Reads the file's own position, and gives the request that position. The unit's turn has come: nothing else of this
 * ring is moving the position.
 */
export function placeAtOwnPosition(operation: Operation, particulars: Particulars): void {
  const [turn] = particulars.turns;
  if (turn === undefined || !isTransfer(operation.opcode) || particulars.onThread) return;
  // The step before has ended, and may have moved the position elsewhere.
  if (operation.chain?.isStepwise === true) turn.next = undefined;
  turn.next ??= native().fileSeek(operation.fd, 0, SEEK_CUR);
  // Not known, as after an append in the same chain: the request keeps -1, and the kernel uses its own position.
  if (turn.next < 0) return;
  particulars.beginsAt = turn.next;
  particulars.appends = appends(operation);
  // Where an append ends is known only to the kernel.
  turn.next = particulars.appends ? -1 : positionAfter(turn.next, transferBytes(operation));
  if (!particulars.appends) operation.off = particulars.beginsAt;
}

/** Moves the file's own position to where a transfer at it has ended. Call it before `Operation.end`. */
export function moveOwnPosition({ fd, res }: Operation, { beginsAt, appends }: Particulars): void {
  if (beginsAt === -1 || res <= 0) return;
  if (!appends) native().fileSeek(fd, positionAfter(beginsAt, res), SEEK_SET);
  // For an append through the page cache the kernel has moved the position itself. With O_DIRECT it has not.
  else if (native().fileSeek(fd, 0, SEEK_CUR) === beginsAt) native().fileSeek(fd, knownSizeOf(fd), SEEK_SET);
}

function appends({ opcode, opFlags, file, fd }: Operation): boolean {
  if (!isWrite(opcode)) return false;
  const flags = file?.flags ?? Math.max(0, native().descriptorFlags(fd));
  return (opFlags & RWF_APPEND) !== 0 || (flags & O_APPEND) !== 0;
}
