import {
  checkBoolean,
  checkInteger,
  checkOptions,
  checkPosition,
  invalidType,
  invalidValue,
  mark,
  outOfRange,
  readOptions,
} from "../base/arguments.ts";
import { Promise } from "../base/globals.ts";
import { currentPlace, track, untrack } from "../base/handles.ts";
import { isUrl } from "../base/path.ts";
import { byteLengthOf, bytesOfView, isBytes } from "../base/view.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import { FixedBuffer } from "../pool/fixed-buffer.ts";
import * as operations from "../requests/builders.ts";
import type { Request } from "../requests/operation.ts";
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
import { type Batch, batchOf } from "./batch.ts";
import {
  cacheFlag,
  type FixedTransferOptions,
  type FixedWriteOptions,
  fixedSyscalls,
  noOptions,
  type OperationOptions,
  RingCore,
  type TransferOptions,
} from "./core.ts";
import { type FileTarget, RingFile, targetOf } from "./file.ts";
import type { FileData } from "./file-arguments.ts";
import { openFile } from "./opening.ts";
import { type PumpCallback, type PumpOptions, pumpOf } from "./pump.ts";
import { type ReadFileResult, type ReadFilesOptions, readFilesOf } from "./read-files.ts";
import { writeFileBy } from "./write-file.ts";

/** Options of `new Ring()`. */
export interface RingOptions {
  /**
   * Submission queue entries, 1 to 32768: how many operations one system call can submit. A ring has at least 2.
   * Default 256.
   */
  readonly entries?: number;
  /**
   * Completion queue entries, up to 65536: how many operations the kernel handles at once. Further operations wait in
   * order. Default: 4096, or twice `entries` if that is more.
   */
  readonly cqEntries?: number;
  /**
   * Pools whose buffers the ring's operations may use. Default none. Since Linux 6.13, the ring clones several pools
   * next to each other. On Linux 6.12 it clones a single pool, but registers several pools itself, in addition to the
   * pools' own registrations.
   */
  readonly pool?: BufferPool | readonly BufferPool[];
  /** IORING_SETUP_* flags, in addition to IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN. Default none. */
  readonly flags?: number;
}

/** Part of a slot. */
export interface FixedPart {
  /** A slot of one of the ring's pools. */
  readonly buffer: FixedBuffer;
  /** Offset in the slot, in bytes. Default 0. */
  readonly offset?: number;
  /** Length in bytes. Default: up to the end of the slot. */
  readonly length?: number;
}

/** Options of `Ring.open`. */
export interface OpenOptions extends OperationOptions {
  /** Flags as in node:fs: "r", "w+", …, or O_* of `fs.constants`. Default "r". */
  readonly flags?: string | number;
  /** Permissions of a newly created file, before the umask is applied. Default 0o666. */
  readonly mode?: number;
  /**
   * Bypass the page cache (O_DIRECT). Memory, positions and lengths must be aligned as `RingFile.alignment` reports.
   * Default false.
   */
  readonly direct?: boolean;
}

/** Options of `Ring.readFile`. */
export interface PathReadOptions {
  /**
   * Rejects the promise when aborted, with an AbortError whose cause is the signal's reason.
   */
  readonly signal?: AbortSignal | undefined;
  /** Flags as in node:fs: "r", "r+", "a+", …, or O_* of `fs.constants`. Default "r". */
  readonly flag?: string | number;
}

/** Options of `Ring.writeFile` and `Ring.appendFile`. */
export interface PathWriteOptions extends Omit<PathReadOptions, "flag"> {
  /** Flags as in node:fs. Default "w" for writeFile, "a" for appendFile. */
  readonly flag?: string | number;
  /** Encoding of text. Default "utf8". */
  readonly encoding?: BufferEncoding | null;
  /** Permissions of a newly created file, before the umask is applied: a number, or octal digits. Default 0o666. */
  readonly mode?: number | string;
  /** Resolve only when the content and metadata are on stable storage. Default false. */
  readonly flush?: boolean | null;
}

/** Result of `Ring.stats()`: the current state of the ring, and counters since its creation. */
export interface RingStats {
  /** Operations that have started and not yet completed. */
  readonly inFlight: number;
  /** How many of these wait for room in the ring, or for their turn at a file's own position. */
  readonly waiting: number;
  /** System calls that submitted requests or fetched completions. */
  readonly submissions: number;
  /** Requests submitted by these system calls, including cancellations. */
  readonly submitted: number;
  /** How often the ring woke the event loop. */
  readonly wakeups: number;
  /** How often the completion queue was full, so that the ring had to fetch completions from the kernel. */
  readonly overflows: number;
}

