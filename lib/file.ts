import type { BigIntStats, Stats, TimeLike } from "node:fs";
import type { Interface } from "node:readline/promises";
import { checkBoolean, checkInteger, checkOptions, checkPosition, checkSignal, invalidType, mark } from "./arguments.ts";
import { UringError } from "./errors.ts";
import type { FixedBuffer } from "./fixed-buffer.ts";
import { Buffer, Promise, process } from "./globals.ts";
import { kernel } from "./kernel.ts";
import { largestTransferBytes } from "./limits.ts";
import { addressOf } from "./native.ts";
import type { Alignment, OpenFile } from "./open-file.ts";
import { type Place, type Reclaimable, track, untrack } from "./open-handles.ts";
import type { Prepared } from "./operation.ts";
import * as operations from "./operations.ts";
import { type ReadableOptions, readableOf } from "./readable.ts";
import type { RequestQueue } from "./request-queue.ts";
import { type FixedTransferOptions, type FixedWriteOptions, type Lease, noOptions, type RingCore } from "./ring-core.ts";
import { deviceNumber, STATX_BASIC_STATS, STATX_BTIME, type Statx } from "./statx.ts";
import type { StreamedFile } from "./stream-memory.ts";
import { IORING_OP_FTRUNCATE } from "./uapi.ts";
import { warn } from "./warn.ts";
import { type WritableChunk, type WritableOptions, writableOf } from "./writable.ts";

/** Bytes of a piece that async iteration reads. */
const pieceBytes = 65536;

/** What a ring needs of a file: its descriptor, where it is open and that ring's. */
export let openFileOf: (file: RingFile, core: RingCore, syscall: string) => OpenFile;

/** What node:fs does on threads of its own; node:util, which has promisify, takes long to load. */
function promised<Value>(act: (done: (error: Error | null, value: Value) => void) => void): Promise<Value> {
  return new Promise((resolve, reject) => act((error, value) => (error === null ? resolve(value) : reject(error))));
}

/** Arguments of `RingFile.read` and `RingFile.write`, by name. */
export interface ReadOptions<View> {
  /** Any view. Default, where it is read into: one of 16384 bytes. */
  readonly buffer?: View;
  /** In the buffer, in bytes. Default 0. */
  readonly offset?: number | null;
  /** In bytes. Default: to the buffer's end. */
  readonly length?: number | null;
  /** In the file, in bytes. Default null: its own position. */
  readonly position?: number | bigint | null;
}

