import type { BigIntStats, ReadStream, Stats, TimeLike, WriteStream } from "node:fs";
import type { CreateReadStreamOptions, CreateWriteStreamOptions } from "node:fs/promises";
import type { Interface } from "node:readline/promises";
import { reasonOf, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkOptions, mark } from "../base/arguments.ts";
import { Buffer, Promise, process } from "../base/globals.ts";
import { type Place, type Reclaimable, track, untrack } from "../base/handles.ts";
import { bytesOfView, isView } from "../base/view.ts";
import { warn } from "../base/warn.ts";
import { aborted, argumentType, invalidState } from "../errors/node.ts";
import { UringError } from "../errors/uring-error.ts";
import type { FixedBuffer } from "../pool/fixed-buffer.ts";
import type { Alignment, OpenFile } from "../requests/open-file.ts";
import type { Request } from "../requests/operation.ts";
import * as operations from "../requests/operations.ts";
import { positionAfter } from "../requests/own-position.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { deviceNumber, type Statx } from "../requests/statx.ts";
import { kernel } from "../uring/kernel.ts";
import { largestTransferBytes, largestVector } from "../uring/transfers.ts";
import { IORING_OP_FTRUNCATE, STATX_BASIC_STATS, STATX_BTIME } from "../uring/uapi.ts";
import { type FixedTransferOptions, type FixedWriteOptions, noOptions, type RingCore } from "./core.ts";
import {
  bytesOfData,
  type FileData,
  type FileOptions,
  fileOptions,
  isIterable,
  positionOf,
  type Range,
  type ReadOptions,
  readArguments,
  truncatedLength,
  viewsOf,
  type WriteFileOptions,
  writeArguments,
} from "./file-arguments.ts";
import { type NodeStreamedFile, readStreamOf, writeStreamOf } from "./node-streams.ts";
import { type ReadableOptions, readableOf } from "./readable.ts";
import type { StreamedFile } from "./stream-memory.ts";
import { memoryFor, memoryOf } from "./transfer-memory.ts";
import { readWhole } from "./whole-file.ts";
import { type WritableChunk, type WritableOptions, writableOf } from "./writable.ts";

/** Bytes of a piece that async iteration reads. */
const pieceBytes = 65536;

/** What a ring needs of a file: its descriptor, where it is open and that ring's. */
export let openFileOf: (file: RingFile, ring: object, syscall: string) => OpenFile;

/** What node:fs does on threads of its own; node:util, which has promisify, takes long to load. */
function promised<Value>(act: (done: (error: Error | null, value: Value) => void) => void): Promise<Value> {
  return new Promise((resolve, reject) => act((error, value) => (error === null ? resolve(value) : reject(error))));
}

const fs = () => process.getBuiltinModule("node:fs"); // loaded when it is needed: it takes longer than making a ring

