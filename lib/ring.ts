import { constants } from "node:fs";
import { fileURLToPath } from "node:url";
import { checkInteger, checkOptions, checkPosition, checkSignal, invalidType, invalidValue, outOfRange } from "./arguments.ts";
import { descriptorOf, RingFile } from "./file.ts";
import { FixedBuffer, slotOf } from "./fixed-buffer.ts";
import { addressOf } from "./native.ts";
import { openFlags } from "./open-flags.ts";
import { BufferPool, membershipOf } from "./pool.ts";
import type { PoolMembership } from "./pool-membership.ts";
import { registerRegions } from "./raw-ring.ts";
import { bareRequest, RequestQueue, requestKind } from "./request-queue.ts";
import {
  IORING_OP_OPENAT,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE_FIXED,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_HYBRID_IOPOLL,
  IORING_SETUP_IOPOLL,
  IORING_SETUP_SINGLE_ISSUER,
  IOSQE_ASYNC,
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

/** Options of `Ring.readFixed` and `Ring.writeFixed`. */
export interface FixedTransferOptions {
  /** In the file, in bytes. Omitted: the file's own position. */
  readonly position?: number | bigint;
  /** In the slot, in bytes. Default 0. */
  readonly offset?: number;
  /** In bytes. Default: to the slot's end. */
  readonly length?: number;
  /** Rejects the promise with its reason when aborted; the buffer stays the operation's until the kernel is done with it. */
  readonly signal?: AbortSignal;
}

const AT_FDCWD = -100;
const noOptions: FixedTransferOptions = {};

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

function pathOf(path: string | URL): string {
  const name = path instanceof URL ? fileURLToPath(path) : path;
  if (typeof name !== "string") throw invalidType("path", "a string or a file: URL", path);
  if (name === "" || name.includes("\0")) throw invalidValue(`path must be a path without zero bytes, not ${JSON.stringify(name)}`);
  return name;
}

/**
 * An io_uring on Bun's event loop: operations are promises, those of one tick travel in one system call, and the process lives exactly as long as one is
 * in flight. For the thread that made it.
 *
 * Every method rejects with a UringError: EBADF where the ring is closed, otherwise the errno of the request.
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
    const name = pathOf(path);
    const operationFlags = openFlags(flags);
    checkInteger("mode", mode, 0, 0o7777);
    const encoded = new TextEncoder().encode(`${name}\0`);
    const memory = new SharedArrayBuffer(encoded.length);
    new Uint8Array(memory).set(encoded);
    const { promise, resolve, reject } = Promise.withResolvers<RingFile>();
    this.#requests.start({
      ...bareRequest,
      opcode: IORING_OP_OPENAT,
      // The kernel's first attempt would be a nonblocking one, and that opens a FIFO otherwise than open(2) does.
      sqeFlags: (operationFlags & constants.O_NONBLOCK) === 0 ? IOSQE_ASYNC : 0,
      syscall: "openat",
      fd: AT_FDCWD,
      address: addressOf(memory),
      length: mode,
      operationFlags,
      kind: requestKind.open,
      memory,
      path: name,
      succeed: (fd, fileEntry) => resolve(new RingFile(this.#requests, fd, fileEntry)),
      fail: reject,
    });
    return promise;
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
          memory: undefined,
          path: undefined,
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

  #descriptor(file: number | RingFile, syscall: string): number {
    if (file instanceof RingFile) return descriptorOf(file, this.#requests, syscall);
    if (typeof file !== "number") throw invalidType("file", "a RingFile or a descriptor", file);
    checkInteger("file", file, 0, 2 ** 31 - 1);
    return file;
  }

  #baseOf(membership: PoolMembership): number {
    for (const pool of this.#pools) if (pool.membership === membership || pool.membership.control.address === membership.control.address) return pool.base;
    throw invalidValue("buffer is of a pool that this ring does not have: name the pool in `new Ring({ pool })`");
  }
}