function bytesOf(name: string, view: unknown): Uint8Array {
  if (!ArrayBuffer.isView(view)) throw invalidType(name, "a view of memory (a Buffer, a typed array, a DataView)", view);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Memory that cannot move: the view itself, or as much elsewhere, aligned as the file wants it. */
function sharedMemoryFor(view: Uint8Array, file: OpenFile): Uint8Array {
  if (view.buffer instanceof SharedArrayBuffer) return view;
  const { memoryBytes } = file;
  const memory = new SharedArrayBuffer(view.length + memoryBytes - 1);
  const offset = memoryBytes === 1 ? 0 : -addressOf(memory) & (memoryBytes - 1);
  return new Uint8Array(memory, offset, view.length);
}

/** The same content in memory that cannot move. */
function sharedCopyOf(view: Uint8Array, file: OpenFile): Uint8Array {
  const memory = sharedMemoryFor(view, file);
  if (memory !== view) memory.set(view);
  return memory;
}

/** What writeFile takes: text, or any view. */
export type FileData = string | NodeJS.ArrayBufferView;

function isIterable(data: unknown): data is Iterable<FileData> | AsyncIterable<FileData> {
  return typeof data === "object" && data !== null && (Symbol.iterator in data || Symbol.asyncIterator in data);
}

function positionOf(position: unknown): number | bigint | undefined {
  if (position === undefined || position === null || position === -1 || position === -1n) return undefined;
  checkPosition("position", position, 0);
  return position;
}

/** The arguments of a read or a write, in either form. */
function transferOf(name: string, buffer: unknown, offset: unknown, length: unknown, position: unknown) {
  if (!ArrayBuffer.isView(buffer) && (buffer === undefined || (typeof buffer === "object" && buffer !== null))) {
    const options: ReadOptions<NodeJS.ArrayBufferView> = buffer ?? {};
    checkOptions(options, ["buffer", "offset", "length", "position"]);
    return rangeOf(name, options.buffer ?? Buffer.alloc(16384), options.offset, options.length, options.position);
  }
  if (typeof offset === "object" && offset !== null) {
    const options: ReadOptions<NodeJS.ArrayBufferView> = offset;
    checkOptions(options, ["offset", "length", "position"]);
    return rangeOf(name, buffer, options.offset, options.length, options.position);
  }
  return rangeOf(name, buffer, offset, length, position);
}

function rangeOf(name: string, buffer: unknown, offset: unknown, length: unknown, position: unknown) {
  const bytes = bytesOf(name, buffer);
  const from = offset ?? 0;
  checkInteger("offset", from, 0, bytes.length);
  const count = length ?? bytes.length - from;
  checkInteger("length", count, 0, bytes.length - from);
  return { buffer, bytes: bytes.subarray(from, from + count), position: positionOf(position) };
}

/** Options of whole-file methods: an encoding, or an object. */
export interface FileOptions {
  /** Of text. Default: none for reading, which so gives bytes, "utf8" for writing. */
  readonly encoding?: BufferEncoding | null;
  /** Rejects the promise with its reason when aborted; what was read or written by then stays so. */
  readonly signal?: AbortSignal;
}

function fileOptions(given: BufferEncoding | FileOptions | null | undefined): { encoding: BufferEncoding | undefined; signal: AbortSignal | undefined } {
  const options: FileOptions = typeof given === "string" ? { encoding: given } : (given ?? {});
  checkOptions(options, ["encoding", "signal"]);
  const { encoding, signal } = options;
  if (encoding !== undefined && encoding !== null && !Buffer.isEncoding(encoding)) throw invalidType("encoding", "an encoding's name", encoding);
  if (signal !== undefined) checkSignal(signal);
  return { encoding: encoding ?? undefined, signal };
}

const fs = () => process.getBuiltinModule("node:fs"); // loaded when it is needed: it takes longer than making a ring

function statsOf(found: Statx): Stats {
  const ms = (ns: bigint) => Number(ns / 1_000_000n) + Number(ns % 1_000_000n) / 1e6;
  return Reflect.construct(fs().Stats, [
    deviceNumber(found.devMajor, found.devMinor),
    found.mode,
    found.nlink,
    found.uid,
    found.gid,
    deviceNumber(found.rdevMajor, found.rdevMinor),
    found.blksize,
    Number(found.ino),
    Number(found.size),
    Number(found.blocks),
    ms(found.atimeNs),
    ms(found.mtimeNs),
    ms(found.ctimeNs),
    ms(found.btimeNs),
  ]);
}

/** What stands behind a RingFile. */
class FileLife implements Reclaimable {
  readonly kind = "RingFile";
  readonly #requests: RequestQueue;
  readonly #open: OpenFile;
  #closing: Promise<void> | undefined;

  constructor(requests: RequestQueue, open: OpenFile) {
    this.#requests = requests;
    this.#open = open;
  }

  get label(): string {
    return `'${this.#open.path}'`;
  }

  get ended(): boolean {
    return this.#open.closing || this.#requests.closed;
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#closing = promise;
      this.#open.closing = true;
      untrack(this);
      const { fd, entry } = this.#open;
      this.#open.whenIdle(() => resolve(this.#requests.closed ? this.#requests.close() : this.#requests.closeFile(fd, entry)));
    }
    return this.#closing;
  }

  reclaim(): void {
    this.close().catch((error: unknown) => warn("bun-uring: closing a file that nobody has any more:", error));
  }
}

/**
 * A file opened by `Ring.open`. It belongs to that ring, whose close closes it.
 *
 * @example
 * ```ts
 * import { Ring } from "bun-uring";
 *
 * await using ring = new Ring();
 * await using file = await ring.open("notes.txt", "r+");
 * const { size } = await file.stat();
 * await file.write("four\n", size);
 * console.log(await file.readFile("utf8"));
 * ```
 */
export class RingFile implements AsyncDisposable {
  readonly #lease: Lease;
  readonly #open: OpenFile;
  readonly #life: FileLife;

