import { checkBoolean, checkInteger, checkOptions, checkPosition, invalidType, mark, outOfRange } from "../base/arguments.ts";
import { Promise } from "../base/globals.ts";
import { currentPlace, track, untrack } from "../base/handles.ts";
import { isUrl } from "../base/path.ts";
import { byteLengthOf, bytesOfView, isBytes } from "../base/view.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import { FixedBuffer } from "../pool/fixed-buffer.ts";
import { describe, isSeekable } from "../requests/descriptor.ts";
import { type Alignment, OpenFile } from "../requests/open-file.ts";
import { O_DIRECT } from "../requests/open-flags.ts";
import type { Request } from "../requests/operation.ts";
import * as operations from "../requests/operations.ts";
import type { Statx } from "../requests/statx.ts";
import { kernel } from "../uring/kernel.ts";
import { uringOptions } from "../uring/options.ts";
import { largestTransferBytes } from "../uring/transfers.ts";
import {
  IORING_OP_READV_FIXED,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_HYBRID_IOPOLL,
  IORING_SETUP_IOPOLL,
  IORING_SETUP_SINGLE_ISSUER,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_DIOALIGN,
} from "../uring/uapi.ts";
import { type FixedTransferOptions, type FixedWriteOptions, noOptions, type OperationOptions, RingCore, type TransferOptions } from "./core.ts";
import { openFileOf, RingFile } from "./file.ts";

/** Options of `new Ring()`. */
export interface RingOptions {
  /** Submission queue entries, 1 to 32768, and at least 2 are made: how many operations travel in one system call. Default 256. */
  readonly entries?: number;
  /** Completion queue entries, up to 65536: how many operations the kernel has at once; more wait in order. Default 4096, or twice `entries` if that is more. */
  readonly cqEntries?: number;
  /**
   * Pools whose buffers the ring's operations may use. Default none. Several are cloned side by side since Linux 6.13; on 6.12 the ring registers them, besides
   * the pools' own registrations.
   */
  readonly pool?: BufferPool | readonly BufferPool[];
  /** IORING_SETUP_* flags, added to IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN. Default none. */
  readonly flags?: number;
}

/** A part of a slot. */
export interface FixedPart {
  /** A slot of one of the ring's pools. */
  readonly buffer: FixedBuffer;
  /** In the slot, in bytes. Default 0. */
  readonly offset?: number;
  /** In bytes. Default: to the slot's end. */
  readonly length?: number;
}

/** Options of `Ring.open`. */
export interface OpenOptions extends OperationOptions {
  /** As node:fs has them: "r", "w+", …, or O_* of `fs.constants`. Default "r". */
  readonly flags?: string | number;
  /** Permissions of a file that is created, less the umask. Default 0o666. */
  readonly mode?: number;
  /** Read and write past the page cache (O_DIRECT): memory, positions and lengths have to be aligned as `RingFile.alignment` says. Default false. */
  readonly direct?: boolean;
}

/** What `Ring.stats()` tells: how the ring stands, and counts since it was made. */
export interface RingStats {
  /** Operations started and not completed. */
  readonly inFlight: number;
  /** Those of them that wait for room in the ring. */
  readonly waiting: number;
  /** System calls that submitted, or looked. */
  readonly submissions: number;
  /** Requests that travelled in them, cancellations included. */
  readonly submitted: number;
  /** How often the event loop was woken. */
  readonly wakeups: number;
  /** How often completions found their queue full, and were fetched from the kernel. */
  readonly overflows: number;
}

/** What the methods of a Ring work on: a file that the ring opened, or any open descriptor. */
export type FileTarget = RingFile | number;

const signalOnly = ["signal"];
const positionalOpenOptions = ["direct", "signal"];
const openOptions = ["flags", "mode", ...positionalOpenOptions];
const transferOptions = ["position", "signal"];

