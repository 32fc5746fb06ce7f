import { checkInteger, checkOptions, checkPosition, checkSignal, invalidType, invalidValue, outOfRange } from "./arguments.ts";
import { UringError } from "./errors.ts";
import { descriptorOf, RingFile, usesOf } from "./file.ts";
import { FixedBuffer, slotOf } from "./fixed-buffer.ts";
import { kernel } from "./kernel.ts";
import * as operations from "./operations.ts";
import { BufferPool, membershipOf } from "./pool.ts";
import type { PoolMembership } from "./pool-membership.ts";
import { registerRegions } from "./raw-ring.ts";
import { bareRequest, type Prepared, RequestQueue, requestKind, type Usable } from "./request-queue.ts";
import { STATX_BASIC_STATS, STATX_BTIME, STATX_DIOALIGN, type Statx } from "./statx.ts";
import {
  IORING_OP_READ_FIXED,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITE_FIXED,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_HYBRID_IOPOLL,
  IORING_SETUP_IOPOLL,
  IORING_SETUP_SINGLE_ISSUER,
} from "./uapi.ts";

/** Options of `new Ring()`. */
export interface RingOptions {
  /** Submission queue entries, 1 to 32768: how many operations travel in one system call. Default 256. */
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

/** Options of every operation. */
export interface OperationOptions {
  /** Rejects the promise with its reason when aborted; what the operation uses stays its own until the kernel is done with it. */
  readonly signal?: AbortSignal;
}

/** Options of reads and writes. */
export interface TransferOptions extends OperationOptions {
  /**
   * In the file, in bytes. Omitted: the file's own position, which the kernel takes when the request runs and moves on when it completes: wait for one before
   * the next, or they may overlap.
   */
  readonly position?: number | bigint;
}

/** A part of a slot. */
export interface FixedPart {
  readonly buffer: FixedBuffer;
  /** In the slot, in bytes. Default 0. */
  readonly offset?: number;
  /** In bytes. Default: to the slot's end. */
  readonly length?: number;
}

/** Options of `Ring.readFixed` and `Ring.writeFixed`. */
export interface FixedTransferOptions extends TransferOptions {
  /** In the slot, in bytes. Default 0. */
  readonly offset?: number;
  /** In bytes. Default: to the slot's end. */
  readonly length?: number;
}

const noOptions = {};
const signalOnly = ["signal"];
const transferOptions = ["position", "signal"];

/** A ring's pools, each with where its buffers begin in the ring's table. */
type JoinedPools = readonly { readonly membership: PoolMembership; readonly base: number }[];

function poolsOf(pool: unknown): PoolMembership[] {
  const pools: readonly unknown[] = pool === undefined ? [] : Array.isArray(pool) ? pool : [pool];
  const memberships = pools.map((one) => {
    if (!(one instanceof BufferPool)) throw invalidType("options.pool", "a BufferPool, or an array of them", one);
    return membershipOf(one);
  });
  if (new Set(memberships.map(({ control }) => control.address)).size !== memberships.length) throw invalidValue("options.pool has the same pool twice");
  return memberships;
}

/** Clones the pools to the ring, side by side; where the kernel cannot, registers their memory on it. */
function join(requests: RequestQueue, memberships: readonly PoolMembership[]): { pools: JoinedPools; cloned: boolean; tookNs: number } {
  const pools: { membership: PoolMembership; base: number }[] = [];
  const cloned = memberships.every(({ control }) => (memberships.length === 1 ? control.clones.whole : control.clones.ranges));
  let base = 0;
  let tookNs = 0;
  try {
    for (const membership of memberships) {
      if (cloned) tookNs += membership.cloneTo(requests.raw, base);
      else membership.joinRing();
      pools.push({ membership, base });
      base += membership.extents.length;
    }
    if (!cloned)
      tookNs = registerRegions(
        requests.raw,
        memberships.flatMap(({ extents }) => extents),
      );
  } catch (error) {
    for (const { membership } of pools) membership.leaveRing();
    throw error;
  }
  return { pools, cloned, tookNs };
}

/**
 * An io_uring on Bun's event loop: operations are promises, those of one tick travel in one system call, and the process lives exactly as long as one is
 * in flight. For the thread that made it.
 *
 * What fails rejects with a UringError: EBADF where the ring is closed, otherwise the errno of the request. A wrong argument rejects with a TypeError or a
 * RangeError, an abort with the signal's reason.
 *
 * Where a descriptor is given as a number, keep it open until the operation's completion, which after an abort comes later than its promise's rejection: the
 * kernel may look it up only then. A RingFile does so itself. Opening FIFOs that have no other end occupies the kernel's workers, of which a thread has eight
 * or so: open those with O_NONBLOCK.
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
  /** How the kernel gave the ring its pools: a clone of their registration, or, before Linux 6.12 (6.13 for several pools), one of its own. */
  readonly bufferSource: "cloned" | "registered" | undefined;
  /** Milliseconds that the kernel's call for it took. */
  readonly bufferJoinMs: number;
  readonly #requests: RequestQueue;
  readonly #pools: JoinedPools;
  #closing: Promise<void> | undefined;

