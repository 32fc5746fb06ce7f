import { EINVAL } from "../errors/errno.ts";
import { UringError } from "../errors/uring-error.ts";
import type { Sqe } from "../uring/sqe.ts";
import { isTransfer, isVectored } from "../uring/transfers.ts";
import { IORING_OP_OPENAT } from "../uring/uapi.ts";
import { type Descriptor, identityOf } from "./descriptor.ts";
import { O_APPEND, O_DIRECT } from "./open-flags.ts";

/** How O_DIRECT wants transfers of a file aligned, in bytes. */
export interface Alignment {
  /** Addresses of memory. */
  readonly memoryBytes: number;
  /** Positions and lengths. */
  readonly positionBytes: number;
}

/** What to do about an open's error, where that is known. */
export function explainOpen(errno: number, opcode: number, flags: number): { readonly hint: string } | undefined {
  if (errno !== EINVAL || opcode !== IORING_OP_OPENAT || (flags & O_DIRECT) === 0) return undefined;
  return {
    hint: "Most likely the file system of this path has no O_DIRECT, as tmpfs before Linux 6.6, /proc, and some of FUSE and networks: open the file without `direct`.",
  };
}

/**
 * A descriptor that a ring opened, as its requests use it: the kernel may look it up long after they were submitted, so it may not be another file's
 * by then.
 */
export class OpenFile implements Descriptor {
  readonly fd: number;
  /** In the ring's file table. */
  readonly entry: number;
  /** What it was opened by, for errors to name. */
  readonly path: string;
  /** open(2)'s. */
  readonly flags: number;
  /** Of a file opened with O_DIRECT. */
  readonly alignment: Alignment | undefined;
  /** Whether it has positions. */
  readonly seekable: boolean;
  readonly ordered: boolean;
  readonly anonymous: boolean;
  readonly fuse: boolean;
  /** New requests are refused. */
  closing = false;
  #identity: string | undefined;
  #pending = 0;
  /** What uses the file will never end. */
  #givenUp = false;
  #whenIdle: (() => void) | undefined;

  constructor(
    fd: number,
    entry: number,
    path: string,
    flags: number,
    alignment: Alignment | undefined,
    seekable: boolean,
    { ordered, anonymous, fuse }: Descriptor,
  ) {
    this.fd = fd;
    this.entry = entry;
    this.path = path;
    this.flags = flags;
    this.alignment = alignment;
    this.seekable = seekable;
    this.ordered = ordered;
    this.anonymous = anonymous;
    this.fuse = fuse;
  }

  /** See `identityOf`. */
  get identity(): string {
    this.#identity ??= identityOf(this.fd);
    return this.#identity;
  }

  /** Past the page cache (O_DIRECT). */
  get isDirect(): boolean {
    return (this.flags & O_DIRECT) !== 0;
  }

  /** What addresses of memory have to be multiples of, a power of two; where the kernel does not say, of a page. */
  get memoryBytes(): number {
    return this.isDirect ? (this.alignment?.memoryBytes ?? 4096) : 1;
  }

  /** What positions and lengths of transfers have to be multiples of; where the kernel does not say, of a page. */
  get positionBytes(): number {
    return this.isDirect ? (this.alignment?.positionBytes ?? 4096) : 1;
  }

  /** Whether every write goes to the file's end, wherever it says. */
  get appends(): boolean {
    return (this.flags & O_APPEND) !== 0;
  }

  assertUsable(syscall: string): void {
    if (this.closing) throw new UringError("EBADF", syscall, { message: "the file is closed", path: this.path });
  }

  /** @throws UringError ESPIPE: it has no positions, and one was given */
  assertSeekable(syscall: string): void {
    if (this.seekable) return;
    throw new UringError("ESPIPE", syscall, {
      message: "a pipe, a FIFO, a socket or a terminal has no positions",
      hint: "Leave the position out.",
      path: this.path,
    });
  }

  beginUse(): void {
    this.#pending++;
  }

  endUse(): void {
    this.#pending--;
    if (this.#pending === 0) this.#becomeIdle();
  }

  /** Calls back when nothing uses the file, or what does was given up: now, or once. */
  whenIdle(callback: () => void): void {
    if (this.#pending === 0 || this.#givenUp) callback();
    else this.#whenIdle = callback;
  }

  /** Waits no more for what uses the file: its ring is broken. */
  giveUp(): void {
    this.#givenUp = true;
    this.#becomeIdle();
  }

  #becomeIdle(): void {
    this.#whenIdle?.();
    this.#whenIdle = undefined;
  }

  /** What to do about a request's error, where that is known. */
  explain(errno: number, { opcode, off, addr, len }: Sqe): { readonly hint: string } | undefined {
    if (errno !== EINVAL || this.alignment === undefined || !isTransfer(opcode)) return undefined;
    const { memoryBytes, positionBytes } = this.alignment;
    const wrong: string[] = [];
    if (off !== -1 && BigInt(off) % BigInt(positionBytes) !== 0n) wrong.push(`position ${off}`);
    // Of a vector it is the number of parts, and where the parts are is not known any more.
    const isVector = isVectored(opcode);
    if (!isVector && len % positionBytes !== 0) wrong.push(`${len} bytes`);
    const offset = Number(addr) % memoryBytes;
    if (!isVector && offset !== 0) wrong.push(`memory ${offset} bytes into an aligned piece`);
    if (!isVector && wrong.length === 0) return undefined;
    return {
      hint:
        `The file was opened with O_DIRECT, which here wants memory aligned to ${memoryBytes} bytes, positions and lengths to ${positionBytes}` +
        (wrong.length === 0 ? "" : `; this was ${wrong.join(", ")}`),
    };
  }
}