/**
 * An io_uring on Bun's event loop: operations are promises, those of one tick travel in one system call, and the process lives exactly as long as one is
 * in flight. For the thread that made it. Transfers on RingFiles that are open with O_DIRECT are submitted in groups of 16, so that
 * the device begins early.
 *
 * The methods of a Ring are io_uring's requests, one each: they take a RingFile or any open descriptor, memory of SharedArrayBuffers, and resolve to what the request returns. The methods
 * of a RingFile that have the same names are those of node:fs/promises' FileHandle: they take any memory, and resolve to objects such as `{ bytesRead, buffer }`.
 *
 * What fails rejects with a UringError: EBADF where the ring is closed, otherwise the errno of the request. A wrong argument rejects with a TypeError or a
 * RangeError, an abort with the signal's reason.
 *
 * Where a descriptor is given as a number, keep it open until the operation's completion, which after an abort comes later than its promise's rejection: the
 * kernel may look it up only then. A RingFile does so itself. Opening FIFOs that have no other end occupies the kernel's workers, of which a thread has four a
 * processor, and eight at least: open those with O_NONBLOCK.
 *
 * @example
 * ```ts
 * import { BufferPool, Ring } from "bun-uring";
 *
 * using pool = new BufferPool({ count: 64, size: 65536 });
 * await using ring = new Ring({ pool });
 * await using file = await ring.open("/etc/hostname");
 * using buffer = await pool.acquire();
 * const bytesRead = await ring.readFixed(file, buffer, { position: 0 });
 * console.log(new TextDecoder().decode(buffer.bytes.subarray(0, bytesRead)));
 * ```
 *
 * @see io_uring(7)
 */
export class Ring implements AsyncDisposable {
  readonly #core: RingCore;