/** Runs a method that a signal may end: what it then rejects with is what FileHandle's does. */
async function abortable<Result>(signal: AbortSignal | undefined, run: () => Promise<Result>): Promise<Result> {
  try {
    throwIfAborted(signal);
    return await run();
  } catch (error) {
    if (signal?.aborted === true && error === reasonOf(signal)) throw aborted(error);
    throw error;
  }
}

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
 * It has the methods of node:fs/promises' FileHandle, with their arguments, results and errors. What it is not:
 * - a FileHandle for node:fs: its functions and streams take `file.fd`, but not the file as their `fd`, and move its own position without regard to this ring. `createReadStream` and `createWriteStream` make Node's streams.
 * - an EventEmitter: there is no "close" event; await `close()`. A stream of a file that is closed fails with EBADF.
 * - silent about options: one that it does not know is refused, where FileHandle ignores it.
 * - blind to bigints: a position may be one in every method, where FileHandle's `write`, `readv` and `writev` take it for none.
 * - a thing to hand to another thread, as FileHandle is with postMessage: each thread opens files with a ring of its own.
 *
 * Errors are UringErrors, with Node's `code`, `errno` and `syscall`, and with the path, which FileHandle's lack.
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
  /** Referred to here, for a ring that is dropped closes. */
  readonly #ring: object;
  readonly #core: RingCore;
  readonly #open: OpenFile;
  readonly #life: FileLife;
  /** Its readableWebStream was taken. */
  #isLocked = false;

  /** Rings make these: `Ring.open`. @internal */
  constructor(ring: object, core: RingCore, open: OpenFile, place: Place) {
    this.#ring = ring;
    this.#core = core;
    this.#open = open;
    this.#life = new FileLife(core.requests, open);
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
  read<View extends NodeJS.ArrayBufferView = Buffer>(options?: ReadOptions<View> | null): Promise<{ bytesRead: number; buffer: View }>;
  async read<View extends NodeJS.ArrayBufferView = Buffer>(
    buffer?: View | ReadOptions<View> | null,
    offset?: number | Omit<ReadOptions<View>, "buffer"> | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: View }> {
    this.#opened("read");
    const given = readArguments(buffer, offset, length, position);
    // FileHandle asks nobody for nothing.
    const bytesRead = given.range === undefined ? 0 : await this.#transferRange("read", given.range);
    return { bytesRead, buffer: given.buffer as View };
  }

  /**
   * Writes a buffer, or part of one, or a string, as FileHandle.write does.
   * @param buffer - any view, or a string
   * @param offset - in the buffer, in bytes, or an object with the other arguments; for a string its position in the file
   * @param length - in bytes, default: to the buffer's end; for a string its encoding, default "utf8"
   * @param position - in the file, in bytes; null, and what is no position: its own position, which moves on. Default null.
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
    this.#opened("write");
    const range = writeArguments(buffer, offset, length, position);
    return { bytesWritten: range === undefined ? 0 : await this.#transferRange("write", range), buffer };
  }

  /**
   * Reads into several buffers, one after the other, as FileHandle.readv does: 1024 a request.
   * @param buffers - views
   * @param position - in the file, in bytes; null, and what is no position: its own position, which moves on. Default null.
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
   * Writes all of a buffer, or of a part of one, and resolves when that is on stable storage: a write and an fdatasync, submitted together as a chain. Arguments
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
    this.#opened("write");
    if (!isView(buffer)) throw argumentType("buffer", "an instance of Buffer, TypedArray, or DataView", buffer);
    const range = writeArguments(buffer, offset, length, position);
    const memory = range === undefined ? new Uint8Array(new SharedArrayBuffer(0)) : memoryOf(range.bytes, this.#open);
    for (let written = 0; ; ) {
      const part = memory.subarray(written, written + largestTransferBytes);
      const at = range?.position === undefined ? undefined : BigInt(range.position) + BigInt(written);
      const [writing, syncing] = this.#requests.startChain([
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
  async truncate(length?: number): Promise<void> {
    this.#opened("ftruncate");
    const bytes = truncatedLength(length);
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
  stat(options?: { readonly bigint?: false } | null): Promise<Stats>;
  stat(options: { readonly bigint: true }): Promise<BigIntStats>;
  stat(options?: { readonly bigint?: boolean } | null): Promise<Stats | BigIntStats>;
  async stat(options?: { readonly bigint?: boolean } | null): Promise<Stats | BigIntStats> {
    this.#opened("fstat");
    const given = typeof options === "object" && options !== null ? options : noOptions; // FileHandle heeds nothing else
    checkOptions(given, ["bigint"]);
    const { bigint = false }: { readonly bigint?: boolean } = given;
    checkBoolean("options.bigint", bigint);
    if (bigint) return this.#requests.outside(this.#open, "fstat", (fd) => promised<BigIntStats>((done) => fs().fstat(fd, { bigint }, done)));
    return statsOf(await this.#fstat());
  }

  /**
   * All of the file from its own position on, as FileHandle.readFile has it.
   * It takes memory of once the content's size, which is refused before it is read where no Buffer can be so large.
   * @param options - an encoding, or an object with `encoding` and `signal`
   * @returns a Buffer; a string, where an encoding is given
   * @throws TypeError: an option's type or value; or the call is an operation of a chain
   * @throws RangeError ERR_FS_FILE_TOO_LARGE: there is more than a Buffer can hold, 4 GiB
   * @throws AbortError, with the code ABORT_ERR and the signal's reason as its cause: it was aborted
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
  readFile(options?: "buffer" | (Omit<FileOptions, "encoding"> & { readonly encoding?: "buffer" | null }) | null): Promise<Buffer>;
  readFile(options: BufferEncoding | (FileOptions & { readonly encoding: BufferEncoding })): Promise<string>;
  async readFile(
    options?: BufferEncoding | "buffer" | (Omit<FileOptions, "encoding"> & { readonly encoding?: BufferEncoding | "buffer" | null }) | null,
  ): Promise<Buffer | string> {
    this.#opened("readFile");
    this.#requests.assertNotInChain("readFile");
    const { encoding, signal } = fileOptions(options, []);
    const content = await abortable(signal, async () => {
      const { size } = await this.stat();
      return readWhole(this.#open, size, (memory) => this.#transfer("read", memory, undefined, signal));
    });
    return encoding === undefined ? content : content.toString(encoding);
  }

  /**
   * Writes all of the data, from the file's own position on, as FileHandle.writeFile does. It does not cut the file off.
   * @param data - a string, any view or memory, or an iterable or stream of those
   * @param options - an encoding, or an object with `encoding`, `signal` and `flush`
   * @throws TypeError, RangeError: an argument's type or value
   * @throws AbortError, with the code ABORT_ERR and the signal's reason as its cause: it was aborted
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
  async writeFile(data: FileData | Iterable<FileData> | AsyncIterable<FileData>, options?: BufferEncoding | WriteFileOptions | null): Promise<void> {
    this.#opened("writeFile"); // also where there is nothing to write
    const { encoding, signal, flush } = fileOptions(options, ["mode", "flush"]);
    const isWhole = !isIterable(data);
    const bytes = isWhole ? bytesOfData(data, encoding) : undefined;
    if (flush || !isWhole) this.#requests.assertNotInChain("writeFile");
    await abortable(signal, async () => {
      if (bytes !== undefined) await this.#writeAll(bytes, signal);
      else if (!isWhole) for await (const part of data) await this.#writeAll(bytesOfData(part, encoding), signal);
      if (flush) await this.#flush();
    });
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
   * The content as a stream, from the file's beginning unless `position` says otherwise, with several reads in flight. Its chunks are copies, and the stream a byte stream: fit for pipeTo, tee, a Response, and consumers that
   * keep chunks.
   *
   * With `zeroCopy` the chunks are views of the pool's slots. This is for consumers that are done with a chunk before they ask for the next, as Bun.serve is; not for tee(),
   * pipeThrough(), `Readable.fromWeb()` or `Response.bytes()`, which ask for the next chunk before whoever is behind them has seen this one. A chunk is the consumer's until it asks
   * for the next, also when the stream is cancelled, aborted or fails meanwhile. Then its slot is given back when the chunk and its subarrays are collected, or at once by
   * `for await (using chunk of …)` or `chunk[Symbol.dispose]()`.
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
   * be used again when the promise of its write has resolved; one whose memory is detached or shrinks before that fails with a TypeError. Where every write goes to the file's end
   * ("a"), one is in flight at a time. With O_DIRECT each chunk has to be a multiple of the alignment.
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
   * The content as Node's stream, as FileHandle.createReadStream has it: from the file's own position on, or from `start`, one read at a time.
   * @param options - `start` and `end`, inclusive, in bytes; `highWaterMark`, in bytes, default 65536; `encoding`, default none: Buffers; `autoClose`, whether the stream's end
   * closes the file, default true; `emitClose`, default true; `signal`
   * @throws TypeError, RangeError: an option's type or value
   * @throws UringError EBADF: the file is closed; what reading reports is the stream's error
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * const file = await ring.open("notes.txt");
   * for await (const text of file.createReadStream({ start: 4, encoding: "utf8" })) console.log(text);
   * console.log(file.closed); // true
   * ```
   * @see io_uring_prep_read(3)
   */
  createReadStream(options?: CreateReadStreamOptions | null): ReadStream {
    return readStreamOf(this.#nodeStreamed("createReadStream"), options);
  }

  /**
   * Node's stream into the file, as FileHandle.createWriteStream has it: at the file's own position, or from `start` on, one write at a time.
   * @param options - `start`, in bytes; `encoding` of strings, default "utf8"; `highWaterMark`, in bytes; `autoClose`, whether the stream's end closes the file, default true;
   * `emitClose`, default true; `flush`, whether content and metadata are on stable storage before that, default false; `signal`
   * @throws TypeError, RangeError: an option's type or value
   * @throws UringError EBADF: the file is closed; what writing reports is the stream's error
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   * import { createReadStream } from "node:fs";
   * import { pipeline } from "node:stream/promises";
   *
   * await using ring = new Ring();
   * const file = await ring.open("copy.txt", "w");
   * await pipeline(createReadStream("notes.txt"), file.createWriteStream({ flush: true }));
   * ```
   * @see io_uring_prep_write(3), io_uring_prep_fsync(3)
   */
  createWriteStream(options?: (CreateWriteStreamOptions & { signal?: AbortSignal }) | null): WriteStream {
    return writeStreamOf(this.#nodeStreamed("createWriteStream"), options);
  }

  /**
   * The content from the file's own position on as a stream of bytes, once, as FileHandle.readableWebStream has it. `readable` has more options, and several reads in flight.
   * @param options.type - "bytes", which it is in any case
   * @param options.autoClose - close the file when the stream ends, fails or is cancelled. Default false.
   * @throws TypeError: an option's name or type
   * @throws Error ERR_INVALID_STATE: the file is closed, or has had such a stream
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt");
   * console.log(await new Response(file.readableWebStream()).text());
   * ```
   * @see io_uring_prep_read(3)
   */
  readableWebStream(options: { readonly type?: "bytes"; readonly autoClose?: boolean } | null = noOptions): ReadableStream<Uint8Array> {
    if (this.closed) throw invalidState("The FileHandle is closed");
    if (this.#isLocked) throw invalidState("The FileHandle is locked");
    checkOptions(options ?? noOptions, ["type", "autoClose"]);
    const stream = readableOf(this.#streamed("read"), { position: null, autoClose: options?.autoClose ?? false });
    this.#isLocked = true;
    return stream;
  }

  /**
   * The content's lines from the file's own position on, or from `start`, as FileHandle.readLines has them.
   * @param options - those of createReadStream: the file is closed at its end, unless `autoClose` is false
   * @throws TypeError, RangeError: an option's name, type or value
   * @throws UringError EBADF: the file is closed; what reading reports comes from the iteration
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
  readLines(options?: CreateReadStreamOptions | null): Interface {
    const { createInterface } = process.getBuiltinModule("node:readline/promises"); // loaded when it is needed: it takes longer than all of this library
    return createInterface({ input: this.createReadStream(options), crlfDelay: Number.POSITIVE_INFINITY });
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
    this.#requests.assertNotInChain("close");
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
    return this.#core.requests;
  }

  #opened(syscall: string): OpenFile {
    if (this.closed) throw new UringError("EBADF", syscall, { message: "the file is closed" });
    return this.#open;
  }

  #run<Result>(prepare: () => Request<Result>, signal?: AbortSignal): Promise<Result> {
    return this.#requests.run(prepare, signal);
  }

  #transferFixed(direction: "read" | "write", buffer: FixedBuffer, options: FixedWriteOptions): Promise<number> {
    let open: OpenFile;
    try {
      open = this.#opened(`${direction}_fixed`);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#core.transferFixed(direction, open, buffer, options);
  }

  async #fstat(): Promise<Statx> {
    return this.#run(() => ({ ...operations.statx(this.#opened("fstat"), STATX_BASIC_STATS | STATX_BTIME, 0), syscall: "fstat" }));
  }

  /** sync(), where there is something to sync: a pipe has no storage. */
  async #flush(): Promise<void> {
    try {
      await this.sync();
    } catch (error) {
      if (!(error instanceof UringError && error.code === "EINVAL")) throw error;
    }
  }

  #nodeStreamed(syscall: string): NodeStreamedFile {
    const { fd } = this.#opened(syscall);
    return {
      fd,
      read: async (buffer, offset, length, position) => (await this.read(buffer, offset, length, positionOf(position))).bytesRead,
      writeAll: (bytes, position) => this.#writeAll(bytesOfView(bytes), undefined, positionOf(position)),
      sync: () => this.sync(),
      close: () => this.close(),
    };
  }

  #transferRange(direction: "read" | "write", { bytes, position }: Range): Promise<number> {
    return this.#transfer(direction, bytes, position);
  }

  /** Memory that can move is copied: out of it before a write, into it after a read. */
  async #transfer(direction: "read" | "write", bytes: Uint8Array, position: number | bigint | undefined, signal?: AbortSignal): Promise<number> {
    const memory = (direction === "read" ? memoryFor : memoryOf)(bytes, this.#open);
    const transferred = await this.#run(() => operations.transfer(direction, this.#opened(direction), memory, position), signal);
    if (direction === "read" && memory !== bytes) bytes.set(memory.subarray(0, transferred));
    return transferred;
  }

  async #writeAll(bytes: Uint8Array, signal: AbortSignal | undefined, position?: number | bigint): Promise<void> {
    throwIfAborted(signal); // also where there is nothing to write
    const totalBytes = bytes.length; // of memory that is detached or shrinks meanwhile it would be less, and the rest left out
    for (let written = 0; written < totalBytes; ) {
      if (bytes.length !== totalBytes) throw invalidState(`data was detached or resized when ${written} of its ${totalBytes} bytes were written`);
      const part = bytes.subarray(written, written + largestTransferBytes);
      const at = position === undefined ? undefined : positionAfter(position, written);
      const bytesWritten = await this.#transfer("write", part, at, signal);
      if (bytesWritten === 0) throw operations.noMoreTaken(written, totalBytes);
      written += bytesWritten;
    }
  }

  /** As many requests as there are vectors of the largest size; one that is short is the last. */
  async #transferSeveral(direction: "read" | "write", buffers: unknown, at: unknown): Promise<number> {
    this.#opened(`${direction}v`);
    const views = viewsOf(buffers);
    const position = positionOf(at);
    if (views.length > largestVector) this.#requests.assertNotInChain(`${direction}v`);
    let transferred = 0;
    for (let first = 0; first < views.length; first += largestVector) {
      const some = views.slice(first, first + largestVector);
      const bytes = await this.#transferVector(direction, some, position === undefined ? undefined : positionAfter(position, transferred));
      transferred += bytes;
      if (bytes < some.reduce((sum, { length }) => sum + length, 0)) break;
    }
    return transferred; // FileHandle asks nobody for nothing
  }

  async #transferVector(direction: "read" | "write", views: readonly Uint8Array[], position: number | bigint | undefined): Promise<number> {
    const memories = views.map((view) => (direction === "read" ? memoryFor : memoryOf)(view, this.#open));
    const transferred = await this.#run(() => operations.vectoredTransfer(direction, this.#opened(`${direction}v`), memories, position));
    let left = direction === "read" ? transferred : 0;
    for (const [index, memory] of memories.entries()) {
      if (memory !== views[index]) views[index]?.set(memory.subarray(0, left));
      left = Math.max(0, left - memory.length);
    }
    return transferred;
  }

  static {
    mark("RingFile", RingFile.prototype);
    openFileOf = (file, ring, syscall) => {
      if (file.#ring !== ring) throw new UringError("EXDEV", syscall, { message: "the file belongs to another ring", hint: "Use the ring that opened it." });
      return file.#opened(syscall);
    };
  }
}
