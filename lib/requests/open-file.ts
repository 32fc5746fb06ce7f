import { EINVAL } from "../errors/errno.ts";
import { UringError } from "../errors/uring-error.ts";
import type { Sqe } from "../uring/sqe.ts";
import { isTransfer, isVectored } from "../uring/transfers.ts";
import { IORING_OP_OPENAT } from "../uring/uapi.ts";
import { type Descriptor, identityOf } from "./descriptor.ts";
import { O_APPEND, O_DIRECT } from "./open-flags.ts";

/** The alignment that O_DIRECT requires of a file's transfers, in bytes. */
export interface Alignment {
  /** For memory addresses. */
  readonly memoryBytes: number;
  /** For positions and lengths. */
  readonly positionBytes: number;
}

/** What to do about an open's error, if that is known. */
export function explainOpen(errno: number, opcode: number, flags: number): { readonly hint: string } | undefined {
  if (errno !== EINVAL || opcode !== IORING_OP_OPENAT || (flags & O_DIRECT) === 0) return undefined;
  return {
    hint: "Most likely this path's file system does not support O_DIRECT, like tmpfs before Linux 6.6, /proc, and some FUSE and network file systems. Open the file without `direct`.",
  };
}

/**
 * A descriptor that a ring opened, as its requests use it. The kernel may look up a request's descriptor long after the
 * request was submitted. So the descriptor must not be closed while a request uses it, or its number could belong to
 * another file by then.
 */
export class OpenFile implements Descriptor {
  readonly fd: number;
  /** Its entry in the ring's file table. */
  readonly entry: number;
  /** The path that it was opened with, for error messages. */
  readonly path: string;
  /** The flags given to open(2). */
  readonly flags: number;
  /** Of a file opened with O_DIRECT, if the kernel reports it. */
  readonly alignment: Alignment | undefined;
  /** Whether the file has positions. */
  readonly seekable: boolean;
  readonly fifo: boolean;
  readonly regular: boolean;
  readonly ordered: boolean;
  readonly anonymous: boolean;
  readonly fuse: boolean;
  /** Whether new requests are refused. */
  closing = false;
  /** Counts the requests that may change the content, as they begin, and all that node:fs does to the file. */
  changes = 0;
  #identity: string | undefined;
  #pending = 0;
  /** The requests that use the file will never end: the ring is broken. */
  #givenUp = false;
  #whenIdle: (() => void) | undefined;

  constructor(
    fd: number,
    entry: number,
    path: string,
    flags: number,
    alignment: Alignment | undefined,
    seekable: boolean,
    { fifo, regular, ordered, anonymous, fuse }: Descriptor,
  ) {
    this.fd = fd;
    this.entry = entry;
    this.path = path;
    this.flags = flags;
    this.alignment = alignment;
    this.seekable = seekable;
    this.fifo = fifo;
    this.regular = regular;
    this.ordered = ordered;
    this.anonymous = anonymous;
    this.fuse = fuse;
  }

  /** See `identityOf`. */
  get identity(): string {
    this.#identity ??= identityOf(this.fd);
    return this.#identity;
  }

  /** Whether the file was opened with O_DIRECT, so that transfers bypass the page cache. */
  get isDirect(): boolean {
    return (this.flags & O_DIRECT) !== 0;
  }

  /** Memory addresses must be multiples of this, a power of two. A page if the kernel does not report it. */
  get memoryBytes(): number {
    return this.isDirect ? (this.alignment?.memoryBytes ?? 4096) : 1;
  }

  /** Positions and lengths of transfers must be multiples of this. A page if the kernel does not report it. */
  get positionBytes(): number {
    return this.isDirect ? (this.alignment?.positionBytes ?? 4096) : 1;
  }

  /** Whether every write goes to the end of the file, whatever position it names. */
  get appends(): boolean {
    return (this.flags & O_APPEND) !== 0;
  }

  assertUsable(syscall: string): void {
    if (this.closing) throw new UringError("EBADF", syscall, { message: "the file is closed", path: this.path });
  }

  /** @throws UringError ESPIPE: the file has no positions */
  assertSeekable(syscall: string): void {
    if (this.seekable) return;
    throw new UringError("ESPIPE", syscall, {
      message: "a pipe, a FIFO, a socket or a terminal has no positions",
      hint: "Leave the position out.",
      path: this.path,
    });
  }

  /** Whether no request uses the file. */
  get idle(): boolean {
    return this.#pending === 0;
  }

  beginUse(): void {
    this.#pending++;
  }

  endUse(): void {
    this.#pending--;
    if (this.#pending === 0) this.#becomeIdle();
  }

  /**
   * Calls back once, when no request uses the file or `giveUp` was called; immediately if that is so already. Only one
   * callback can wait.
   */
  whenIdle(callback: () => void): void {
    if (this.#pending === 0 || this.#givenUp) callback();
    else this.#whenIdle = callback;
  }

  /** Stops waiting for the requests that use the file, because its ring is broken. */
  giveUp(): void {
    this.#givenUp = true;
    this.#becomeIdle();
  }

  #becomeIdle(): void {
    this.#whenIdle?.();
    this.#whenIdle = undefined;
  }

  /** What to do about a request's error, if that is known. */
  explain(errno: number, { opcode, off, addr, len }: Sqe): { readonly hint: string } | undefined {
    if (errno !== EINVAL || this.alignment === undefined || !isTransfer(opcode)) return undefined;
    const { memoryBytes, positionBytes } = this.alignment;
    const wrong: string[] = [];
    if (off !== -1 && BigInt(off) % BigInt(positionBytes) !== 0n) wrong.push(`position ${off}`);
    // For a vectored transfer `len` is the number of parts, and the addresses of the parts are no longer known.
    const isVector = isVectored(opcode);
    if (!isVector && len % positionBytes !== 0) wrong.push(`length ${len}`);
    const offset = Number(addr) % memoryBytes;
    if (!isVector && offset !== 0) wrong.push(`memory ${offset} bytes past an aligned address`);
    if (!isVector && wrong.length === 0) return undefined;
    return {
      hint:
        `The file was opened with O_DIRECT, which here requires memory aligned to ${memoryBytes} bytes, positions and lengths to ${positionBytes}` +
        (wrong.length === 0 ? "" : `; this request had ${wrong.join(", ")}`),
    };
  }
}