  /** Rings make these: `Ring.open`. @internal */
  constructor(lease: Lease, open: OpenFile, place: Place) {
    this.#lease = lease;
    this.#open = open;
    this.#life = new FileLife(lease.core.requests, open);
    track(this, this.#life, place);
  }

  /** The descriptor, for as long as this object is kept; -1 once the file or its ring is closed. */
  get fd(): number {
    return this.closed ? -1 : this.#open.fd;
  }

  /** Whether the file or its ring was closed. */
  get closed(): boolean {
    return this.#life.ended;
  }

  /** How O_DIRECT wants transfers aligned, where the file was opened with it and the kernel says (Linux 6.1, most file systems). */
  get alignment(): Alignment | undefined {
    return this.#open.alignment;
  }

  /**
   * Reads into a buffer, or part of one, as FileHandle.read does. Memory of a SharedArrayBuffer is read into directly, other memory by way of a copy.
   * @param buffer - any view; default one of 16384 bytes
   * @param offset - in the buffer, in bytes, or an object with the other arguments. Default 0.
   * @param length - in bytes. Default: to the buffer's end.
   * @param position - in the file, in bytes; null, or -1: its own position, which moves on. Default null.
   * @returns how many bytes were read, which may be fewer than asked for, 0 at the file's end; and the buffer
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EBADF: the file or its ring is closed, or it is not open for reading; EISDIR: a folder; EINVAL: often a misaligned O_DIRECT transfer
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * const { bytesRead, buffer } = await file.read(Buffer.alloc(4096), { position: 4 });
   * console.log(buffer.toString("utf8", 0, bytesRead)); // from the second line on
   * ```
   * @see io_uring_prep_read(3)
   */
  read<View extends NodeJS.ArrayBufferView>(
    buffer: View,
    offset?: number | Omit<ReadOptions<never>, "buffer"> | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: View }>;
  read<View extends NodeJS.ArrayBufferView = Buffer>(options?: ReadOptions<View>): Promise<{ bytesRead: number; buffer: View }>;
  async read<View extends NodeJS.ArrayBufferView = Buffer>(
    buffer?: View | ReadOptions<View>,
    offset?: number | Omit<ReadOptions<View>, "buffer"> | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: View }> {
    const given = transferOf("buffer", buffer, offset, length, position);
    // FileHandle asks nobody for nothing.
    if (given.bytes.length === 0 && !this.closed) return { bytesRead: 0, buffer: given.buffer as View };
    const bytesRead = await this.#transfer("read", given.bytes, given.position);
    return { bytesRead, buffer: given.buffer as View };
  }

  /**
   * Writes a buffer, or part of one, or a string, as FileHandle.write does.
   * @param buffer - any view, or a string
   * @param offset - in the buffer, in bytes, or an object with the other arguments; for a string its position in the file
   * @param length - in bytes, default: to the buffer's end; for a string its encoding
   * @param position - in the file, in bytes; null: its own position, which moves on. Default null.
   * @returns how many bytes were written, which may be fewer than asked for; and the buffer
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EBADF: the file or its ring is closed, or it is not open for writing; ENOSPC, EDQUOT, EFBIG: no room
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("new.txt", "w");
   * await file.write("text\n"); // at the file's own position, which moves on
   * await file.write(Buffer.from("bytes\n"), 0, 6, 100); // at position 100
   * ```
   * @see io_uring_prep_write(3)
   */
  async write<Data extends NodeJS.ArrayBufferView | string>(
    buffer: Data,
    offset?: number | Omit<ReadOptions<never>, "buffer"> | null,
    length?: number | BufferEncoding | null,
    position?: number | bigint | null,
  ): Promise<{ bytesWritten: number; buffer: Data }> {
    if (typeof buffer === "string") {
      if (typeof offset === "object" && offset !== null) throw invalidType("position", "a number", offset);
      const encoded = Buffer.from(buffer, typeof length === "string" ? length : "utf8");
      return { bytesWritten: await this.#transfer("write", encoded, positionOf(offset)), buffer };
    }
    if (typeof length === "string") throw invalidType("length", "a number", length);
    const given = transferOf("buffer", buffer, offset, length, position);
    if (ArrayBuffer.isView(buffer) && buffer.byteLength === 0 && !this.closed) return { bytesWritten: 0, buffer };
    return { bytesWritten: await this.#transfer("write", given.bytes, given.position), buffer };
  }

  /**
   * Reads into several buffers, one after the other, as FileHandle.readv does.
   * @param buffers - up to 1024 views
   * @param position - in the file, in bytes; null: its own position, which moves on. Default null.
   * @throws TypeError, RangeError, UringError: as read
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * const first = Buffer.alloc(4);
   * const rest = Buffer.alloc(4096);
   * const { bytesRead } = await file.readv([first, rest], 0);
   * console.log(bytesRead, first.toString()); // 14 "one\n"
   * ```
   * @see io_uring_prep_readv(3)
   */
  async readv<Views extends readonly NodeJS.ArrayBufferView[]>(
    buffers: Views,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffers: Views }> {
    return { bytesRead: await this.#transferSeveral("read", buffers, position), buffers };
  }

  /**
   * Writes several buffers, as FileHandle.writev does. Arguments are those of readv.
   * @throws TypeError, RangeError, UringError: as write
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("new.txt", "w");
   * const { bytesWritten } = await file.writev([Buffer.from("head\n"), Buffer.from("body\n")]);
   * console.log(bytesWritten); // 10
   * ```
   * @see io_uring_prep_writev(3)
   */
  async writev<Views extends readonly NodeJS.ArrayBufferView[]>(
    buffers: Views,
    position?: number | bigint | null,
  ): Promise<{ bytesWritten: number; buffers: Views }> {
    return { bytesWritten: await this.#transferSeveral("write", buffers, position), buffers };
  }

  /**
   * Reads into a slot of one of the ring's pools, as `Ring.readFixed` does.
   * @param buffer - a slot of one of the ring's pools
   * @throws TypeError, RangeError, UringError: as `Ring.readFixed`
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("disk.img");
   * using buffer = await pool.acquire();
   * const bytesRead = await file.readFixed(buffer, { position: 0 });
   * console.log(bytesRead); // 65536
   * ```
   * @see io_uring_prep_read_fixed(3)
   */
  readFixed(buffer: FixedBuffer, options: FixedTransferOptions = noOptions): Promise<number> {
    return this.#transferFixed("read", buffer, options);
  }

  /**
   * Writes from a slot of one of the ring's pools, as `Ring.writeFixed` does.
   * @param buffer - a slot of one of the ring's pools
   * @throws TypeError, RangeError, UringError: as `Ring.writeFixed`
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("copy.img", "w");
   * using buffer = await pool.acquire();
   * await file.writeFixed(buffer, { position: 0, length: 4096 });
   * ```
   * @see io_uring_prep_write_fixed(3)
   */
  writeFixed(buffer: FixedBuffer, options: FixedWriteOptions = noOptions): Promise<number> {
    return this.#transferFixed("write", buffer, options);
  }

  /**
   * Writes all of a buffer, or of a part of one, and resolves when that is on stable storage: a write and an fdatasync in one chain, one system call. Arguments
   * are those of write.
   * @returns how many bytes were written, which is all; and the buffer
   * @throws TypeError, RangeError, UringError: as write; EIO: also where the file takes no more
   * @throws UringError EIO, ENOSPC, EDQUOT: not all of it could be written back
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("journal", "a");
   * await file.writeDurably(Buffer.from("committed\n"));
   * ```
   * @see io_uring_prep_write(3), io_uring_prep_fsync(3), fdatasync(2)
   */
  async writeDurably<View extends NodeJS.ArrayBufferView>(
    buffer: View,
    offset?: number | Omit<ReadOptions<never>, "buffer"> | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesWritten: number; buffer: View }> {
    const given = transferOf("buffer", buffer, offset, length, position);
    const memory = sharedCopyOf(given.bytes, this.#open);
    for (let written = 0; ; ) {
      const part = memory.subarray(written, written + largestTransferBytes);
      const at = given.position === undefined ? undefined : BigInt(given.position) + BigInt(written);
      const [writing, syncing] = this.#requests.link([
        () => this.#run<number | undefined>(() => operations.transfer("write", this.#opened("write"), part, at)),
        () => this.#run<number | undefined>(() => operations.sync("fdatasync", this.#opened("fdatasync"))),
      ]);
      const [write, sync] = await Promise.allSettled([writing, syncing]);
      if (write.status === "rejected") throw write.reason;
      written += write.value ?? 0;
      const isShort = (write.value ?? 0) < part.length;
      if (sync.status === "rejected" && !isShort) throw sync.reason;
      if (isShort && write.value === 0) throw operations.noMoreTaken(written, memory.length);
      if (written === memory.length) return { bytesWritten: written, buffer };
    }
  }

  /**
   * Cuts the file off, or lengthens it with zeros. Before Linux 6.9 by way of node:fs.
   * @param length - in bytes. Default 0; less than 0 is 0, as FileHandle has it
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EBADF: the file or its ring is closed; EINVAL: not open for writing, or no regular file
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt", "r+");
   * await file.truncate(4);
   * console.log(await file.readFile("utf8")); // one
   * ```
   * @see io_uring_prep_ftruncate(3)
   */
  async truncate(length?: number | null): Promise<void> {
    if (length !== undefined && length !== null) checkInteger("length", length, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    const bytes = Math.max(0, length ?? 0);
    if (kernel().opcodes.has(IORING_OP_FTRUNCATE)) return this.#run(() => operations.ftruncate(this.#opened("ftruncate"), bytes));
    return this.#requests.outside(this.#open, "ftruncate", (fd) => promised<void>((done) => fs().ftruncate(fd, bytes, done)));
  }

  /**
   * Changes the permissions, as FileHandle.chmod does. io_uring has no request for it: node:fs does it on the descriptor.
   * @param mode - permissions, as 0o600, or "600"
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EBADF: the file or its ring is closed; otherwise an Error of node:fs: EPERM, EROFS
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * await file.chmod(0o600);
   * ```
   * @see fchmod(2)
   */
  chmod(mode: number | string): Promise<void> {
    return this.#requests.outside(this.#open, "fchmod", (fd) => promised<void>((done) => fs().fchmod(fd, mode, done)));
  }

  /**
   * Changes the owner, as FileHandle.chown does; by way of node:fs, as chmod.
   * @param uid - the user's number; -1 leaves it
   * @param gid - the group's number; -1 leaves it
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EBADF: the file or its ring is closed; otherwise an Error of node:fs: EPERM, EROFS
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * const { uid, gid } = await file.stat();
   * await file.chown(uid, gid);
   * ```
   * @see fchown(2)
   */
  chown(uid: number, gid: number): Promise<void> {
    return this.#requests.outside(this.#open, "fchown", (fd) => promised<void>((done) => fs().fchown(fd, uid, gid, done)));
  }

  /**
   * Changes the times of last access and change, as FileHandle.utimes does; by way of node:fs, as chmod.
   * @param atime - last access: a Date, seconds since 1970, or those as a string
   * @param mtime - last change, in the same ways
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EBADF: the file or its ring is closed; otherwise an Error of node:fs: EPERM, EACCES, EROFS
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * await file.utimes(new Date(), new Date("2026-01-01"));
   * ```
   * @see utimensat(2)
   */
  utimes(atime: TimeLike, mtime: TimeLike): Promise<void> {
    return this.#requests.outside(this.#open, "futimes", (fd) => promised<void>((done) => fs().futimes(fd, atime, mtime, done)));
  }

  /**
   * Resolves when content and metadata are on stable storage.
   * @throws UringError EBADF: the file or its ring is closed; EIO, ENOSPC, EDQUOT: not all of it could be written back; EINVAL: what has no storage, as a pipe
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt", "a");
   * await file.writeFile("four\n");
   * await file.sync();
   * ```
   * @see io_uring_prep_fsync(3)
   */
  sync(): Promise<void> {
    return this.#run(() => operations.sync("fsync", this.#opened("fsync")));
  }

  /**
   * Resolves when the content, and the metadata needed to read it back, are on stable storage.
   * @throws UringError: as sync
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt", "a");
   * await file.writeFile("four\n");
   * await file.datasync();
   * ```
   * @see io_uring_prep_fsync(3)
   */
  datasync(): Promise<void> {
    return this.#run(() => operations.sync("fdatasync", this.#opened("fdatasync")));
  }

  /**
   * The file's metadata, as node:fs has it.
   * @param options.bigint - all numbers as bigints, and times in nanoseconds too; by way of node:fs, which alone can make a BigIntStats. Default false.
   * @throws TypeError: an option's type
   * @throws UringError EBADF: the file or its ring is closed
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * const { size, mtime } = await file.stat();
   * console.log(size, mtime);
   * ```
   * @see io_uring_prep_statx(3)
   */
  stat(options?: { readonly bigint?: false }): Promise<Stats>;
  stat(options: { readonly bigint: true }): Promise<BigIntStats>;
  stat(options?: { readonly bigint?: boolean }): Promise<Stats | BigIntStats>;
  async stat(options: { readonly bigint?: boolean } = noOptions): Promise<Stats | BigIntStats> {
    checkOptions(options, ["bigint"]);
    const { bigint = false } = options;
    checkBoolean("options.bigint", bigint);
    if (bigint) return this.#requests.outside(this.#open, "fstat", (fd) => promised<BigIntStats>((done) => fs().fstat(fd, { bigint }, done)));
    return statsOf(await this.#run(() => operations.statx(this.#opened("statx"), STATX_BASIC_STATS | STATX_BTIME, 0)));
  }

  /**
   * All of the file from its own position on, as FileHandle.readFile has it.
   * @param options - an encoding, or an object with `encoding` and `signal`
   * @returns a Buffer; a string, where an encoding is given
   * @throws TypeError: an option's type or value; or the call is an operation of a chain
   * @throws UringError: as read
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * const text = await file.readFile("utf8");
   * console.log(text.split("\n").length); // 4
   * ```
   * @see io_uring_prep_read(3)
   */
  readFile(options?: (FileOptions & { readonly encoding?: null }) | null): Promise<Buffer>;
  readFile(options: BufferEncoding | (FileOptions & { readonly encoding: BufferEncoding })): Promise<string>;
  async readFile(options?: BufferEncoding | FileOptions | null): Promise<Buffer | string> {
    this.#requests.assertUnlinked("readFile");
    const { encoding, signal } = fileOptions(options);
    const { size } = await this.stat();
    const parts: Uint8Array[] = [];
    const { positionBytes } = this.#open;
    let readBytes = 0;
    // One byte more than there seems to be: that there is none is the end. Of what has no size, as in /proc, only a read of nothing is.
    for (
      let expected = Math.max(Math.ceil((size + 1) / positionBytes) * positionBytes, 65536);
      ;
      expected = Math.max(Math.ceil((size + 1 - readBytes) / positionBytes) * positionBytes, 65536)
    ) {
      const bytes = new Uint8Array(new SharedArrayBuffer(Math.min(expected, largestTransferBytes)));
      const bytesRead = await this.#transfer("read", bytes, undefined, signal);
      parts.push(bytes.subarray(0, bytesRead));
      readBytes += bytesRead;
      // Where O_DIRECT cannot go on from, the end was: what has grown behind it since comes too late.
      const isEnd = bytesRead === 0 || bytesRead % positionBytes !== 0;
      if (isEnd || (size > 0 && readBytes >= size && bytesRead < bytes.length)) break;
    }
    const content = Buffer.concat(parts);
    return encoding ? content.toString(encoding) : content;
  }

  /**
   * Writes all of the data, from the file's own position on, as FileHandle.writeFile does. It does not cut the file off.
   * @param data - a string, any view, or an iterable or stream of those
   * @param options - an encoding, or an object with `encoding` and `signal`
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError: as write; EIO: also where the file takes no more
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("new.txt", "w");
   * await file.writeFile("text\n");
   * await file.writeFile(Bun.file("notes.txt").stream(), { signal: AbortSignal.timeout(1000) });
   * ```
   * @see io_uring_prep_write(3)
   */
  async writeFile(data: FileData | Iterable<FileData> | AsyncIterable<FileData>, options?: BufferEncoding | FileOptions | null): Promise<void> {
    const { encoding, signal } = fileOptions(options);
    this.#opened("write"); // also where there is nothing to write
    if (typeof data === "string" || ArrayBuffer.isView(data)) return this.#writeAll(data, encoding, signal);
    this.#requests.assertUnlinked("writeFile");
    if (!isIterable(data)) throw invalidType("data", "a string, a view of memory (a Buffer, a typed array, a DataView), or an iterable of those", data);
    for await (const part of data) await this.#writeAll(part, encoding, signal);
  }

  /**
   * writeFile, as FileHandle has it: a file opened with "a" is appended to.
   * @param parameters - those of writeFile
   * @throws TypeError, RangeError, UringError: as writeFile
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt", "a");
   * await file.appendFile("four\n");
   * ```
   * @see io_uring_prep_write(3)
   */
  appendFile(...parameters: Parameters<RingFile["writeFile"]>): Promise<void> {
    return this.writeFile(...parameters);
  }

  /**
   * The content as a stream, with several reads in flight. Its chunks are copies, and the stream a byte stream: fit for pipeTo, tee, a Response, and consumers that
   * keep chunks.
   *
   * With `zeroCopy` the chunks are views of the pool's slots: for consumers that are done with a chunk before they ask for the next, as Bun.serve is, and not for tee() or
   * `Response.bytes()`. A chunk is the consumer's until it asks for the next, also when the stream is cancelled, aborted or fails meanwhile. Then its slot is given back when
   * the chunk and its subarrays are collected, or at once where it is let go of: by `for await (using chunk of …)`, or by `chunk[Symbol.dispose]()`.
   *
   * A stream waits for no slot, and takes none where only one is free: there it reads on into up to 64 KiB of memory of its own. So a consumer that does not read, a
   * client for instance, keeps one slot and what was read ahead, and keeps nobody waiting.
   * @param options.pool - of the ring; its slots are the reads' memory. Default none.
   * @param options.position - in the file, in bytes; null: its own position, one read at a time. Default 0; null of what has no positions: a pipe, a FIFO, a socket, a tty.
   * @param options.length - in bytes, at most. Default: to the file's end.
   * @param options.depth - reads in flight, 1 to 1024. Default 4.
   * @param options.autoClose - close the file when the stream ends, fails or is cancelled. Default false.
   * @throws TypeError, RangeError: an option's type or value
   * @throws UringError EBADF: the file is closed; ESPIPE: a position of what has none; what reading reports is the stream's error
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * using server = Bun.serve({
   *   port: 0,
   *   fetch: async () => new Response((await ring.open("disk.img")).readable({ pool, zeroCopy: true, autoClose: true })),
   * });
   * console.log((await (await fetch(server.url)).bytes()).length); // 1048576
   * ```
   * @see io_uring_prep_read(3), io_uring_prep_read_fixed(3)
   */
  readable(options: ReadableOptions & { readonly zeroCopy: true }): ReadableStream<Uint8Array & Disposable>;
  readable(options?: ReadableOptions): ReadableStream<Uint8Array>;
  readable(options: ReadableOptions = noOptions): ReadableStream<Uint8Array> {
    return readableOf(this.#streamed("read"), options);
  }

  /**
   * A stream that writes the file, with several writes in flight, each at the position after the one before, so that chunks land in order. A chunk is copied, and may
   * be used again when the promise of its write has resolved; one whose memory is detached or shrinks before fails with a TypeError. Where every write goes to the file's end ("a"), one is in flight at a time. With O_DIRECT
   * each chunk has to be a multiple of the alignment.
   * @param options.pool - of the ring; its slots are the writes' memory. Default none.
   * @param options.position - in the file, in bytes; null: its own position, one write at a time. Default 0; null of what has no positions: a pipe, a FIFO, a socket, a tty.
   * @param options.depth - writes in flight, 1 to 1024. Default 4.
   * @param options.durable - closing the stream waits until the content is on stable storage. Default false.
   * @param options.autoClose - close the file when the stream ends, fails or is aborted. Default false.
   * @throws TypeError, RangeError: an option's type or value
   * @throws UringError EBADF: the file is closed; ESPIPE: a position of what has none; what writing reports is the stream's error
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * const copy = await ring.open("copy.img", "w");
   * await Bun.file("disk.img").stream().pipeTo(copy.writable({ pool, durable: true, autoClose: true }));
   * ```
   * @see io_uring_prep_write(3), io_uring_prep_write_fixed(3)
   */
  writable(options: WritableOptions = noOptions): WritableStream<WritableChunk> {
    return writableOf(this.#streamed("write"), options);
  }

  /**
   * The content from the file's own position on, in pieces of up to 64 KiB; ends at the file's end, and leaves the file open.
   * @throws UringError: as read, from the iteration
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("disk.img");
   * let bytes = 0;
   * for await (const piece of file) bytes += piece.length;
   * console.log(bytes); // 1048576
   * ```
   * @see io_uring_prep_read(3)
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const { bytesRead, buffer } = await this.read<Buffer>(Buffer.allocUnsafeSlow(pieceBytes));
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /**
   * The content's lines from the file's own position on, as FileHandle.readLines has them, but that the file stays open.
   * @param options.encoding - of the text. Default "utf8".
   * @throws TypeError: an option's name or type
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * for await (const line of file.readLines()) console.log(line);
   * ```
   * @see io_uring_prep_read(3)
   */
  readLines(options: { readonly encoding?: BufferEncoding } = noOptions): Interface {
    checkOptions(options, ["encoding"]);
    // Loaded when they are needed: the two take longer than all of this library.
    const { Readable } = process.getBuiltinModule("node:stream");
    const { createInterface } = process.getBuiltinModule("node:readline/promises");
    const input = Readable.from(this, { objectMode: false });
    input.setEncoding(options.encoding ?? "utf8");
    return createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  }

  /**
   * Closes the file as soon as no operation uses it, aborted ones included; new ones are refused at once. Again: the same promise.
   * @throws UringError EIO, ENOSPC, EDQUOT: what the file system reports on close; the descriptor is gone all the same
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * const file = await ring.open("notes.txt");
   * await file.close();
   * console.log(file.closed, file.fd); // true -1
   * ```
   * @see io_uring_prep_close(3)
   */
  close(): Promise<void> {
    this.#requests.assertUnlinked("close");
    return this.#life.close();
  }

  /** close() */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What streams need of this file. */
  #streamed(syscall: string): StreamedFile {
    const open = this.#opened(syscall);
    return {
      appends: open.appends,
      seekable: open.seekable,
      positionBytes: open.positionBytes,
      transferFixed: (direction, buffer, options) => this.#transferFixed(direction, buffer, options),
      transfer: (direction, bytes, position, signal) => this.#transfer(direction, bytes, position, signal),
      datasync: () => this.datasync(),
      close: () => this.close(),
    };
  }

  get #requests() {
    return this.#lease.core.requests;
  }

  #opened(syscall: string): OpenFile {
    if (this.closed) throw new UringError("EBADF", syscall, { message: "the file is closed" });
    return this.#open;
  }

  #run<Result>(prepare: () => Prepared<Result>, signal?: AbortSignal): Promise<Result> {
    return this.#requests.run(prepare, signal);
  }

  #transferFixed(direction: "read" | "write", buffer: FixedBuffer, options: FixedWriteOptions): Promise<number> {
    let open: OpenFile;
    try {
      open = this.#opened(`${direction}_fixed`);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#lease.core.transferFixed(direction, open, buffer, options);
  }

  /** Memory that can move is copied: out of it before a write, into it after a read. */
  async #transfer(direction: "read" | "write", bytes: Uint8Array, position: number | bigint | undefined, signal?: AbortSignal): Promise<number> {
    const memory = (direction === "read" ? sharedMemoryFor : sharedCopyOf)(bytes, this.#open);
    const transferred = await this.#run(() => operations.transfer(direction, this.#opened(direction), memory, position), signal);
    if (direction === "read" && memory !== bytes) bytes.set(memory.subarray(0, transferred));
    return transferred;
  }

  async #writeAll(data: FileData, encoding: BufferEncoding | undefined, signal: AbortSignal | undefined): Promise<void> {
    const bytes = typeof data === "string" ? Buffer.from(data, encoding ?? "utf8") : bytesOf("data", data);
    for (let written = 0; written < bytes.length; ) {
      const part = bytes.subarray(written, written + largestTransferBytes);
      const bytesWritten = await this.#transfer("write", part, undefined, signal);
      if (bytesWritten === 0) throw operations.noMoreTaken(written, bytes.length);
      written += bytesWritten;
    }
  }

  async #transferSeveral(direction: "read" | "write", buffers: readonly NodeJS.ArrayBufferView[], at: unknown): Promise<number> {
    if (Array.isArray(buffers) && buffers.length === 0 && !this.closed) return 0; // FileHandle asks nobody for nothing
    operations.checkVector(buffers);
    const views = buffers.map((view, index) => bytesOf(`buffers[${index}]`, view));
    const position = positionOf(at);
    const copies = views.map((view) => (direction === "read" ? sharedMemoryFor : sharedCopyOf)(view, this.#open));
    const transferred = await this.#run(() => operations.vectoredTransfer(direction, this.#opened(`${direction}v`), copies, position));
    let left = direction === "read" ? transferred : 0;
    for (const [index, copy] of copies.entries()) {
      if (copy !== views[index]) views[index]?.set(copy.subarray(0, left));
      left = Math.max(0, left - copy.length);
    }
    return transferred;
  }

  static {
    mark("RingFile", RingFile.prototype);
    openFileOf = (file, core, syscall) => {
      if (file.#lease.core !== core)
        throw new UringError("EXDEV", syscall, { message: "the file belongs to another ring", hint: "Use the ring that opened it." });
      return file.#opened(syscall);
    };
  }
}
