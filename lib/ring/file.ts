import type { BigIntStats, ReadStream, Stats, TimeLike, WriteStream } from "node:fs";
import type { CreateReadStreamOptions, CreateWriteStreamOptions } from "node:fs/promises";
import type { Interface } from "node:readline/promises";
import { reasonOf, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, checkOptions, invalidType, mark } from "../base/arguments.ts";
import { Buffer, Promise, process } from "../base/globals.ts";
import { type Place, type Reclaimable, track, untrack } from "../base/handles.ts";
import { bufferOf, byteLengthOf, byteOffsetOf, bytesOfView, isView } from "../base/view.ts";
import { warn } from "../base/warn.ts";
import { aborted, argumentType, invalidState } from "../errors/node.ts";
import { UringError } from "../errors/uring-error.ts";
import { participantOf } from "../pool/buffer-pool.ts";
import type { FixedBuffer } from "../pool/fixed-buffer.ts";
import * as operations from "../requests/builders.ts";
import { knownSizeOf } from "../requests/descriptor.ts";
import type { Alignment, OpenFile } from "../requests/open-file.ts";
import type { Request } from "../requests/operation.ts";
import { positionAfter } from "../requests/own-position.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { deviceNumber, type Statx } from "../requests/statx.ts";
import { largestTransferBytes, largestVector } from "../uring/transfers.ts";
import { STATX_BASIC_STATS, STATX_BTIME } from "../uring/uapi.ts";
import { type Appender, type AppenderOptions, appenderOf } from "./appender.ts";
import { type FixedTransferOptions, type FixedWriteOptions, fixedSyscalls, noOptions, type RingCore } from "./core.ts";
import { DurableWrites } from "./durable.ts";
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
import { flush as flushed, fs, promised, transferAny, truncate, writeAll } from "./file-tasks.ts";
import { type NodeStreamedFile, readStreamOf, writeStreamOf } from "./node-streams.ts";
import { type ReadableOptions, readableOf } from "./readable.ts";
import type { StreamedFile } from "./stream-memory.ts";
import { memoryFor, memoryOf } from "./transfer-memory.ts";
import { readWhole } from "./whole-file.ts";
import { type WritableChunk, type WritableOptions, writableOf } from "./writable.ts";

/** How many bytes async iteration reads at a time. */
const pieceBytes = 65536;

/** The file that a method of Ring works on: a RingFile that the ring opened, or any open file descriptor. */
export type FileTarget = RingFile | number;

/** Checks the file that an operation of a ring works on, and returns it in the form a request needs. */
export function targetOf(file: FileTarget, ring: object, syscall: string): operations.Target {
  if (file instanceof RingFile) return openFileOf(file, ring, syscall);
  if (typeof file !== "number") throw invalidType("file", "a RingFile or a descriptor", file);
  checkInteger("file", file, 0, 2 ** 31 - 1);
  return file;
}

/** For rings: returns a file's OpenFile. Throws if the file is closed or belongs to another ring. */
let openFileOf: (file: RingFile, ring: object, syscall: string) => OpenFile;

/**
 * Runs a method that a signal may abort. If the signal aborts it, the promise rejects with the same error as
 * FileHandle's.
 */
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

/**
 * The part of a RingFile that outlives it: it closes the file when the RingFile is garbage-collected, so it must not
 * reference the RingFile.
 */
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
      this.#open.whenIdle(() =>
        resolve(this.#requests.closed ? this.#requests.close() : this.#requests.closeFile(fd, entry)),
      );
    }
    return this.#closing;
  }

  reclaim(): void {
    this.close().catch((error: unknown) =>
      warn("bun-uring: closing a file that was dropped without close failed:", error),
    );
  }
}