/** For the library: returns a ring's core. */
export let coreOf: (ring: Ring) => RingCore;

/** Tells options from flags of a wrong type, such as an array. */
function isOpenOptions(value: unknown): value is OpenOptions {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || openOptions.some((name) => name in value);
}

const signalOnly = ["signal"];
const positionalOpenOptions = ["direct", "signal"];
const openOptions = ["flags", "mode", ...positionalOpenOptions];
const transferOptions = ["position", "dontCache", "signal"];

/**
 * An io_uring on Bun's event loop. Each operation returns a promise. Operations started in the same tick are submitted
 * with one system call. Operations in flight keep the process alive; an idle ring does not. Only the thread that made
 * the ring may use it. Transfers on RingFiles opened with O_DIRECT are submitted in groups of 16, so that the device
 * can start early.
 *
 * The methods of a Ring correspond to io_uring's requests, one to one. They take a RingFile or any open descriptor, use
 * memory of SharedArrayBuffers, and resolve to the result of the request. The methods with the same names on RingFile
 * are those of FileHandle in node:fs/promises: they take any memory, and resolve to objects such as
 * `{ bytesRead, buffer }`.
 *
 * A failed operation rejects with a UringError: EBADF if the ring is closed, otherwise the errno of the request. A
 * wrong argument rejects with a TypeError or a RangeError. An abort rejects with the signal's reason.
 *
 * If you pass a descriptor as a number, keep it open until the operation completes: the kernel may look it up late.
 * After an abort, the operation completes later than its promise rejects. A RingFile takes care of this itself. Opening
 * a FIFO that has no other end yet occupies one of the kernel's worker threads, of which each thread has four per
 * processor, and at least eight. Open such FIFOs with O_NONBLOCK.
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
   * Sets up a ring and gives it access to the pools' buffers.
   * @throws TypeError, RangeError: an option has the wrong type or value
   * @throws UringError EBADF: a pool is closed; ENOMEM: the pools exceed the limit on locked memory, and the ring must
   * register them itself, because the kernel cannot clone buffers or the process has changed its user since it made the
   * pool; and the errors of `new RawRing()`
   */
  constructor(options: RingOptions = {}) {
    if (options instanceof BufferPool) throw invalidType("options", "an object, as in `new Ring({ pool })`", options);
    checkOptions(options, ["entries", "cqEntries", "pool", "flags"]);
    const { entries = 256, pool, flags = 0 } = options;
    checkInteger("options.entries", entries, 1, 32768);
    const { cqEntries = Math.max(4096, 2 * entries) } = options;
    const checked = uringOptions({ entries: Math.max(2, entries), cqEntries, flags });
    if ((flags & (IORING_SETUP_IOPOLL | IORING_SETUP_HYBRID_IOPOLL)) !== 0)
      throw outOfRange(
        "options.flags",
        "without IORING_SETUP_IOPOLL, whose completions cannot wake the event loop (use RawRing for it)",
        flags,
      );
    this.#core = new RingCore(
      { ...checked, flags: (flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) >>> 0 },
      pool,
    );
    track(this, this.#core);
  }

  /**
   * How the ring got access to its pools' buffers: by a clone of their registration, or by a registration of its own.
   * The ring registers them itself before Linux 6.12 (6.13 for several pools), and if the process has changed its user,
   * or gained or lost CAP_IPC_LOCK, since it made a pool. Undefined for a ring without pools.
   */
  get bufferSource(): "cloned" | "registered" | undefined {
    return this.#core.pools.source;
  }

  /** How long the system calls that clone or register the pools' buffers took, in milliseconds. */
  get bufferJoinMs(): number {
    return this.#core.pools.joinMs;
  }

  /** Operations that have started and not yet completed. */
  get inFlight(): number {
    return this.#core.requests.inFlight;
  }

  /** Whether close() has been called. */
  get closed(): boolean {
    return this.#core.requests.closed;
  }

  /**
   * Opens a file with close-on-exec. Instead of separate arguments, you can pass one object after the path:
   * `{ flags, mode, direct, signal }`.
   * @param path - a path or a file: URL
   * @param flags - flags as in node:fs: "r", "w+", …, or O_* of `fs.constants`. Default "r".
   * @param mode - permissions of a newly created file, before the umask is applied. Default 0o666.
   * @throws UringError ENOENT, EACCES, EMFILE, … with the path in the message; EINVAL: for example, the file system
   * does not support O_DIRECT
   * @throws TypeError, RangeError: an argument has the wrong type or value
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
  open(
    path: string | URL,
    flags?: string | number,
    mode?: number,
    options?: Omit<OpenOptions, "flags" | "mode">,
  ): Promise<RingFile>;
  open(path: string | URL, options: OpenOptions): Promise<RingFile>;
  async open(
    path: string | URL,
    flagsOrOptions?: OpenOptions | string | number,
    mode?: number,
    options: OpenOptions = noOptions,
  ): Promise<RingFile> {
    const { requests } = this.#core;
    const place = currentPlace();
    const isPositional = !isOpenOptions(flagsOrOptions);
    const opening = openFile(requests, () => {
      const given: OpenOptions = isPositional
        ? readOptions(options, positionalOpenOptions)
        : readOptions(flagsOrOptions, openOptions);
      if (!isPositional && (mode !== undefined || options !== noOptions))
        throw invalidValue("nothing may follow an object of options");
      const { direct = false, signal } = given;
      checkBoolean("options.direct", direct);
      // With `direct`, open also requests the alignment, so it is more than one request.
      if (direct) requests.assertNotInChain("open with `direct`");
      return isPositional
        ? { path, flags: flagsOrOptions, mode, direct, signal }
        : { path, flags: given.flags, mode: given.mode, direct, signal };
    });
    return new RingFile(this, this.#core, await opening, place);
  }

  /**
   * Reads a whole file by its path, like readFile of node:fs/promises, but takes no Buffer or FileHandle as a path, and
   * refuses unknown options. A file of up to 64 KiB takes one chain of
   * requests and no descriptor of the process. A ring reads up to 128 files at a time; further calls wait in order.
   * @param path - a path or a file: URL
   * @param options - an encoding, or an object with `encoding`, `flag` and `signal`
   * @returns a Buffer, or a string if an encoding is given
   * @throws TypeError: an argument has the wrong type or value, or the call is an operation of a chain
   * @throws RangeError ERR_FS_FILE_TOO_LARGE: the content is larger than a Buffer can be, 4 GiB
   * @throws AbortError, with the code ABORT_ERR and the signal's reason as its cause: the signal aborted
   * @throws UringError ENOENT, EACCES, EISDIR, … with the path in the message
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * console.log(await ring.readFile("notes.txt", "utf8"));
   * ```
   * @see io_uring_prep_openat_direct(3)
   */
  readFile(
    path: string | URL,
    options?: "buffer" | (PathReadOptions & { readonly encoding?: "buffer" | null }) | null,
  ): Promise<Buffer>;
  readFile(
    path: string | URL,
    options: BufferEncoding | (PathReadOptions & { readonly encoding: BufferEncoding }),
  ): Promise<string>;
  readFile(
    path: string | URL,
    options?:
      | BufferEncoding
      | "buffer"
      | (PathReadOptions & { readonly encoding?: BufferEncoding | "buffer" | null })
      | null,
  ): Promise<Buffer | string>;
  readFile(
    path: string | URL,
    options?:
      | BufferEncoding
      | "buffer"
      | (PathReadOptions & { readonly encoding?: BufferEncoding | "buffer" | null })
      | null,
  ): Promise<Buffer | string> {
    return this.#core.paths.readFile(path, options);
  }

  /**
   * Writes a whole file by its path, like writeFile of node:fs/promises.
   *
   * As with Bun's own writeFile, an existing file is not truncated first, which would be slow. It is overwritten, and
   * then what is left of a longer old content is cut off. Whoever reads the file meanwhile, or after the process was
   * killed in between, may find the new content followed by old. Where that matters, write a new file, call `fsync`, and
   * `rename` it.
   * @param path - a path or a file: URL
   * @param data - a string, a view, an ArrayBuffer or SharedArrayBuffer, or an iterable or stream of these
   * @param options - an encoding, or an object with `encoding`, `mode`, `flag`, `flush` and `signal`
   * @throws TypeError, RangeError: an argument has the wrong type or value, or the call is an operation of a chain
   * @throws AbortError, with the code ABORT_ERR and the signal's reason as its cause: the signal aborted
   * @throws UringError ENOENT, EACCES, EISDIR, ENOSPC, … with the path in the message
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await ring.writeFile("new.txt", "text\n");
   * ```
   * @see io_uring_prep_openat(3), io_uring_prep_write(3)
   */
  writeFile(
    path: string | URL,
    data: FileData | Iterable<FileData> | AsyncIterable<FileData>,
    options?: BufferEncoding | PathWriteOptions | null,
  ): Promise<void> {
    return writeFileBy(this.#core.paths, path, data, options, "w");
  }

  /**
   * Appends to a file by its path, like appendFile of node:fs/promises. Creates the file if there is none.
   * @param path - a path or a file: URL
   * @param data - as for writeFile
   * @param options - as for writeFile
   * @throws as writeFile
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await ring.appendFile("notes.txt", "four\n");
   * ```
   * @see io_uring_prep_openat(3), io_uring_prep_write(3)
   */
  appendFile(
    path: string | URL,
    data: FileData | Iterable<FileData> | AsyncIterable<FileData>,
    options?: BufferEncoding | PathWriteOptions | null,
  ): Promise<void> {
    return writeFileBy(this.#core.paths, path, data, options, "a");
  }

  /**
   * Reads many whole files by their paths, several at a time. For small files it takes the least processor time: the
   * content of a file of up to 64 KiB stays where the kernel has put it.
   *
   * **`bytes` is good until the next step of the iteration**, which puts other content there. Copy what you keep:
   * `Buffer.from(bytes)`. `Array.fromAsync(ring.readFiles(paths))` keeps memory that changes. It lies in a
   * SharedArrayBuffer: crypto.subtle refuses it, and postMessage and structuredClone share it. A file that cannot be read is yielded with an `error`, and the iteration goes on. Leaving the
   * loop cancels what is being read.
   * @param paths - an iterable or async iterable of paths or file: URLs. An error of the iterable itself ends the
   * iteration, after the files before it.
   * @throws TypeError, RangeError: an argument or an option has the wrong type or value
   * @throws the signal's reason, from the iteration
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * for await (const { path, bytes, error } of ring.readFiles(new Bun.Glob("*.txt").scan()))
   *   console.log(path, error?.message ?? bytes?.length);
   * ```
   * @see io_uring_prep_openat_direct(3)
   */
  readFiles<Path extends string | URL>(
    paths: Iterable<Path> | AsyncIterable<Path>,
    options: ReadFilesOptions = noOptions,
  ): AsyncIterableIterator<ReadFileResult<Path>, undefined> & AsyncDisposable {
    this.#core.requests.assertNotInChain("readFiles");
    this.#core.requests.assertOpen("readFiles");
    return readFilesOf(this, this.#core.paths, paths, options);
  }

  /**
   * Reads into a slot. Resolves to the number of bytes read, which may be fewer than requested, and is 0 at the end of
   * the file.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param buffer - a slot of one of the ring's pools
   * @throws TypeError, RangeError: an argument has the wrong type or value, the range exceeds the slot, or the slot
   * belongs to another pool
   * @throws UringError ESTALE: the slot was released; EXDEV: the file belongs to another ring; EINVAL: often a
   * misaligned O_DIRECT transfer
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
   * Writes from a slot. Resolves to the number of bytes written, which may be fewer than requested. Arguments and
   * errors are those of readFixed.
   * @throws TypeError, RangeError, UringError: as for readFixed; ENOSPC, EDQUOT, EFBIG: no space; EBADF: the file is
   * not open for writing
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
   * Makes an empty batch: requests that are submitted together, with one promise for all of their results.
   * @throws UringError EBADF: the ring is closed
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 64, size: 4096 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("disk.img");
   * const buffers = await Promise.all(Array.from({ length: 64 }, () => pool.acquire()));
   * const batch = ring.batch();
   * for (const [index, buffer] of buffers.entries()) batch.readFixed(file, buffer, index * 8192);
   * for (const [index, result] of (await batch.submit()).entries())
   *   if (result < 0) console.error(batch.errorOf(index));
   * for (const buffer of buffers) buffer.release();
   * ```
   * @see io_uring_submit(3)
   */
  batch(): Batch {
    this.#core.requests.assertOpen("batch");
    return batchOf(this, this.#core);
  }

  /**
   * Keeps `depth` transfers in flight: whenever one completes, `callback` gets its result and starts the next one of
   * its lane. This makes no promise for a transfer and allocates nothing, so it is the fastest way to make many.
   *
   * The callback is called once for each lane at first, with `undefined` as the result. A lane ends when a call starts
   * no transfer; resolves when all lanes have ended. If the callback throws or rejects, and if a transfer fails (see
   * `errors`), the transfers in flight are cancelled and the promise rejects. Their slots and files remain in use until
   * each has completed.
   * @param callback - starts a lane's transfers, and hears their results
   * @param options - how many lanes there are, what errors do, and a signal that ends the pump
   * @throws TypeError, RangeError: an argument, or a lane started two transfers in one call of the callback
   * @throws UringError: the error of a transfer; ECANCELED: the ring was closed; EBADF: the ring is closed
   * @throws the signal's reason; what the callback threw
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 64, size: 4096 });
   * await using ring = new Ring({ pool });
   * await using file = await ring.open("disk.img");
   * const slots = Array.from({ length: 64 }, () => pool.tryAcquire());
   * const blocks = Math.floor((await file.stat()).size / 4096);
   * let left = 1_000_000;
   * await ring.pump((lane) => {
   *   const slot = slots[lane.index];
   *   if (slot && left-- > 0) lane.readFixed(file, slot, 4096 * Math.floor(Math.random() * blocks));
   * });
   * for (const slot of slots) slot?.release();
   * ```
   * @see io_uring_prep_read_fixed(3)
   */
  pump(callback: PumpCallback, options: PumpOptions = noOptions): Promise<void> {
    return pumpOf(this, this.#core, callback, options);
  }

  /**
   * Reads into several slots or parts of slots, in order, with one request. Resolves to the total number of bytes read.
   * Before Linux 6.15, or if the parts do not all lie in one registered buffer, the ring reads into them as into
   * ordinary, unregistered memory.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param parts - 1 to 1024 slots or parts of slots
   * @throws TypeError, RangeError, UringError: as for readFixed
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
  readvFixed(
    file: FileTarget,
    parts: readonly (FixedBuffer | FixedPart)[],
    options: TransferOptions = noOptions,
  ): Promise<number> {
    return this.#transferParts("read", file, parts, options);
  }

  /**
   * Writes from several slots or parts of slots, in order, with one request. Arguments and errors are those of
   * readvFixed. Before Linux 6.15, the ring writes from them as from ordinary, unregistered memory.
   * @throws TypeError, RangeError, UringError: as for readvFixed
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
  writevFixed(
    file: FileTarget,
    parts: readonly (FixedBuffer | FixedPart)[],
    options: TransferOptions = noOptions,
  ): Promise<number> {
    return this.#transferParts("write", file, parts, options);
  }

  /**
   * Reads into memory of any SharedArrayBuffer, except a pool's: for slots, use readFixed, which keeps the slot until
   * the kernel is done with it. Resolves to the number of bytes read, which may be fewer than requested, and is 0 at
   * the end of the file. The ring splits a read of more than 2 GiB into several requests, one after the other.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param bytes - memory to read into
   * @throws TypeError: the memory is not that of a SharedArrayBuffer, so it could move or be freed while the kernel
   * writes to it; or it belongs to a pool
   * @throws RangeError: an option has a wrong value
   * @throws UringError EXDEV: the file belongs to another ring; EISDIR: it is a directory; EINVAL: often a misaligned
   * O_DIRECT transfer
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
   * Writes from memory of any SharedArrayBuffer, except a pool's. Resolves to the number of bytes written, which may be
   * fewer than requested. Arguments and errors are those of read.
   * @throws TypeError, RangeError, UringError: as for read; ENOSPC, EDQUOT, EFBIG: no space; EBADF: the file is not
   * open for writing
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
   * Reads into several pieces of memory, in order, with one request. Resolves to the total number of bytes read.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param buffers - 1 to 1024 Uint8Arrays of any SharedArrayBuffers
   * @throws TypeError, RangeError, UringError: as for read
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
    return this.#runTransfer(
      (position) => operations.vectoredTransfer("read", targetOf(file, this, "readv"), buffers, position),
      options,
    );
  }

  /**
   * Writes from several pieces of memory, in order, with one request. Arguments and errors are those of readv.
   * @throws TypeError, RangeError, UringError: as for write
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
    return this.#runTransfer(
      (position) => operations.vectoredTransfer("write", targetOf(file, this, "writev"), buffers, position),
      options,
    );
  }

  /**
   * Writes the file's content and metadata back, and resolves when they are on stable storage.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @throws TypeError: an argument has the wrong type
   * @throws UringError EIO, ENOSPC, EDQUOT: not everything could be written back; EINVAL: the file has no storage, for
   * example a pipe
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
    return this.#run(() => operations.sync("fsync", targetOf(file, this, "fsync")), options);
  }

  /**
   * Writes the file's content back, with the metadata needed to read it, and resolves when they are on stable storage.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @throws TypeError, UringError: as for fsync
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
    return this.#run(() => operations.sync("fdatasync", targetOf(file, this, "fdatasync")), options);
  }

  /**
   * Returns a file's metadata.
   * @param file - a RingFile opened by this ring, a descriptor, or a path or a file: URL
   * @param options.mask - STATX_*: the fields to return. Default STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN.
   * @param options.flags - AT_*: with 0x100 (AT_SYMLINK_NOFOLLOW), a symbolic link is not followed. Default 0.
   * @throws UringError ENOENT, EACCES, … with the path in the message
   * @throws TypeError, RangeError: an argument or an option has the wrong type or value
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
  statx(
    file: FileTarget | string | URL,
    options: OperationOptions & { readonly mask?: number; readonly flags?: number } = noOptions,
  ): Promise<Statx> {
    return this.#run(
      (given) =>
        operations.statx(
          typeof file === "string" || isUrl(file) ? file : targetOf(file, this, "statx"),
          given.mask ?? STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN,
          given.flags ?? 0,
        ),
      options,
      ["mask", "flags", "signal"],
    );
  }

  /**
   * Truncates a file to a length, or extends it with zeros. Since Linux 6.9.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param length - length in bytes
   * @throws UringError EOPNOTSUPP: the kernel is older
   * @throws TypeError, RangeError: an argument has the wrong type or value
   * @throws UringError EINVAL: the file is not open for writing, or is not a regular file
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
    return this.#run(() => operations.ftruncate(targetOf(file, this, "ftruncate"), length), options);
  }

  /**
   * Allocates space for a file. With a mode, it punches holes, or zeroes, inserts or collapses ranges.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param length - length in bytes
   * @param options.position - start of the range, in bytes. Default 0.
   * @param options.mode - FALLOC_FL_*. Default 0.
   * @throws TypeError, RangeError: an argument or an option has the wrong type or value
   * @throws UringError EOPNOTSUPP: the file system does not support the mode; ENOSPC: no space; EBADF: the file is not
   * open for writing; ESPIPE: it is a pipe
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
    return this.#run(
      (given) => operations.fallocate(targetOf(file, this, "fallocate"), given.mode ?? 0, given.position ?? 0, length),
      options,
      ["position", "mode", "signal"],
    );
  }

  /**
   * Advises the kernel how the program will read a file.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param advice - "normal", "random", "sequential", "willneed", "dontneed" or "noreuse"
   * @param options.position - start of the range, in bytes. Default 0.
   * @param options.length - length of the range, in bytes, less than 4 GiB; 0 means up to the end of the file.
   * Default 0.
   * @throws TypeError, RangeError: an argument or an option has the wrong type or value
   * @throws UringError ESPIPE: the file is a pipe
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
    return this.#run(
      (given) => operations.fadvise(targetOf(file, this, "fadvise"), advice, given.position ?? 0, given.length ?? 0),
      options,
      ["position", "length", "signal"],
    );
  }

  /**
   * Removes a file's name or, with the flag 0x200 (AT_REMOVEDIR), an empty directory.
   * @param path - a path or a file: URL
   * @param options.flags - AT_REMOVEDIR (0x200), or 0. Default 0.
   * @throws TypeError, RangeError: an argument or an option has the wrong type or value
   * @throws UringError ENOENT, EACCES, EISDIR: the path is a directory and the flag is not set, ENOTEMPTY, … with the
   * path in the message
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
   * Renames a file. Replaces an existing file of that name.
   * @param from - a path or a file: URL
   * @param to - a path or a file: URL, on the same file system
   * @param options.flags - RENAME_*: with 1 (RENAME_NOREPLACE), an existing file fails the call with EEXIST; 2
   * (RENAME_EXCHANGE) swaps the two files. Default 0.
   * @throws TypeError, RangeError: an argument or an option has the wrong type or value
   * @throws UringError ENOENT, EACCES, EXDEV: the paths are on different file systems, EEXIST: with RENAME_NOREPLACE,
   * the file exists, … with both paths in the message
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await ring.rename("notes.txt", "notes.old.txt", { flags: 1 }); // replaces nothing
   * ```
   * @see io_uring_prep_rename(3), renameat2(2)
   */
  rename(
    from: string | URL,
    to: string | URL,
    options: OperationOptions & { readonly flags?: number } = noOptions,
  ): Promise<void> {
    return this.#run((given) => operations.rename(from, to, given.flags ?? 0), options, ["flags", "signal"]);
  }

  /**
   * Creates a directory.
   * @param path - a path or a file: URL
   * @param mode - permissions, before the umask is applied. Default 0o777.
   * @throws TypeError, RangeError: an argument has the wrong type or value
   * @throws UringError EEXIST, ENOENT: the parent does not exist, EACCES, … with the path in the message
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
   * Moves bytes between a pipe and a file or another pipe, without copying them through the process's memory. Resolves
   * to the number of bytes moved.
   * @param from - a RingFile opened by this ring, or a descriptor
   * @param to - a RingFile opened by this ring, or a descriptor
   * @param length - maximum number of bytes
   * @param options.fromPosition - position in the source file, in bytes. Default: its own position.
   * @param options.toPosition - position in the destination file, in bytes. Default: its own position.
   * @param options.flags - SPLICE_F_*. Default 0.
   * @throws UringError EINVAL: neither end is a pipe; ESPIPE: a position was given for a pipe
   * @throws TypeError, RangeError: an argument or an option has the wrong type or value
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
    options: OperationOptions & {
      readonly fromPosition?: number | bigint;
      readonly toPosition?: number | bigint;
      readonly flags?: number;
    } = noOptions,
  ): Promise<number> {
    return this.#run(
      (given) =>
        operations.splice(
          targetOf(from, this, "splice"),
          targetOf(to, this, "splice"),
          length,
          given.fromPosition,
          given.toPosition,
          given.flags ?? 0,
        ),
      options,
      ["fromPosition", "toPosition", "flags", "signal"],
    );
  }

  /**
   * Waits until a file is ready. Resolves to the events that it is ready for.
   * @param file - a RingFile opened by this ring, or a descriptor
   * @param events - events to wait for: POLLIN (1), POLLOUT (4), …; POLLERR (8) and POLLHUP (16) are always included
   * @throws TypeError, RangeError: an argument has the wrong type or value
   * @throws UringError EBADF: the descriptor is not open
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
    return this.#run(() => operations.poll(targetOf(file, this, "poll"), events), options);
  }

  /**
   * Resolves after a delay, measured by the kernel's monotonic clock.
   * @param timeoutMs - delay in milliseconds; may have a fraction, down to a nanosecond
   * @throws TypeError, RangeError: the delay is not a number from 0 to 2^53 - 1
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
   * Does nothing, but makes a round trip through the kernel.
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
   * Starts several operations as a chain, submitted together: the kernel starts each operation when the previous one
   * has succeeded. Returns their promises, in order. If an operation fails, or reads or writes fewer bytes than
   * requested, the kernel does not run the rest: those promises reject with ECANCELED, with the first failure as their
   * cause. If the signal of an operation aborts before its turn, the operation and all that follow it are cancelled
   * when its turn comes, unless the kernel has completed it by then. An error that the kernel finds at submission, such
   * as a path that is too long, fails the whole chain.
   * @param operations - functions that each start one operation of this ring: `() => ring.write(…)`. At most as many as
   * the ring has entries.
   * @throws TypeError, RangeError, UringError: one of the operations is refused, or a function does not start exactly
   * one request; none of the chain's requests is started then
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
    const starts: readonly (() => Promise<unknown>)[] = Array.from(operations); // one of them may change the array
    for (const [index, operation] of starts.entries())
      if (typeof operation !== "function")
        throw invalidType(`operations[${index}]`, "a function that starts an operation", operation);
    return this.#core.requests.startChain(starts) as {
      -readonly [Index in keyof Operations]: ReturnType<Operations[Index]>;
    };
  }

  /**
   * Returns the state of the ring: operations in flight, and counters.
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
   * Makes operations in flight keep the process alive, which is the default.
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
   * Lets the process end while operations are in flight. The operations continue as long as something else keeps the
   * process alive, but then complete some milliseconds late. Bun cannot be woken by anything that does not also keep
   * the process alive, so the ring polls for completions instead: first after one millisecond, then at growing
   * intervals of up to 16 ms.
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
   * Closes the ring: refuses new operations, cancels those in flight, waits until the kernel is done with all of them,
   * and closes the files that the ring opened. After the promise has resolved, the kernel writes to no buffer any more.
   * If a request cannot be cancelled, close waits for it as long as it takes, and warns after 5 seconds. Further calls
   * return the same promise.
   * @throws UringError: the kernel did not finish the requests, so the ring's memory stays allocated; or closing one of
   * the files failed
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

  /** Calls close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #transferFixed(
    direction: "read" | "write",
    file: FileTarget,
    buffer: FixedBuffer,
    options: FixedWriteOptions,
  ): Promise<number> {
    let target: operations.Target;
    try {
      target = targetOf(file, this, fixedSyscalls[direction]);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#core.transferFixed(direction, target, buffer, options);
  }

  /**
   * Starts an operation. Invalid arguments and options reject its promise. Each option is read only once, because a
   * getter may return different values.
   */
  #run<Result, Options extends OperationOptions>(
    prepare: (options: Options) => Request<Result>,
    options: Options,
    known: readonly string[] = signalOnly,
  ): Promise<Result> {
    return this.#core.requests.run(() => {
      if (options === noOptions) return prepare(options);
      checkOptions(options, known);
      const { signal } = options;
      return { ...prepare(options), signal };
    });
  }

  #transferBytes(
    direction: "read" | "write",
    file: FileTarget,
    bytes: Uint8Array,
    options: TransferOptions,
  ): Promise<number> {
    if (isBytes(bytes) && byteLengthOf(bytes) > largestTransferBytes)
      return this.#transferLong(direction, file, bytes, options);
    return this.#runTransfer(
      (position) => operations.transfer(direction, targetOf(file, this, direction), bytes, position),
      options,
    );
  }

  /** Starts a read or write that has no slot, or several. */
  #runTransfer(
    prepare: (position: number | bigint | undefined) => Request<number>,
    options: TransferOptions,
  ): Promise<number> {
    return this.#run(
      ({ position, dontCache }) => ({ ...prepare(position), opFlags: cacheFlag(dontCache) }),
      options,
      transferOptions,
    );
  }

  /**
   * Transfers by one request after the other, until one is short. An error after the first request ends the transfer
   * like a short one: the caller gets the number of bytes transferred so far.
   */
  async #transferLong(
    direction: "read" | "write",
    file: FileTarget,
    bytes: Uint8Array,
    options: TransferOptions,
  ): Promise<number> {
    this.#core.requests.assertNotInChain(direction);
    const { position, dontCache, signal } = readOptions(options, transferOptions);
    const opFlags = cacheFlag(dontCache);
    if (position !== undefined) checkPosition("options.position", position, 0);
    const target = targetOf(file, this, direction);
    const all = bytesOfView(bytes);
    const use = typeof target === "number" ? undefined : target;
    // Marks the file as in use for the whole transfer. Closing the file waits for the transfer, and refuses only
    // operations that start later.
    use?.beginUse();
    try {
      let done = 0;
      while (done < all.length) {
        const part = all.subarray(done, done + largestTransferBytes);
        const from = position === undefined ? undefined : BigInt(position) + BigInt(done);
        try {
          const transferred = await this.#core.requests.run(
            () => ({ ...operations.transfer(direction, target, part, from), opFlags }),
            signal,
          );
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

  #transferParts(
    direction: "read" | "write",
    file: FileTarget,
    parts: readonly (FixedBuffer | FixedPart)[],
    options: TransferOptions,
  ): Promise<number> {
    return this.#runTransfer((position) => {
      const syscall = `${direction}v_fixed`;
      operations.checkVector(parts);
      const target = targetOf(file, this, syscall);
      const ranges = Array.from(parts, (part, index) => {
        if (typeof part !== "object" || part === null)
          throw invalidType(`parts[${index}]`, "a FixedBuffer, or an object with one as `buffer`", part);
        const { buffer, offset = 0, length } = part instanceof FixedBuffer ? { buffer: part, length: undefined } : part;
        const name = `parts[${index}]`;
        return this.#core.rangeOf(buffer, offset, length, syscall, {
          buffer: `${name}.buffer`,
          offset: `${name}.offset`,
          length: `${name}.length`,
        });
      });
      const uses = ranges.map(({ slot }) => slot);
      // The kernel refuses empty parts of registered buffers.
      const filled = ranges.filter(({ length }) => length > 0);
      const [{ bufferIndex } = { bufferIndex: 0 }] = filled;
      const isOne = filled.length > 0 && filled.every((range) => range.bufferIndex === bufferIndex);
      const bytes = filled.reduce((sum, { length }) => sum + length, 0);
      const request =
        isOne && bytes <= largestTransferBytes && kernel().opcodes.has(IORING_OP_READV_FIXED)
          ? operations.vectoredTransferOf(direction, target, filled, position, bufferIndex)
          : operations.vectoredTransferOf(direction, target, ranges, position);
      return { ...request, uses };
    }, options);
  }

  static {
    mark("Ring", Ring.prototype);
    coreOf = (ring) => ring.#core;
  }
}