  /**
   * Sets up a ring and gives it the pools' buffers.
   * @throws TypeError, RangeError: an option's type or value
   * @throws UringError EBADF: a pool is closed; ENOMEM: over the memlock limit, where the kernel cannot clone; and the errors of `new RawRing()`
   */
  constructor(options: RingOptions = {}) {
    checkOptions(options, ["entries", "cqEntries", "pool", "flags"]);
    const { entries = 256, pool, flags = 0 } = options;
    checkInteger("options.entries", entries, 1, 32768);
    const { cqEntries = Math.max(4096, 2 * entries) } = options;
    checkInteger("options.flags", flags, 0, 2 ** 32 - 1);
    if ((flags & (IORING_SETUP_IOPOLL | IORING_SETUP_HYBRID_IOPOLL)) !== 0)
      throw outOfRange("options.flags", "without IORING_SETUP_IOPOLL, whose completions wake nobody: that is for RawRing", flags);
    const memberships = poolsOf(pool);
    this.#requests = new RequestQueue({ entries, cqEntries, flags: (flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) >>> 0 });
    try {
      const { pools, cloned, tookNs } = join(this.#requests, memberships);
      this.bufferJoinMs = tookNs / 1e6;
      this.bufferSource = pools.length === 0 ? undefined : cloned ? "cloned" : "registered";
      this.#pools = pools;
    } catch (error) {
      // Nothing is in flight: whatever closing could report matters less than this.
      this.#requests.close().catch(() => undefined);
      throw error;
    }
  }

  /** Operations started and not completed. */
  get inFlight(): number {
    return this.#requests.inFlight;
  }

  /** Whether close() was called. */
  get closed(): boolean {
    return this.#requests.closed;
  }

  /**
   * Opens a file, close-on-exec.
   * @param path - a path, or a file: URL
   * @param flags - as node:fs has them: "r", "w+", …, or O_* of `fs.constants`. Default "r".
   * @param mode - permissions of a file that is created, less the umask. Default 0o666.
   * @throws UringError ENOENT, EACCES, EMFILE, … with the path in the message
   * @see io_uring_prep_openat(3)
   */
  async open(path: string | URL, flags: string | number = "r", mode = 0o666): Promise<RingFile> {
    const { fd, fileEntry } = await this.#run(() => operations.open(path, flags, mode), noOptions);
    return new RingFile(this.#requests, fd, fileEntry);
  }

  /**
   * Reads into a slot. Resolves to the number of bytes read, which may be fewer than asked for, and is 0 at the file's end.
   * @param file - opened by this ring, or a descriptor
   * @param buffer - a slot of one of the ring's pools
   * @throws TypeError, RangeError: an argument's type or value, a range outside the slot, a slot of another pool
   * @throws UringError ESTALE: the slot was released; EXDEV: a file of another ring; EINVAL: often a misaligned O_DIRECT transfer
   * @see io_uring_prep_read_fixed(3)
   */
  readFixed(file: number | RingFile, buffer: FixedBuffer, options: FixedTransferOptions = noOptions): Promise<number> {
    return this.#transfer(IORING_OP_READ_FIXED, "read_fixed", file, buffer, options);
  }

  /**
   * Writes from a slot. Resolves to the number of bytes written, which may be fewer than asked for. Arguments and errors are those of readFixed.
   * @see io_uring_prep_write_fixed(3)
   */
  writeFixed(file: number | RingFile, buffer: FixedBuffer, options: FixedTransferOptions = noOptions): Promise<number> {
    return this.#transfer(IORING_OP_WRITE_FIXED, "write_fixed", file, buffer, options);
  }

  /**
   * Reads into several slots, or parts of slots, one after the other, as one request. Resolves to the number of bytes read in all. Where the parts do not lie in one
   * registered buffer, or the kernel has no such request (before Linux 6.15), they are read as memory like any other.
   * @param parts - 1 to 1024
   * @throws TypeError, RangeError, UringError: as readFixed
   * @see io_uring_prep_readv_fixed(3)
   */
  readvFixed(file: number | RingFile, parts: readonly (FixedBuffer | FixedPart)[], options: TransferOptions = noOptions): Promise<number> {
    return this.#transferParts("read", file, parts, options);
  }

  /**
   * Writes from several slots, or parts of slots. Arguments and errors are those of readvFixed.
   * @see io_uring_prep_writev_fixed(3)
   */
  writevFixed(file: number | RingFile, parts: readonly (FixedBuffer | FixedPart)[], options: TransferOptions = noOptions): Promise<number> {
    return this.#transferParts("write", file, parts, options);
  }

  /**
   * Reads into memory of any SharedArrayBuffer that is not a pool's: slots have readFixed, which keeps them until the kernel is done. Resolves to the number of bytes read, which may be fewer than asked for, and is 0 at the
   * file's end. More than 2 GiB are read by several requests, one after the other.
   * @throws TypeError: memory other than a SharedArrayBuffer's, which could move or go while the kernel writes it
   * @see io_uring_prep_read(3)
   */
  read(file: number | RingFile, bytes: Uint8Array, options: TransferOptions = noOptions): Promise<number> {
    return this.#transferBytes("read", file, bytes, options);
  }

  /**
   * Writes from memory of any SharedArrayBuffer. Resolves to the number of bytes written, which may be fewer than asked for. Arguments and errors are those of read.
   * @see io_uring_prep_write(3)
   */
  write(file: number | RingFile, bytes: Uint8Array, options: TransferOptions = noOptions): Promise<number> {
    return this.#transferBytes("write", file, bytes, options);
  }

  /**
   * Reads into several pieces of memory, one after the other, as one request. Resolves to the number of bytes read in all.
   * @param buffers - 1 to 1024, of any SharedArrayBuffers
   * @see io_uring_prep_readv(3)
   */
  readv(file: number | RingFile, buffers: readonly Uint8Array[], options: TransferOptions = noOptions): Promise<number> {
    return this.#run((uses) => operations.vectoredTransfer("read", this.#descriptor(file, "readv", uses), buffers, options.position), options, transferOptions);
  }

  /**
   * Writes several pieces of memory. Arguments and errors are those of readv.
   * @see io_uring_prep_writev(3)
   */
  writev(file: number | RingFile, buffers: readonly Uint8Array[], options: TransferOptions = noOptions): Promise<number> {
    return this.#run(
      (uses) => operations.vectoredTransfer("write", this.#descriptor(file, "writev", uses), buffers, options.position),
      options,
      transferOptions,
    );
  }

  /**
   * Resolves when the file's content and metadata are on stable storage.
   * @see io_uring_prep_fsync(3), fsync(2)
   */
  fsync(file: number | RingFile, options: OperationOptions = noOptions): Promise<void> {
    return this.#run((uses) => operations.sync("fsync", this.#descriptor(file, "fsync", uses)), options);
  }

  /**
   * Resolves when the file's content, and the metadata needed to read it back, are on stable storage.
   * @see io_uring_prep_fsync(3), fdatasync(2)
   */
  fdatasync(file: number | RingFile, options: OperationOptions = noOptions): Promise<void> {
    return this.#run((uses) => operations.sync("fdatasync", this.#descriptor(file, "fdatasync", uses)), options);
  }

  /**
   * A file's metadata.
   * @param file - opened by this ring, a descriptor, or a path
   * @param options.mask - STATX_*: what is wanted. Default STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN.
   * @param options.flags - AT_*: 0x100 (AT_SYMLINK_NOFOLLOW) is about a link itself. Default 0.
   * @throws UringError ENOENT, EACCES, … with the path in the message
   * @see io_uring_prep_statx(3), statx(2)
   */
  statx(file: number | RingFile | string | URL, options: OperationOptions & { readonly mask?: number; readonly flags?: number } = noOptions): Promise<Statx> {
    return this.#run(
      (uses) =>
        operations.statx(
          typeof file === "string" || file instanceof URL ? file : this.#descriptor(file, "statx", uses),
          options.mask ?? STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN,
          options.flags ?? 0,
        ),
      options,
      ["mask", "flags", "signal"],
    );
  }

  /**
   * Cuts a file off, or lengthens it with zeros. Since Linux 6.9.
   * @param length - in bytes
   * @throws UringError EOPNOTSUPP: an older kernel
   * @see io_uring_prep_ftruncate(3)
   */
  ftruncate(file: number | RingFile, length: number | bigint, options: OperationOptions = noOptions): Promise<void> {
    return this.#run((uses) => operations.ftruncate(this.#descriptor(file, "ftruncate", uses), length), options);
  }

  /**
   * Allocates a file's space, or with a mode punches holes, zeroes, inserts or collapses ranges.
   * @param length - in bytes
   * @param options.position - where it begins, in bytes. Default 0.
   * @param options.mode - FALLOC_FL_*. Default 0.
   * @see io_uring_prep_fallocate(3), fallocate(2)
   */
  fallocate(
    file: number | RingFile,
    length: number,
    options: OperationOptions & { readonly position?: number | bigint; readonly mode?: number } = noOptions,
  ): Promise<void> {
    return this.#run((uses) => operations.fallocate(this.#descriptor(file, "fallocate", uses), options.mode ?? 0, options.position ?? 0, length), options, [
      "position",
      "mode",
      "signal",
    ]);
  }

  /**
   * Tells the kernel how a file will be read.
   * @param options.position - where that begins, in bytes. Default 0.
   * @param options.length - how far it goes, in bytes, less than 4 GiB; 0: to the file's end. Default 0.
   * @see io_uring_prep_fadvise(3), posix_fadvise(2)
   */
  fadvise(
    file: number | RingFile,
    advice: operations.Advice,
    options: OperationOptions & { readonly position?: number | bigint; readonly length?: number } = noOptions,
  ): Promise<void> {
    return this.#run((uses) => operations.fadvise(this.#descriptor(file, "fadvise", uses), advice, options.position ?? 0, options.length ?? 0), options, [
      "position",
      "length",
      "signal",
    ]);
  }

  /**
   * Removes a file's name; with the flag 0x200 (AT_REMOVEDIR) an empty folder.
   * @see io_uring_prep_unlink(3), unlinkat(2)
   */
  unlink(path: string | URL, options: OperationOptions & { readonly flags?: number } = noOptions): Promise<void> {
    return this.#run(() => operations.unlink(path, options.flags ?? 0), options, ["flags", "signal"]);
  }

  /**
   * Renames a file, replacing what has the name.
   * @param options.flags - RENAME_*: 1 (RENAME_NOREPLACE) fails with EEXIST instead, 2 (RENAME_EXCHANGE) swaps the two. Default 0.
   * @see io_uring_prep_rename(3), renameat2(2)
   */
  rename(from: string | URL, to: string | URL, options: OperationOptions & { readonly flags?: number } = noOptions): Promise<void> {
    return this.#run(() => operations.rename(from, to, options.flags ?? 0), options, ["flags", "signal"]);
  }

  /**
   * Makes a folder.
   * @param mode - its permissions, less the umask. Default 0o777.
   * @see io_uring_prep_mkdir(3)
   */
  mkdir(path: string | URL, mode = 0o777, options: OperationOptions = noOptions): Promise<void> {
    return this.#run(() => operations.mkdir(path, mode), options);
  }

  /**
   * Moves bytes between a pipe and a file or another pipe, without their passing through memory of the process. Resolves to how many.
   * @param length - at most, in bytes
   * @param options.fromPosition - in a file that is read from. Default: its own position.
   * @param options.toPosition - in a file that is written to. Default: its own position.
   * @param options.flags - SPLICE_F_*. Default 0.
   * @throws UringError EINVAL: neither end is a pipe; ESPIPE: a position was given for one
   * @see io_uring_prep_splice(3), splice(2)
   */
  splice(
    from: number | RingFile,
    to: number | RingFile,
    length: number,
    options: OperationOptions & { readonly fromPosition?: number; readonly toPosition?: number | bigint; readonly flags?: number } = noOptions,
  ): Promise<number> {
    return this.#run(
      (uses) =>
        operations.splice(
          this.#descriptor(from, "splice", uses),
          this.#descriptor(to, "splice", uses),
          length,
          options.fromPosition,
          options.toPosition,
          options.flags ?? 0,
        ),
      options,
      ["fromPosition", "toPosition", "flags", "signal"],
    );
  }

  /**
   * Waits until a descriptor is ready. Resolves to the events that it is ready for.
   * @param events - POLLIN (1), POLLOUT (4), …: what is waited for; POLLERR (8) and POLLHUP (16) always are
   * @see io_uring_prep_poll_add(3), poll(2)
   */
  poll(file: number | RingFile, events: number, options: OperationOptions = noOptions): Promise<number> {
    return this.#run((uses) => operations.poll(this.#descriptor(file, "poll", uses), events), options);
  }

  /**
   * Resolves after a time, by the kernel's monotonic clock.
   * @param timeoutMs - milliseconds, with fractions down to a nanosecond
   * @see io_uring_prep_timeout(3)
   */
  timeout(timeoutMs: number, options: OperationOptions = noOptions): Promise<void> {
    return this.#run(() => operations.timeout(timeoutMs), options);
  }

  /**
   * Does nothing, by way of the kernel.
   * @see io_uring_prep_nop(3)
   */
  nop(options: OperationOptions = noOptions): Promise<void> {
    return this.#run(operations.nop, options);
  }

  /**
   * Closes the ring: refuses new work, cancels what is in flight, waits until the kernel is done with all of it, closes the files opened here. Nothing is written to
   * a buffer after it has resolved. It waits for a request that cannot be cancelled as long as that takes, with a warning after 5 seconds. Again: the same promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.#requests.close().finally(() => {
      // A ring that the kernel would not finish keeps its pools.
      if (this.#requests.gone) for (const { membership } of this.#pools) membership.leaveRing();
    });
    return this.#closing;
  }

  /** close() */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #transfer(opcode: number, syscall: string, file: number | RingFile, buffer: FixedBuffer, options: FixedTransferOptions): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    try {
      if (options !== noOptions) checkOptions(options, ["position", "offset", "length", "signal"]);
      const fd = this.#descriptor(file, syscall);
      if (!(buffer instanceof FixedBuffer)) throw invalidType("buffer", "a FixedBuffer", buffer);
      const slot = slotOf(buffer);
      slot.assertHeld(syscall);
      const size = slot.membership.control.plan.sizeBytes;
      const { position = -1, offset = 0, signal } = options;
      if (options.position !== undefined) checkPosition("options.position", position, 0);
      checkInteger("options.offset", offset, 0, size);
      const { length = size - offset } = options;
      checkInteger("options.length", length, 0, size - offset);
      if (signal !== undefined) checkSignal(signal);
      this.#requests.start(
        {
          opcode,
          sqeFlags: 0,
          syscall,
          fd,
          position,
          address: slot.address + offset,
          length,
          operationFlags: 0,
          bufferIndex: this.#baseOf(slot.membership) + slot.membership.extentOf(slot.index),
          kind: requestKind.plain,
          slot,
          uses: file instanceof RingFile ? usesOf(file) : bareRequest.uses,
          spliceFd: 0,
          expectedErrno: 0,
          memory: undefined,
          path: undefined,
          destination: undefined,
          fileEntry: -1,
          succeed: resolve,
          fail: reject,
        },
        signal,
      );
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /** Starts an operation; whatever is wrong with it, or with its options, rejects. */
  #run<Result>(
    prepare: (uses: Usable[]) => Prepared<Result>,
    options: OperationOptions,
    known: readonly string[] = signalOnly,
    signal = options?.signal,
  ): Promise<Result> {
    return this.#requests.run((uses) => {
      if (options !== noOptions) checkOptions(options, known);
      return prepare(uses);
    }, signal);
  }

  #transferBytes(direction: "read" | "write", file: number | RingFile, bytes: Uint8Array, options: TransferOptions): Promise<number> {
    if (bytes?.length > operations.largestTransferBytes) return this.#transferLong(direction, file, bytes, options);
    return this.#run((uses) => operations.transfer(direction, this.#descriptor(file, direction, uses), bytes, options.position), options, transferOptions);
  }

  /** One request after the other, until one is short; an error after the first ends it as a short one does. */
  async #transferLong(direction: "read" | "write", file: number | RingFile, bytes: Uint8Array, options: TransferOptions): Promise<number> {
    checkOptions(options, transferOptions);
    const { position, signal } = options;
    if (position !== undefined) checkPosition("options.position", position, 0);
    const uses = file instanceof RingFile ? usesOf(file) : [];
    for (const use of uses) use.beginUse();
    try {
      // Open from here to the end: closing waits for it, and refuses only what begins later.
      const fd = this.#descriptor(file, direction);
      let done = 0;
      while (done < bytes.length) {
        const part = bytes.subarray(done, done + operations.largestTransferBytes);
        const from = position === undefined ? undefined : BigInt(position) + BigInt(done);
        try {
          const transferred = await this.#requests.run(() => operations.transfer(direction, fd, part, from), signal);
          done += transferred;
          if (transferred < part.length) break;
        } catch (error) {
          if (done === 0 || !(error instanceof UringError)) throw error;
          break;
        }
      }
      return done;
    } finally {
      for (const use of uses) use.endUse();
    }
  }

  #transferParts(direction: "read" | "write", file: number | RingFile, parts: readonly (FixedBuffer | FixedPart)[], options: TransferOptions): Promise<number> {
    return this.#run(
      (uses) => {
        const syscall = `${direction}v_fixed`;
        operations.checkVector(parts);
        const fd = this.#descriptor(file, syscall, uses);
        const ranges = Array.from(parts, (part, index) => {
          if (typeof part !== "object" || part === null) throw invalidType(`parts[${index}]`, "a FixedBuffer, or an object with one as `buffer`", part);
          const { buffer, offset = 0, length } = part instanceof FixedBuffer ? { buffer: part, length: undefined } : part;
          const range = this.#rangeOf(buffer, offset, length, syscall, `parts[${index}]`);
          uses.push(range.slot);
          return range;
        });
        const filled = ranges.filter(({ length }) => length > 0); // the kernel refuses empty parts of registered buffers
        const [{ bufferIndex } = { bufferIndex: 0 }] = filled;
        const isOne = filled.length > 0 && filled.every((range) => range.bufferIndex === bufferIndex);
        const bytes = filled.reduce((sum, { length }) => sum + length, 0);
        return isOne && bytes <= operations.largestTransferBytes && kernel().opcodes.has(IORING_OP_READV_FIXED)
          ? operations.vectoredFixedTransfer(direction, fd, filled, options.position, bufferIndex)
          : operations.vectoredTransferOf(direction, fd, ranges, options.position);
      },
      options,
      transferOptions,
    );
  }

  /** A range of a slot, as a request names it. */
  #rangeOf(buffer: FixedBuffer, offset: number, length: number | undefined, syscall: string, name: string) {
    if (!(buffer instanceof FixedBuffer)) throw invalidType(`${name}.buffer`, "a FixedBuffer", buffer);
    const slot = slotOf(buffer);
    slot.assertHeld(syscall);
    const size = slot.membership.control.plan.sizeBytes;
    checkInteger(`${name}.offset`, offset, 0, size);
    if (length !== undefined) checkInteger(`${name}.length`, length, 0, size - offset);
    const bufferIndex = this.#baseOf(slot.membership) + slot.membership.extentOf(slot.index);
    return { slot, address: slot.address + offset, length: length ?? size - offset, bufferIndex };
  }

  /** The descriptor of a file, which a request uses until its completion. */
  #descriptor(file: number | RingFile, syscall: string, uses?: Usable[]): number {
    if (file instanceof RingFile) {
      uses?.push(...usesOf(file));
      return descriptorOf(file, this.#requests, syscall);
    }
    if (typeof file !== "number") throw invalidType("file", "a RingFile or a descriptor", file);
    checkInteger("file", file, 0, 2 ** 31 - 1);
    return file;
  }

  #baseOf(membership: PoolMembership): number {
    for (const pool of this.#pools) if (pool.membership === membership || pool.membership.control.address === membership.control.address) return pool.base;
    throw invalidValue("buffer is of a pool that this ring does not have: name the pool in `new Ring({ pool })`");
  }
}