  /**
   * Sets up a ring and gives it the pools' buffers.
   * @throws TypeError, RangeError: an option's type or value
   * @throws UringError EBADF: a pool is closed; ENOMEM: over the memlock limit, where the kernel cannot clone, or the process has changed its user since the pool was made; and the
   * errors of `new RawRing()`
   */
  constructor(options: RingOptions = {}) {
    if (options instanceof BufferPool) throw invalidType("options", "an object, as in `new Ring({ pool })`", options);
    checkOptions(options, ["entries", "cqEntries", "pool", "flags"]);
    const { entries = 256, pool, flags = 0 } = options;
    checkInteger("options.entries", entries, 1, 32768);
    const { cqEntries = Math.max(4096, 2 * entries) } = options;
    const checked = uringOptions({ entries: Math.max(2, entries), cqEntries, flags });
    if ((flags & (IORING_SETUP_IOPOLL | IORING_SETUP_HYBRID_IOPOLL)) !== 0)
      throw outOfRange("options.flags", "without IORING_SETUP_IOPOLL, whose completions wake nobody: that is for RawRing", flags);
    this.#core = new RingCore({ ...checked, flags: (flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) >>> 0 }, pool);
    track(this, this.#core);
  }

  /** How the kernel gave the ring its pools: a clone of their registration, or one of its own: before Linux 6.12 (6.13 for several pools), and
   * where the process has changed its user, or lost CAP_IPC_LOCK, since a pool was made. */
  get bufferSource(): "cloned" | "registered" | undefined {
    return this.#core.bufferSource;
  }

  /** Milliseconds that the kernel's call for it took. */
  get bufferJoinMs(): number {
    return this.#core.bufferJoinMs;
  }

  /** Operations started and not completed. */
  get inFlight(): number {
    return this.#core.requests.inFlight;
  }

  /** Whether close() was called. */
  get closed(): boolean {
    return this.#core.requests.closed;
  }

  /**
   * Opens a file, close-on-exec. What follows the path may be one object, `{ flags, mode, direct, signal }`.
   * @param path - a path, or a file: URL
   * @param flags - as node:fs has them: "r", "w+", …, or O_* of `fs.constants`. Default "r".
   * @param mode - permissions of a file that is created, less the umask. Default 0o666.
   * @throws UringError ENOENT, EACCES, EMFILE, … with the path in the message; EINVAL: among others, O_DIRECT where the file system has none
   * @throws TypeError, RangeError: an argument's type or value
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("new.txt", { flags: "wx", mode: 0o600, signal: AbortSignal.timeout(1000) });
   * await file.writeFile("only for me\n");
   * await using image = await ring.open("disk.img", "r", undefined, { direct: true });
   * console.log(image.alignment?.positionBytes);
   * ```
   * @see io_uring_prep_openat(3)
   */
  open(path: string | URL, flags?: string | number, mode?: number, options?: Omit<OpenOptions, "flags" | "mode">): Promise<RingFile>;
  open(path: string | URL, options: OpenOptions): Promise<RingFile>;
  async open(path: string | URL, given?: OpenOptions | string | number, mode?: number, options: OpenOptions = noOptions): Promise<RingFile> {
    const { requests } = this.#core;
    const place = currentPlace();
    const isPositional = typeof given !== "object" || given === null;
    const { fd, fileEntry, openedWith, text, signal } = await this.#run(
      (named) => {
        const { direct = false, signal } = named;
        checkBoolean("options.direct", direct);
        if (direct) requests.assertNotInChain("open with `direct`"); // it asks for the alignment, too
        const request = isPositional ? operations.open(path, given, mode, direct) : operations.open(path, named.flags, named.mode, direct);
        return { ...request, result: (fd: number, fileEntry: number) => ({ ...request.result(fd, fileEntry), signal }) };
      },
      isPositional ? options : given,
      isPositional ? positionalOpenOptions : openOptions,
    );
    const alignment = (openedWith & O_DIRECT) === 0 ? undefined : await this.#alignmentOf(fd, fileEntry, signal);
    requests.engine.files.install(fileEntry);
    return new RingFile(this, this.#core, new OpenFile(fd, fileEntry, text, openedWith, alignment, isSeekable(fd), describe(fd)), place);
  }

  /**
   * Reads into a slot. Resolves to the number of bytes read, which may be fewer than asked for, and is 0 at the file's end.
   * @param file - opened by this ring, or a descriptor
   * @param buffer - a slot of one of the ring's pools
   * @throws TypeError, RangeError: an argument's type or value, a range outside the slot, a slot of another pool
   * @throws UringError ESTALE: the slot was released; EXDEV: a file of another ring; EINVAL: often a misaligned O_DIRECT transfer
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("disk.img");
   * using buffer = await pool.acquire();
   * const bytesRead = await ring.readFixed(file, buffer, { position: 4096, length: 512 });
   * console.log(buffer.bytes.subarray(0, bytesRead));
   * ```
   * @see io_uring_prep_read_fixed(3)
   */
  readFixed(file: FileTarget, buffer: FixedBuffer, options: FixedTransferOptions = noOptions): Promise<number> {
    return this.#transferFixed("read", file, buffer, options);
  }

  /**
   * Writes from a slot. Resolves to the number of bytes written, which may be fewer than asked for. Arguments and errors are those of readFixed.
   * @throws TypeError, RangeError, UringError: as readFixed; ENOSPC, EDQUOT, EFBIG: no room; EBADF: not open for writing
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("log.txt", "a");
   * using buffer = await pool.acquire();
   * const length = Buffer.from(buffer.bytes.buffer).write("hello\n", buffer.bytes.byteOffset);
   * await ring.writeFixed(file, buffer, { length, dsync: true });
   * ```
   * @see io_uring_prep_write_fixed(3)
   */
  writeFixed(file: FileTarget, buffer: FixedBuffer, options: FixedWriteOptions = noOptions): Promise<number> {
    return this.#transferFixed("write", file, buffer, options);
  }

  /**
   * Reads into several slots, or parts of slots, one after the other, as one request. Resolves to the number of bytes read in all. Where the parts do not lie in one
   * registered buffer, or the kernel has no such request (before Linux 6.15), they are read as memory like any other.
   * @param file - opened by this ring, or a descriptor
   * @param parts - 1 to 1024
   * @throws TypeError, RangeError, UringError: as readFixed
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("disk.img");
   * using head = await pool.acquire();
   * using body = await pool.acquire();
   * const bytesRead = await ring.readvFixed(file, [{ buffer: head, length: 512 }, body], { position: 0 });
   * console.log(bytesRead); // 66048
   * ```
   * @see io_uring_prep_readv_fixed(3)
   */
  readvFixed(file: FileTarget, parts: readonly (FixedBuffer | FixedPart)[], options: TransferOptions = noOptions): Promise<number> {
    return this.#transferParts("read", file, parts, options);
  }

  /**
   * Writes from several slots, or parts of slots. Arguments and errors are those of readvFixed.
   * Before Linux 6.15 they are written as memory like any other.
   * @throws TypeError, RangeError, UringError: as readvFixed
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("copy.img", "w");
   * using head = await pool.acquire();
   * using body = await pool.acquire();
   * await ring.writevFixed(file, [{ buffer: head, length: 512 }, body], { position: 0 });
   * ```
   * @see io_uring_prep_writev_fixed(3)
   */
  writevFixed(file: FileTarget, parts: readonly (FixedBuffer | FixedPart)[], options: TransferOptions = noOptions): Promise<number> {
    return this.#transferParts("write", file, parts, options);
  }

  /**
   * Reads into memory of any SharedArrayBuffer that is not a pool's: slots have readFixed, which keeps them until the kernel is done. Resolves to the number of bytes read, which may be fewer than asked for, and is 0 at the
   * file's end. More than 2 GiB are read by several requests, one after the other.
   * @param file - opened by this ring, or a descriptor
   * @param bytes - where to
   * @throws TypeError: memory other than a SharedArrayBuffer's, which could move or go while the kernel writes it
   * @throws RangeError: an option's value
   * @throws UringError EXDEV: a file of another ring; EISDIR: a folder; EINVAL: often a misaligned O_DIRECT transfer
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * await using file = await ring.open("notes.txt");
   * const bytesRead = await ring.read(file, bytes, { position: 0 });
   * console.log(new TextDecoder().decode(bytes.subarray(0, bytesRead)));
   * ```
   * @see io_uring_prep_read(3)
   */
  read(file: FileTarget, bytes: Uint8Array, options: TransferOptions = noOptions): Promise<number> {
    return this.#transferBytes("read", file, bytes, options);
  }

  /**
   * Writes from memory of any SharedArrayBuffer. Resolves to the number of bytes written, which may be fewer than asked for. Arguments and errors are those of read.
   * @throws TypeError, RangeError, UringError: as read; ENOSPC, EDQUOT, EFBIG: no room; EBADF: not open for writing
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * await using file = await ring.open("zeros.bin", "w");
   * const bytesWritten = await ring.write(file, bytes);
   * console.log(bytesWritten); // 4096
   * ```
   * @see io_uring_prep_write(3)
   */
  write(file: FileTarget, bytes: Uint8Array, options: TransferOptions = noOptions): Promise<number> {
    return this.#transferBytes("write", file, bytes, options);
  }

  /**
   * Reads into several pieces of memory, one after the other, as one request. Resolves to the number of bytes read in all.
   * @param file - opened by this ring, or a descriptor
   * @param buffers - 1 to 1024, of any SharedArrayBuffers
   * @throws TypeError, RangeError, UringError: as read
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("disk.img");
   * const memory = new SharedArrayBuffer(8192);
   * const [head, body] = [new Uint8Array(memory, 0, 512), new Uint8Array(memory, 512)];
   * console.log(await ring.readv(file, [head, body], { position: 0 })); // 8192
   * ```
   * @see io_uring_prep_readv(3)
   */
  readv(file: FileTarget, buffers: readonly Uint8Array[], options: TransferOptions = noOptions): Promise<number> {
    return this.#run((given) => operations.vectoredTransfer("read", this.#target(file, "readv"), buffers, given.position), options, transferOptions);
  }

  /**
   * Writes several pieces of memory. Arguments and errors are those of readv.
   * @throws TypeError, RangeError, UringError: as write
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("two.bin", "w");
   * const parts = [new Uint8Array(new SharedArrayBuffer(512)), new Uint8Array(new SharedArrayBuffer(4096))];
   * console.log(await ring.writev(file, parts)); // 4608
   * ```
   * @see io_uring_prep_writev(3)
   */
  writev(file: FileTarget, buffers: readonly Uint8Array[], options: TransferOptions = noOptions): Promise<number> {
    return this.#run((given) => operations.vectoredTransfer("write", this.#target(file, "writev"), buffers, given.position), options, transferOptions);
  }

  /**
   * Resolves when the file's content and metadata are on stable storage.
   * @param file - opened by this ring, or a descriptor
   * @throws TypeError: an argument's type
   * @throws UringError EIO, ENOSPC, EDQUOT: not all of it could be written back; EINVAL: what has no storage, as a pipe
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt", "a");
   * await file.writeFile("four\n");
   * await ring.fsync(file);
   * ```
   * @see io_uring_prep_fsync(3), fsync(2)
   */
  fsync(file: FileTarget, options: OperationOptions = noOptions): Promise<void> {
    return this.#run(() => operations.sync("fsync", this.#target(file, "fsync")), options);
  }

  /**
   * Resolves when the file's content, and the metadata needed to read it back, are on stable storage.
   * @param file - opened by this ring, or a descriptor
   * @throws TypeError, UringError: as fsync
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt", "a");
   * await file.writeFile("four\n");
   * await ring.fdatasync(file);
   * ```
   * @see io_uring_prep_fsync(3), fdatasync(2)
   */
  fdatasync(file: FileTarget, options: OperationOptions = noOptions): Promise<void> {
    return this.#run(() => operations.sync("fdatasync", this.#target(file, "fdatasync")), options);
  }

  /**
   * A file's metadata.
   * @param file - opened by this ring, a descriptor, or a path
   * @param options.mask - STATX_*: what is wanted. Default STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN.
   * @param options.flags - AT_*: 0x100 (AT_SYMLINK_NOFOLLOW) is about a link itself. Default 0.
   * @throws UringError ENOENT, EACCES, … with the path in the message
   * @throws TypeError, RangeError: an argument's or option's type or value
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * const { size, mtimeNs, dioOffsetAlign } = await ring.statx("disk.img");
   * console.log(`${size} bytes, changed ${new Date(Number(mtimeNs / 1_000_000n))}`);
   * console.log(dioOffsetAlign === 0 ? "no O_DIRECT" : `O_DIRECT at multiples of ${dioOffsetAlign}`);
   * ```
   * @see io_uring_prep_statx(3), statx(2)
   */
  statx(file: FileTarget | string | URL, options: OperationOptions & { readonly mask?: number; readonly flags?: number } = noOptions): Promise<Statx> {
    return this.#run(
      (given) =>
        operations.statx(
          typeof file === "string" || isUrl(file) ? file : this.#target(file, "statx"),
          given.mask ?? STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN,
          given.flags ?? 0,
        ),
      options,
      ["mask", "flags", "signal"],
    );
  }

