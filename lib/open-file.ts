import { constants } from "node:fs";
import { IORING_OP_READ, IORING_OP_READ_FIXED, IORING_OP_WRITE, IORING_OP_WRITE_FIXED } from "./uapi.ts";

const EINVAL = -22;

/** How O_DIRECT wants transfers of a file aligned, in bytes. */
export interface Alignment {
  /** Addresses of memory. */
  readonly memoryBytes: number;
  /** Positions and lengths. */
  readonly positionBytes: number;
}

/** A request, as far as its alignment goes. */
interface Transfer {
  readonly opcode: number;
  readonly position: number | bigint;
  readonly address: number;
  readonly length: number;
}

const transferOpcodes: ReadonlySet<number> = new Set([IORING_OP_READ, IORING_OP_READ_FIXED, IORING_OP_WRITE, IORING_OP_WRITE_FIXED]);

/**
 * A descriptor that a ring opened, as its requests use it: the kernel may look it up long after they were submitted, so it may not be another file's
 * by then.
 */
export class OpenFile {
  readonly fd: number;
  /** In the ring's file table. */
  readonly entry: number;
  /** What it was opened by, for errors to name. */
  readonly path: string;
  /** open(2)'s. */
  readonly flags: number;
  /** Of a file opened with O_DIRECT. */
  readonly alignment: Alignment | undefined;
  /** Whether the registered file table has it, too. */
  readonly installed: boolean;
  #pending = 0;
  #whenIdle: (() => void) | undefined;

  constructor(fd: number, entry: number, path: string, flags: number, alignment: Alignment | undefined, installed: boolean) {
    this.fd = fd;
    this.entry = entry;
    this.path = path;
    this.flags = flags;
    this.alignment = alignment;
    this.installed = installed;
  }

  /** Past the page cache (O_DIRECT). */
  get isDirect(): boolean {
    return (this.flags & constants.O_DIRECT) !== 0;
  }

  /** What positions and lengths of transfers have to be multiples of; where the kernel does not say, of a page. */
  get positionBytes(): number {
    return this.isDirect ? (this.alignment?.positionBytes ?? 4096) : 1;
  }

  /** Whether every write goes to the file's end, wherever it says. */
  get appends(): boolean {
    return (this.flags & constants.O_APPEND) !== 0;
  }

  beginUse(): void {
    this.#pending++;
  }

  endUse(): void {
    this.#pending--;
    if (this.#pending === 0) this.#whenIdle?.();
  }

  /** Calls back when nothing uses the file: now, or once. */
  whenIdle(callback: () => void): void {
    if (this.#pending === 0) callback();
    else this.#whenIdle = callback;
  }

  /** What to do about a request's error, where that is known. */
  explain(errno: number, { opcode, position, address, length }: Transfer): { readonly hint: string } | undefined {
    if (errno !== EINVAL || this.alignment === undefined || !transferOpcodes.has(opcode)) return undefined;
    const { memoryBytes, positionBytes } = this.alignment;
    const place = position === -1 ? "the file's own position" : `position ${position}`;
    return {
      hint:
        `The file was opened with O_DIRECT, which here wants memory aligned to ${memoryBytes} bytes, positions and lengths to ${positionBytes}; ` +
        `this was ${length} bytes at ${place}, ${address % Math.max(1, memoryBytes)} bytes into an aligned piece of memory`,
    };
  }
}