/**
 * A file opened by `Ring.open`. It belongs to that ring; closing the ring closes the file.
 *
 * A RingFile has the methods of FileHandle in node:fs/promises, with the same arguments, results and errors. It differs
 * from a FileHandle in these ways:
 * - Functions and streams of node:fs accept `file.fd`, but not the RingFile itself as their `fd`. They move the file's
 *   own position without coordinating with the ring. Use `createReadStream` and `createWriteStream` to make Node.js
 *   streams.
 * - It is not an EventEmitter and has no "close" event: await `close()`. A stream of a closed file fails with EBADF.
 * - It refuses unknown options, which FileHandle ignores.
 * - Every method accepts a bigint position. FileHandle's `write`, `readv` and `writev` treat a bigint as no position.
 * - It cannot be sent to another thread with postMessage, as a FileHandle can. Each thread opens files with a ring of
 *   its own.
 *
 * Errors are UringErrors with Node's `code`, `errno` and `syscall`. They also have the `path`, which FileHandle's
 * errors lack.
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
  /** Referenced so that the ring stays open as long as the file is in use: a garbage-collected ring closes. */
  readonly #ring: object;
  readonly #core: RingCore;
  readonly #open: OpenFile;
  readonly #life: FileLife;
  readonly #durable: DurableWrites;
  /** Whether an appender has been made and not closed. */
  #hasAppender = false;
  /** Whether readableWebStream() has been called. */
  #isLocked = false;

  /** Called only by `Ring.open`. @internal */
  constructor(ring: object, core: RingCore, open: OpenFile, place: Place) {
    this.#ring = ring;
    this.#core = core;
    this.#open = open;
    this.#life = new FileLife(core.requests, open);
    this.#durable = new DurableWrites(core.requests, open, (syscall) => this.#opened(syscall));
    track(this, this.#life, place);
  }

  /** The file descriptor, valid as long as this object is referenced. -1 once the file or its ring is closed. */
  get fd(): number {
    return this.closed ? -1 : this.#open.fd;
  }

  /** Whether the file or its ring has been closed. */
  get closed(): boolean {
    return this.#life.ended;
  }

  /**
   * The alignment that O_DIRECT requires of transfers. Undefined if the file was opened without O_DIRECT, or the kernel
   * does not report it. Linux 6.1 and newer report it for most file systems.
   */
  get alignment(): Alignment | undefined {
    return this.#open.alignment;
  }

  /**
   * Reads into a buffer or part of a buffer, like FileHandle.read. The kernel reads directly into the memory of a
   * SharedArrayBuffer; for other memory, the data is copied.
   * @param buffer - any view. Default: a new Buffer of 16384 bytes.
   * @param offset - offset in the buffer, in bytes, or an object with the remaining arguments. Default 0.
   * @param length - length in bytes. Default: up to the end of the buffer.
   * @param position - position in the file, in bytes. null or -1 means the file's own position, which moves on.
   * Default null.
   * @returns the number of bytes read, which may be fewer than requested, and is 0 at the end of the file; and the
   * buffer
   * @throws TypeError, RangeError: an argument has the wrong type or value
   * @throws UringError EBADF: the file or its ring is closed, or the file is not open for reading; EISDIR: it is a
   * directory; EINVAL: often a misaligned O_DIRECT transfer
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
  read<View extends NodeJS.ArrayBufferView = Buffer>(
    options?: ReadOptions<View> | null,
  ): Promise<{ bytesRead: number; buffer: View }>;
  async read<View extends NodeJS.ArrayBufferView = Buffer>(
    buffer?: View | ReadOptions<View> | null,
    offset?: number | Omit<ReadOptions<View>, "buffer"> | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: View }> {
    this.#opened("read");
    const given = readArguments(buffer, offset, length, position);
    // Like FileHandle, make no request for 0 bytes.
    const bytesRead = given.range === undefined ? 0 : await this.#transferRange("read", given.range);
    return { bytesRead, buffer: given.buffer as View };
  }

  /**
   * Writes a buffer, part of a buffer, or a string, like FileHandle.write.
   * @param buffer - any view, or a string
   * @param offset - offset in the buffer, in bytes, or an object with the remaining arguments. For a string: the
   * position in the file.
   * @param length - length in bytes. Default: up to the end of the buffer. For a string: its encoding. Default "utf8".
   * @param position - position in the file, in bytes. null, or any value that is not a valid position, means the file's
   * own position, which moves on. Default null.
   * @returns the number of bytes written, which may be fewer than requested; and the buffer
   * @throws TypeError, RangeError: an argument has the wrong type or value
   * @throws UringError EBADF: the file or its ring is closed, or the file is not open for writing; ENOSPC, EDQUOT,
   * EFBIG: no space
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
   * Reads into several buffers, in order, like FileHandle.readv. One request reads into up to 1024 buffers; more
   * buffers take several requests.
   * @param buffers - any views
   * @param position - position in the file, in bytes. null, or any value that is not a valid position, means the file's
   * own position, which moves on. Default null.
   * @throws TypeError, RangeError, UringError: as for read
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
   * Writes several buffers, in order, like FileHandle.writev. Arguments are those of readv.
   * @throws TypeError, RangeError, UringError: as for write
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
   * Reads into a slot of one of the ring's pools, like `Ring.readFixed`.
   * @param buffer - a slot of one of the ring's pools
   * @throws TypeError, RangeError, UringError: as for `Ring.readFixed`
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
   * Writes from a slot of one of the ring's pools, like `Ring.writeFixed`.
   * @param buffer - a slot of one of the ring's pools
   * @throws TypeError, RangeError, UringError: as for `Ring.writeFixed`
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
   * Writes all of a buffer or part of a buffer, and resolves when it is on stable storage, together with what this
   * RingFile has written before. A sole writer's calls become one request each (RWF_DSYNC), otherwise a write and an
   * fdatasync that are submitted together as a chain; this repeats until everything is written. Arguments are those of
   * write with a buffer. If many writers add to the end of one file, `appender` lets them share their syncs.
   * @returns the number of bytes written, which is always the full length; and the buffer
   * @throws TypeError, RangeError, UringError: as for write; EIO: also if the file accepts no more bytes
   * @throws UringError EIO, ENOSPC, EDQUOT: not everything could be written back
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
    this.#requests.assertNotInChain("writeDurably");
    const range = writeArguments(buffer, offset, length, position);
    const memory = range === undefined ? new Uint8Array(new SharedArrayBuffer(0)) : memoryOf(range.bytes, this.#open);
    for (let written = 0; ; ) {
      const part = memory.subarray(written, written + largestTransferBytes);
      const at = range?.position === undefined ? undefined : BigInt(range.position) + BigInt(written);
      const { bytesWritten } = await this.#durable.write(part, at);
      written += bytesWritten;
      if (bytesWritten === 0 && part.length > 0) throw operations.noMoreTaken(written, memory.length);
      if (written === memory.length) return { bytesWritten: written, buffer };
    }
  }

  /**
   * Truncates the file to a length, or extends it with zeros. Before Linux 6.9, it uses node:fs.
   * @param length - length in bytes. Default 0. Negative values mean 0, as with FileHandle.
   * @throws TypeError, RangeError: an argument has the wrong type or value
   * @throws UringError EBADF: the file or its ring is closed; EINVAL: the file is not open for writing, or is not a
   * regular file
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
    await truncate(this.#requests, this.#open, bytes);
  }

  /**
   * Changes the permissions, like FileHandle.chmod. io_uring has no such request, so it uses node:fs on the descriptor.
   * @param mode - permissions, such as 0o600 or "600"
   * @throws TypeError, RangeError: an argument has the wrong type or value
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
   * Changes the owner and group, like FileHandle.chown. It uses node:fs, like chmod.
   * @param uid - user ID; -1 leaves it unchanged
   * @param gid - group ID; -1 leaves it unchanged
   * @throws TypeError, RangeError: an argument has the wrong type or value
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
    return this.#requests.outside(this.#open, "fchown", (fd) =>
      promised<void>((done) => fs().fchown(fd, uid, gid, done)),
    );
  }

  /**
   * Changes the times of last access and modification, like FileHandle.utimes. It uses node:fs, like chmod.
   * @param atime - time of last access: a Date, or seconds since 1970 as a number or a string
   * @param mtime - time of last modification, in the same forms
   * @throws TypeError, RangeError: an argument has the wrong type or value
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
    return this.#requests.outside(this.#open, "futimes", (fd) =>
      promised<void>((done) => fs().futimes(fd, atime, mtime, done)),
    );
  }

  /**
   * Writes the content and metadata back, and resolves when they are on stable storage.
   * @throws UringError EBADF: the file or its ring is closed; EIO, ENOSPC, EDQUOT: not everything could be written
   * back; EINVAL: the file has no storage, for example a pipe
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
   * Writes the content back, with the metadata needed to read it, and resolves when they are on stable storage.
   * @throws UringError: as for sync
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
   * Returns the file's metadata as a Stats object of node:fs.
   * @param options.bigint - return all numbers as bigints, with times also in nanoseconds. This uses node:fs, because
   * only node:fs can make a BigIntStats. Default false.
   * @throws TypeError: an option has the wrong type
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
    // Like FileHandle, ignore anything that is not an object.
    const given = typeof options === "object" && options !== null ? options : noOptions;
    checkOptions(given, ["bigint"]);
    const { bigint = false }: { readonly bigint?: boolean } = given;
    checkBoolean("options.bigint", bigint);
    if (bigint)
      return this.#requests.outside(this.#open, "fstat", (fd) =>
        promised<BigIntStats>((done) => fs().fstat(fd, { bigint }, done)),
      );
    return statsOf(await this.#fstat());
  }

  /**
   * Reads the whole file from its own position on, like FileHandle.readFile. It needs memory for only one copy of the
   * content. If the file's size exceeds the largest possible Buffer, the call fails before it reads anything.
   * @param options - an encoding, or an object with `encoding` and `signal`
   * @returns a Buffer, or a string if an encoding is given
   * @throws TypeError: an option has the wrong type or value, or the call is an operation of a chain
   * @throws RangeError ERR_FS_FILE_TOO_LARGE: the content is larger than a Buffer can be, 4 GiB
   * @throws AbortError, with the code ABORT_ERR and the signal's reason as its cause: the signal aborted
   * @throws UringError: as for read
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
  readFile(
    options?: "buffer" | (Omit<FileOptions, "encoding"> & { readonly encoding?: "buffer" | null }) | null,
  ): Promise<Buffer>;
  readFile(options: BufferEncoding | (FileOptions & { readonly encoding: BufferEncoding })): Promise<string>;
  async readFile(
    options?:
      | BufferEncoding
      | "buffer"
      | (Omit<FileOptions, "encoding"> & { readonly encoding?: BufferEncoding | "buffer" | null })
      | null,
  ): Promise<Buffer | string> {
    this.#opened("readFile");
    this.#requests.assertNotInChain("readFile");
    const { encoding, signal } = fileOptions(options, []);
    const content = await abortable(signal, async () => {
      // Only the server of a FUSE file system knows a file's size.
      const size = this.#open.fuse ? (await this.stat()).size : Number(knownSizeOf(this.#open.fd));
      return readWhole(this.#requests, this.#opened("read"), size, { signal });
    });
    return encoding === undefined ? content : content.toString(encoding);
  }

  /**
   * Writes all of the data from the file's own position on, like FileHandle.writeFile. It does not truncate the file.
   * @param data - a string, a view, an ArrayBuffer or SharedArrayBuffer, or an iterable or stream of these
   * @param options - an encoding, or an object with `encoding`, `signal` and `flush`
   * @throws TypeError, RangeError: an argument has the wrong type or value
   * @throws AbortError, with the code ABORT_ERR and the signal's reason as its cause: the signal aborted
   * @throws UringError: as for write; EIO: also if the file accepts no more bytes
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
  async writeFile(
    data: FileData | Iterable<FileData> | AsyncIterable<FileData>,
    options?: BufferEncoding | WriteFileOptions | null,
  ): Promise<void> {
    this.#opened("writeFile"); // even if there is nothing to write
    const { encoding, signal, flush } = fileOptions(options, ["mode", "flush"]);
    const isWhole = !isIterable(data);
    const bytes = isWhole ? bytesOfData(data, encoding) : undefined;
    if (flush || !isWhole) this.#requests.assertNotInChain("writeFile");
    await abortable(signal, async () => {
      if (bytes !== undefined) await writeAll(this.#requests, this.#opened("write"), bytes, signal);
      else if (!isWhole)
        for await (const part of data)
          await writeAll(this.#requests, this.#opened("write"), bytesOfData(part, encoding), signal);
      if (flush) await flushed(this.#requests, this.#open);
    });
  }

  /**
   * Same as writeFile, like FileHandle.appendFile: it appends only if the file was opened with "a".
   * @param parameters - the arguments of writeFile
   * @throws TypeError, RangeError, UringError: as for writeFile
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
   * Returns a stream of the content. It starts at the beginning of the file, unless you give a `position`. Each chunk
   * is memory of its own, so the stream suits pipeTo, tee, a Response, and consumers that keep chunks. Without a pool,
   * the first chunk is up to 64 KiB, each one after it up to twice as large as the one before, and none larger than 512
   * KiB. While the data is in the page cache, the stream reads a chunk when it is asked for one; when it has to wait for
   * a disk, it reads up to `depth` chunks ahead. With a pool, it always reads ahead, and a chunk is a copy of a slot.
   *
   * With `type: "bytes"`, the stream also has BYOB readers, which read into memory of their own. The other readers of
   * such a stream are slower, because a byte stream makes a second ArrayBuffer for each chunk.
   *
   * With `zeroCopy`, the chunks are views of the pool's slots. Use this for consumers that finish with each chunk
   * before they ask for the next, such as Bun.serve. Do not use it with tee(), pipeThrough(), `Readable.fromWeb()` or
   * `Response.bytes()`: these ask for the next chunk before their own consumer has seen the current one. A chunk
   * belongs to the consumer until it asks for the next one, even if the stream is cancelled, aborted or fails in the
   * meantime. If the stream ends that way, the slot returns to the pool when the chunk and its subarrays are
   * garbage-collected. To return a slot at once, use `for await (using chunk of …)` or `chunk[Symbol.dispose]()`.
   *
   * A stream never waits for slots that others hold, and never takes the last free one. If it gets no slot, it
   * continues with up to 64 KiB of its own memory. So a consumer that stops reading, such as a slow client, holds one
   * slot and the data read ahead, and blocks nobody.
   * @param options.pool - a pool of the ring, whose slots the reads use. Default none.
   * @param options.position - position in the file, in bytes; null: its own position, with one read at a time. Default
   * 0, or null for a file without positions: a pipe, a FIFO, a socket, a TTY.
   * @param options.length - maximum number of bytes. Default: up to the end of the file.
   * @param options.depth - maximum number of reads in flight, 1 to 1024. Default 4.
   * @param options.type - "bytes": make a byte stream, for BYOB readers. Default: a stream without BYOB readers.
   * @param options.dontCache - do not leave what is read in the page cache, if the kernel and the file system support
   * that. Default false.
   * @param options.autoClose - close the file when the stream ends, fails or is cancelled. Default false.
   * @throws TypeError, RangeError: an option has the wrong type or value
   * @throws UringError EBADF: the file is closed; ESPIPE: a position was given for a file without positions. The stream
   * itself fails with the errors of its reads.
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
   * Returns a stream that writes the file, with several writes in flight. Each write goes to the position after the
   * previous one, so the chunks land in order. The stream copies each chunk; you can reuse a chunk once the promise of
   * its write has resolved. If the memory of a chunk is detached or shrinks before that, the write fails with a
   * TypeError. A chunk is written at once if no write is in flight. Chunks that come meanwhile are collected, without a
   * pool up to 512 KiB of them, and written together. So a failed write fails a later chunk, or the closing of the
   * stream: only that says that everything was written. If every write goes to the end of the file ("a"), only one is in
   * flight at a time. With O_DIRECT, each chunk is a write of its own, and its size must be a multiple of the alignment.
   * @param options.pool - a pool of the ring, whose slots the writes use. Default none.
   * @param options.position - position in the file, in bytes; null: its own position, with one write at a time. Default
   * 0, or null for a file without positions: a pipe, a FIFO, a socket, a TTY.
   * @param options.depth - maximum number of writes in flight, 1 to 1024. Default 4.
   * @param options.durable - closing the stream waits until the content is on stable storage. Default false.
   * @param options.dontCache - do not leave what is written in the page cache, if the kernel and the file system support
   * that. Default false.
   * @param options.autoClose - close the file when the stream ends, fails or is aborted. Default false.
   * @throws TypeError, RangeError: an option has the wrong type or value
   * @throws UringError EBADF: the file is closed; ESPIPE: a position was given for a file without positions. The stream
   * itself fails with the errors of its writes.
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
   * Makes an appender, which adds records to the end of the file durably. Many writers that append at once share writes
   * and syncs, so that each record costs a fraction of a `writeDurably`. The call syncs the content that is there.
   * @param options.maxWaitingBytes - maximum number of bytes that wait to become durable. Default 16777216 (16 MiB).
   * @throws TypeError, RangeError: an option is unknown, or has the wrong type or value
   * @throws UringError EBADF: the file or its ring is closed, or the file is not open for writing; EBUSY: the file has
   * an appender that is not closed; ESPIPE, EINVAL: it is not a regular file, has no storage, or was opened with
   * O_DIRECT; EIO, ENOSPC, EDQUOT: earlier content could not be written back
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("journal", "a");
   * await using journal = await file.appender();
   * using server = Bun.serve({
   *   port: 0,
   *   fetch: async (request) => new Response(`stored at ${await journal.append(await request.bytes())}`),
   * });
   * const answer = await fetch(server.url, { method: "POST", body: "a record" });
   * console.log(await answer.text()); // stored at 0
   * ```
   * @see io_uring_prep_write(3), RWF_DSYNC in pwritev2(2)
   */
  async appender(options: AppenderOptions = noOptions): Promise<Appender> {
    const open = this.#opened("appender");
    this.#requests.assertNotInChain("appender");
    if (this.#hasAppender)
      throw new UringError("EBUSY", "appender", {
        message: "the file has an appender that is not closed",
        path: open.path,
      });
    this.#hasAppender = true;
    const release = () => {
      this.#hasAppender = false;
    };
    try {
      return await appenderOf(
        {
          open,
          durable: this.#durable,
          assertNotInChain: (syscall) => this.#requests.assertNotInChain(syscall),
          datasync: () => this.datasync(),
          stat: () => this.stat(),
          release,
        },
        options,
      );
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Iterates over the content from the file's own position on, in pieces of up to 64 KiB. The iteration ends at the end
   * of the file and leaves the file open.
   * @throws UringError: as for read, thrown by the iteration
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
   * Returns a Node.js stream of the content, like FileHandle.createReadStream. It reads from the file's own position
   * on, or from `start`, with one read at a time.
   * @param options - `start` and `end`: first and last byte to read, inclusive; `highWaterMark`: in bytes, default
   * 65536; `encoding`: default none, so chunks are Buffers; `autoClose`: close the file when the stream ends, default
   * true; `emitClose`: default true; `signal`
   * @throws TypeError, RangeError: an option has the wrong type or value
   * @throws UringError EBADF: the file is closed. The stream itself fails with the errors of its reads.
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
   * Returns a Node.js stream that writes the file, like FileHandle.createWriteStream. It writes at the file's own
   * position, or from `start` on, with one write at a time.
   * @param options - `start`: position of the first byte; `encoding`: of strings, default "utf8"; `highWaterMark`: in
   * bytes; `autoClose`: close the file when the stream ends, default true; `emitClose`: default true; `flush`: wait
   * until the content and metadata are on stable storage before the file is closed, default false; `signal`
   * @throws TypeError, RangeError: an option has the wrong type or value
   * @throws UringError EBADF: the file is closed. The stream itself fails with the errors of its writes.
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
   * Returns a byte stream of the content from the file's own position on, like FileHandle.readableWebStream. It can be
   * called once per file. `readable` has more options, and keeps several reads in flight.
   * @param options.type - "bytes"; the stream is always a byte stream
   * @param options.autoClose - close the file when the stream ends, fails or is cancelled. Default false.
   * @throws TypeError: an option is unknown or has the wrong type
   * @throws Error ERR_INVALID_STATE: the file is closed, or the method was called before
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
  readableWebStream(
    options: { readonly type?: "bytes"; readonly autoClose?: boolean } | null = noOptions,
  ): ReadableStream<Uint8Array> {
    if (this.closed) throw invalidState("The FileHandle is closed");
    if (this.#isLocked) throw invalidState("The FileHandle is locked");
    checkOptions(options ?? noOptions, ["type", "autoClose"]);
    const stream = readableOf(this.#streamed("read"), {
      position: null,
      autoClose: options?.autoClose ?? false,
      type: "bytes",
    });
    this.#isLocked = true;
    return stream;
  }

  /**
   * Iterates over the lines of the content from the file's own position on, or from `start`, like FileHandle.readLines.
   * @param options - the options of createReadStream. The file is closed at the end, unless `autoClose` is false.
   * @throws TypeError, RangeError: an option is unknown, or has the wrong type or value
   * @throws UringError EBADF: the file is closed. The iteration throws the errors of its reads.
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
    // Loaded on first use, because loading it takes longer than loading this whole library.
    const { createInterface } = process.getBuiltinModule("node:readline/promises");
    return createInterface({ input: this.createReadStream(options), crlfDelay: Number.POSITIVE_INFINITY });
  }

  /**
   * Closes the file as soon as no operation uses it. Aborted operations also use it until they complete. New operations
   * are refused at once. Further calls return the same promise.
   * @throws UringError EIO, ENOSPC, EDQUOT: errors that the file system reports on close; the descriptor is closed all
   * the same
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

  /** Calls close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The view of this file that web streams use. */
  #streamed(syscall: string): StreamedFile {
    const open = this.#opened(syscall);
    const requests = this.#requests;
    return {
      assertHas: (pool) => void this.#core.pools.baseOf(participantOf(pool), "options.pool is"),
      appends: open.appends,
      seekable: open.seekable,
      positionBytes: open.positionBytes,
      get paused() {
        return requests.paused;
      },
      transferFixed: (direction, buffer, options) => this.#transferFixed(direction, buffer, options),
      transfer: (direction, bytes, position, signal, rwFlags) =>
        this.#run(
          () =>
            operations.ownTransfer(
              direction,
              this.#opened(direction),
              bufferOf(bytes),
              byteOffsetOf(bytes),
              byteLengthOf(bytes),
              position,
              rwFlags,
            ),
          signal,
        ),
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
      open = this.#opened(fixedSyscalls[direction]);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#core.transferFixed(direction, open, buffer, options);
  }

  async #fstat(): Promise<Statx> {
    return this.#run(() => ({
      ...operations.statx(this.#opened("fstat"), STATX_BASIC_STATS | STATX_BTIME, 0),
      syscall: "fstat",
    }));
  }

  #nodeStreamed(syscall: string): NodeStreamedFile {
    const { fd } = this.#opened(syscall);
    return {
      fd,
      read: async (buffer, offset, length, position) =>
        (await this.read(buffer, offset, length, positionOf(position))).bytesRead,
      writeAll: (bytes, position) =>
        writeAll(this.#requests, this.#opened("write"), bytesOfView(bytes), undefined, positionOf(position)),
      sync: () => this.sync(),
      close: () => this.close(),
    };
  }

  #transferRange(direction: "read" | "write", { bytes, position }: Range): Promise<number> {
    return this.#transfer(direction, bytes, position);
  }

  /** See `transferAny`. */
  #transfer(
    direction: "read" | "write",
    bytes: Uint8Array,
    position: number | bigint | undefined,
    signal?: AbortSignal,
  ): Promise<number> {
    return transferAny(this.#requests, this.#opened(direction), direction, bytes, position, signal);
  }

  /** Splits the buffers into requests of at most `largestVector` buffers. Stops after a short request. */
  async #transferSeveral(direction: "read" | "write", buffers: unknown, at: unknown): Promise<number> {
    this.#opened(`${direction}v`);
    const views = viewsOf(buffers);
    const position = positionOf(at);
    if (views.length > largestVector) this.#requests.assertNotInChain(`${direction}v`);
    let transferred = 0;
    for (let first = 0; first < views.length; first += largestVector) {
      const some = views.slice(first, first + largestVector);
      const bytes = await this.#transferVector(
        direction,
        some,
        position === undefined ? undefined : positionAfter(position, transferred),
      );
      transferred += bytes;
      if (bytes < some.reduce((sum, { length }) => sum + length, 0)) break;
    }
    return transferred; // 0 if there are no buffers: like FileHandle, make no request then
  }

  async #transferVector(
    direction: "read" | "write",
    views: readonly Uint8Array[],
    position: number | bigint | undefined,
  ): Promise<number> {
    const memories = views.map((view) => (direction === "read" ? memoryFor : memoryOf)(view, this.#open));
    const transferred = await this.#run(() =>
      operations.vectoredTransfer(direction, this.#opened(`${direction}v`), memories, position),
    );
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
      if (file.#ring !== ring)
        throw new UringError("EXDEV", syscall, {
          message: "the file belongs to another ring",
          hint: "Use the ring that opened it.",
        });
      return file.#opened(syscall);
    };
  }
}