  /**
   * Cuts a file off, or lengthens it with zeros. Since Linux 6.9.
   * @param file - opened by this ring, or a descriptor
   * @param length - in bytes
   * @throws UringError EOPNOTSUPP: an older kernel
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EINVAL: not open for writing, or no regular file
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("notes.txt", "r+");
   * await ring.ftruncate(file, 4);
   * ```
   * @see io_uring_prep_ftruncate(3)
   */
  ftruncate(file: FileTarget, length: number | bigint, options: OperationOptions = noOptions): Promise<void> {
    return this.#run(() => operations.ftruncate(this.#target(file, "ftruncate"), length), options);
  }

  /**
   * Allocates a file's space, or with a mode punches holes, zeroes, inserts or collapses ranges.
   * @param file - opened by this ring, or a descriptor
   * @param length - in bytes
   * @param options.position - where it begins, in bytes. Default 0.
   * @param options.mode - FALLOC_FL_*. Default 0.
   * @throws TypeError, RangeError: an argument's or option's type or value
   * @throws UringError EOPNOTSUPP: the file system has no such mode; ENOSPC; EBADF: not open for writing; ESPIPE: a pipe
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("database", "w");
   * await ring.fallocate(file, 2 ** 20); // room for 1 MiB, which the file has then
   * ```
   * @see io_uring_prep_fallocate(3), fallocate(2)
   */
  fallocate(
    file: FileTarget,
    length: number | bigint,
    options: OperationOptions & { readonly position?: number | bigint; readonly mode?: number } = noOptions,
  ): Promise<void> {
    return this.#run((given) => operations.fallocate(this.#target(file, "fallocate"), given.mode ?? 0, given.position ?? 0, length), options, [
      "position",
      "mode",
      "signal",
    ]);
  }

  /**
   * Tells the kernel how a file will be read.
   * @param file - opened by this ring, or a descriptor
   * @param advice - "normal", "random", "sequential", "willneed", "dontneed" or "noreuse"
   * @param options.position - where that begins, in bytes. Default 0.
   * @param options.length - how far it goes, in bytes, less than 4 GiB; 0: to the file's end. Default 0.
   * @throws TypeError, RangeError: an argument's or option's type or value
   * @throws UringError ESPIPE: a pipe
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("disk.img");
   * await ring.fadvise(file, "willneed", { position: 0, length: 65536 });
   * ```
   * @see io_uring_prep_fadvise(3), posix_fadvise(2)
   */
  fadvise(
    file: FileTarget,
    advice: operations.Advice,
    options: OperationOptions & { readonly position?: number | bigint; readonly length?: number } = noOptions,
  ): Promise<void> {
    return this.#run((given) => operations.fadvise(this.#target(file, "fadvise"), advice, given.position ?? 0, given.length ?? 0), options, [
      "position",
      "length",
      "signal",
    ]);
  }

  /**
   * Removes a file's name; with the flag 0x200 (AT_REMOVEDIR) an empty folder.
   * @param path - a path, or a file: URL
   * @param options.flags - AT_REMOVEDIR (0x200), or 0. Default 0.
   * @throws TypeError, RangeError: an argument's or option's type or value
   * @throws UringError ENOENT, EACCES, EISDIR: a folder without the flag, ENOTEMPTY, … with the path in the message
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await ring.unlink("notes.txt");
   * await ring.mkdir("folder");
   * await ring.unlink("folder", { flags: 0x200 });
   * ```
   * @see io_uring_prep_unlink(3), unlinkat(2)
   */
  unlink(path: string | URL, options: OperationOptions & { readonly flags?: number } = noOptions): Promise<void> {
    return this.#run((given) => operations.unlink(path, given.flags ?? 0), options, ["flags", "signal"]);
  }

  /**
   * Renames a file, replacing what has the name.
   * @param from - a path, or a file: URL
   * @param to - a path, or a file: URL, on the same file system
   * @param options.flags - RENAME_*: 1 (RENAME_NOREPLACE) fails with EEXIST instead, 2 (RENAME_EXCHANGE) swaps the two. Default 0.
   * @throws TypeError, RangeError: an argument's or option's type or value
   * @throws UringError ENOENT, EACCES, EXDEV: another file system, EEXIST: with RENAME_NOREPLACE, … with both paths in the message
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await ring.rename("notes.txt", "notes.old.txt", { flags: 1 }); // replaces nothing
   * ```
   * @see io_uring_prep_rename(3), renameat2(2)
   */
  rename(from: string | URL, to: string | URL, options: OperationOptions & { readonly flags?: number } = noOptions): Promise<void> {
    return this.#run((given) => operations.rename(from, to, given.flags ?? 0), options, ["flags", "signal"]);
  }

  /**
   * Makes a folder.
   * @param path - a path, or a file: URL
   * @param mode - its permissions, less the umask. Default 0o777.
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EEXIST, ENOENT: the parent, EACCES, … with the path in the message
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await ring.mkdir("private", 0o700);
   * ```
   * @see io_uring_prep_mkdir(3)
   */
  mkdir(path: string | URL, mode = 0o777, options: OperationOptions = noOptions): Promise<void> {
    return this.#run(() => operations.mkdir(path, mode), options);
  }

  /**
   * Moves bytes between a pipe and a file or another pipe, without their passing through memory of the process. Resolves to how many.
   * @param from - opened by this ring, or a descriptor
   * @param to - opened by this ring, or a descriptor
   * @param length - at most, in bytes
   * @param options.fromPosition - in a file that is read from. Default: its own position.
   * @param options.toPosition - in a file that is written to. Default: its own position.
   * @param options.flags - SPLICE_F_*. Default 0.
   * @throws UringError EINVAL: neither end is a pipe; ESPIPE: a position was given for one
   * @throws TypeError, RangeError: an argument's or option's type or value
   * @example
   * ```ts
   * import { execSync } from "node:child_process";
   * import { constants } from "node:fs";
   * import { Ring } from "bun-uring";
   *
   * execSync("mkfifo pipe");
   * await using ring = new Ring();
   * await using pipe = await ring.open("pipe", constants.O_RDWR | constants.O_NONBLOCK);
   * await using file = await ring.open("notes.txt");
   * console.log(await ring.splice(file, pipe, 4096, { fromPosition: 0 })); // 14
   * ```
   * @see io_uring_prep_splice(3), splice(2)
   */
  splice(
    from: FileTarget,
    to: FileTarget,
    length: number,
    options: OperationOptions & { readonly fromPosition?: number | bigint; readonly toPosition?: number | bigint; readonly flags?: number } = noOptions,
  ): Promise<number> {
    return this.#run(
      (given) => operations.splice(this.#target(from, "splice"), this.#target(to, "splice"), length, given.fromPosition, given.toPosition, given.flags ?? 0),
      options,
      ["fromPosition", "toPosition", "flags", "signal"],
    );
  }

  /**
   * Waits until a descriptor is ready. Resolves to the events that it is ready for.
   * @param file - opened by this ring, or a descriptor
   * @param events - POLLIN (1), POLLOUT (4), …: what is waited for; POLLERR (8) and POLLHUP (16) always are
   * @throws TypeError, RangeError: an argument's type or value
   * @throws UringError EBADF: not a descriptor
   * @example
   * ```ts
   * import { constants } from "node:fs";
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using zeros = await ring.open("/dev/zero", constants.O_RDONLY | constants.O_NONBLOCK);
   * const events = await ring.poll(zeros, 1); // POLLIN
   * console.log((events & 1) !== 0); // true
   * ```
   * @see io_uring_prep_poll_add(3), poll(2)
   */
  poll(file: FileTarget, events: number, options: OperationOptions = noOptions): Promise<number> {
    return this.#run(() => operations.poll(this.#target(file, "poll"), events), options);
  }

  /**
   * Resolves after a time, by the kernel's monotonic clock.
   * @param timeoutMs - milliseconds, with fractions down to a nanosecond
   * @throws TypeError, RangeError: not a number from 0 to 2^53 - 1
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await ring.timeout(1.5); // milliseconds
   * ```
   * @see io_uring_prep_timeout(3)
   */
  timeout(timeoutMs: number, options: OperationOptions = noOptions): Promise<void> {
    return this.#run(() => operations.timeout(timeoutMs), options);
  }

  /**
   * Does nothing, by way of the kernel.
   * @throws UringError EBADF: the ring is closed
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * const started = Bun.nanoseconds();
   * await ring.nop();
   * console.log(`there and back in ${Bun.nanoseconds() - started} ns`);
   * ```
   * @see io_uring_prep_nop(3)
   */
  nop(options: OperationOptions = noOptions): Promise<void> {
    return this.#run(operations.nop, options);
  }

  /**
   * Starts several operations as a chain, submitted together: the kernel begins each when the one before has succeeded. Returns their promises, in
   * order. When one fails, or reads or writes fewer bytes than asked for, the rest is not done: it rejects with ECANCELED, and the first failure as
   * its cause. An operation whose signal aborts before its turn, and all that come after it, are cancelled when the turn comes, unless the kernel has done it by then.
   * An error that the kernel finds beforehand, as in a path that is too long, ends the whole chain.
   * @param operations - functions that each start one operation of this ring: `() => ring.write(…)`. No more than the ring's entries.
   * @throws TypeError, RangeError, UringError: what one of the operations refuses, or does not start just one request; then none of the chain's requests is started
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("durable.bin", "w");
   * using buffer = await pool.acquire();
   * const [bytesWritten] = await Promise.all(ring.chain([() => ring.writeFixed(file, buffer, { position: 0 }), () => ring.fdatasync(file)]));
   * console.log(bytesWritten); // 65536
   * ```
   * @see io_uring_sqe_set_flags(3), IOSQE_IO_LINK
   */
  chain<const Operations extends readonly (() => Promise<unknown>)[]>(
    operations: Operations,
  ): { -readonly [Index in keyof Operations]: ReturnType<Operations[Index]> } {
    if (!Array.isArray(operations)) throw invalidType("operations", "an array of functions", operations);
    for (const [index, operation] of operations.entries())
      if (typeof operation !== "function") throw invalidType(`operations[${index}]`, "a function that starts an operation", operation);
    return this.#core.requests.startChain(operations) as { -readonly [Index in keyof Operations]: ReturnType<Operations[Index]> };
  }

  /**
   * How the ring stands.
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await Promise.all([ring.nop(), ring.nop(), ring.nop()]);
   * const { submitted, submissions } = ring.stats();
   * console.log(`${submitted} requests in ${submissions} system calls`);
   * ```
   */
  stats(): RingStats {
    return this.#core.requests.stats();
  }

  /**
   * Has what is in flight keep the process alive, as it does from the start.
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * const ring = new Ring().unref();
   * const waiting = ring.timeout(10);
   * ring.ref(); // the process waits for it after all
   * await waiting;
   * await ring.close();
   * ```
   */
  ref(): this {
    this.#core.requests.engine.referenced = true;
    return this;
  }

  /**
   * Lets the process end while operations are in flight. They go on as long as something else keeps it alive, and then complete some milliseconds late: Bun can be woken only
   * by what keeps the process alive, so the ring is looked at, after a millisecond first and then less and less often, every 16 at last.
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * const ring = new Ring().unref();
   * ring.timeout(60_000); // the process ends without waiting for this
   * ```
   */
  unref(): this {
    this.#core.requests.engine.referenced = false;
    return this;
  }

  /**
   * Closes the ring: refuses new work, cancels what is in flight, waits until the kernel is done with all of it, closes the files opened here. Nothing is written to
   * a buffer after it has resolved. It waits for a request that cannot be cancelled as long as that takes, with a warning after 5 seconds. Again: the same promise.
   * @throws UringError: the kernel would not finish; the ring's memory then stays allocated
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * const ring = new Ring();
   * const waiting = ring.timeout(60_000).catch((error) => error.code);
   * await ring.close();
   * console.log(await waiting); // ECANCELED
   * ```
   * @see io_uring_queue_exit(3)
   */
  close(): Promise<void> {
    untrack(this.#core);
    return this.#core.close();
  }

  /** close() */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #transferFixed(direction: "read" | "write", file: FileTarget, buffer: FixedBuffer, options: FixedWriteOptions): Promise<number> {
    let target: operations.Target;
    try {
      target = this.#target(file, direction === "read" ? "read_fixed" : "write_fixed");
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#core.transferFixed(direction, target, buffer, options);
  }

  /** Starts an operation; whatever is wrong with it, or with its options, which are read once, rejects. */
  #run<Result, Options extends OperationOptions>(
    prepare: (options: Options) => Request<Result>,
    options: Options,
    known: readonly string[] = signalOnly,
  ): Promise<Result> {
    return this.#core.requests.run(() => {
      if (options === noOptions) return prepare(options);
      checkOptions(options, known);
      const read = { ...options };
      return { ...prepare(read), signal: read.signal };
    });
  }

  #transferBytes(direction: "read" | "write", file: FileTarget, bytes: Uint8Array, options: TransferOptions): Promise<number> {
    if (isBytes(bytes) && byteLengthOf(bytes) > largestTransferBytes) return this.#transferLong(direction, file, bytes, options);
    return this.#run((given) => operations.transfer(direction, this.#target(file, direction), bytes, given.position), options, transferOptions);
  }

  /** One request after the other, until one is short; an error after the first ends it as a short one does. */
  async #transferLong(direction: "read" | "write", file: FileTarget, bytes: Uint8Array, options: TransferOptions): Promise<number> {
    this.#core.requests.assertNotInChain(direction);
    checkOptions(options, transferOptions);
    const { position, signal } = options;
    if (position !== undefined) checkPosition("options.position", position, 0);
    const target = this.#target(file, direction);
    const all = bytesOfView(bytes);
    const use = typeof target === "number" ? undefined : target;
    // Open from here to the end: closing waits for it, and refuses only what begins later.
    use?.beginUse();
    try {
      let done = 0;
      while (done < all.length) {
        const part = all.subarray(done, done + largestTransferBytes);
        const from = position === undefined ? undefined : BigInt(position) + BigInt(done);
        try {
          const transferred = await this.#core.requests.run(() => operations.transfer(direction, target, part, from), signal);
          done += transferred;
          if (transferred < part.length) break;
        } catch (error) {
          if (done === 0 || !(error instanceof UringError)) throw error;
          break;
        }
      }
      return done;
    } finally {
      use?.endUse();
    }
  }

  #transferParts(direction: "read" | "write", file: FileTarget, parts: readonly (FixedBuffer | FixedPart)[], options: TransferOptions): Promise<number> {
    return this.#run(
      ({ position }) => {
        const syscall = `${direction}v_fixed`;
        operations.checkVector(parts);
        const target = this.#target(file, syscall);
        const ranges = Array.from(parts, (part, index) => {
          if (typeof part !== "object" || part === null) throw invalidType(`parts[${index}]`, "a FixedBuffer, or an object with one as `buffer`", part);
          const { buffer, offset = 0, length } = part instanceof FixedBuffer ? { buffer: part, length: undefined } : part;
          const name = `parts[${index}]`;
          return this.#core.rangeOf(buffer, offset, length, syscall, { buffer: `${name}.buffer`, offset: `${name}.offset`, length: `${name}.length` });
        });
        const uses = ranges.map(({ slot }) => slot);
        const filled = ranges.filter(({ length }) => length > 0); // the kernel refuses empty parts of registered buffers
        const [{ bufferIndex } = { bufferIndex: 0 }] = filled;
        const isOne = filled.length > 0 && filled.every((range) => range.bufferIndex === bufferIndex);
        const bytes = filled.reduce((sum, { length }) => sum + length, 0);
        const request =
          isOne && bytes <= largestTransferBytes && kernel().opcodes.has(IORING_OP_READV_FIXED)
            ? operations.vectoredFixedTransfer(direction, target, filled, position, bufferIndex)
            : operations.vectoredTransferOf(direction, target, ranges, position);
        return { ...request, uses };
      },
      options,
      transferOptions,
    );
  }

  /** How O_DIRECT wants a file aligned that was just opened; undefined where the kernel does not say. */
  async #alignmentOf(fd: number, fileEntry: number, signal: AbortSignal | undefined): Promise<Alignment | undefined> {
    const { requests } = this.#core;
    try {
      const { dioMemAlign: memoryBytes, dioOffsetAlign: positionBytes } = await requests.run(() => operations.statx(fd, STATX_DIOALIGN, 0), signal);
      return memoryBytes === 0 ? undefined : { memoryBytes, positionBytes };
    } catch (error) {
      if (!requests.closed) await requests.closeFile(fd, fileEntry);
      throw error;
    }
  }

  /** What an operation is about, for its request. */
  #target(file: FileTarget, syscall: string): operations.Target {
    if (file instanceof RingFile) return openFileOf(file, this, syscall);
    if (typeof file !== "number") throw invalidType("file", "a RingFile or a descriptor", file);
    checkInteger("file", file, 0, 2 ** 31 - 1);
    return file;
  }

  static {
    mark("Ring", Ring.prototype);
  }
}
