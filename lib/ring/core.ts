import {
  checkBoolean,
  checkInteger,
  checkOptions,
  checkPosition,
  checkSignal,
  invalidType,
} from "../base/arguments.ts";
import { Promise } from "../base/globals.ts";
import type { Reclaimable } from "../base/handles.ts";
import { warn } from "../base/warn.ts";
import { IoUringEngine } from "../engines/io-uring.ts";
import { FixedBuffer, slotOf } from "../pool/fixed-buffer.ts";
import { transferFlags } from "../requests/builders.ts";
import type { OpenFile } from "../requests/open-file.ts";
import type { Operation } from "../requests/operation.ts";
import { RequestQueue } from "../requests/queue.ts";
import { RWF_APPEND, RWF_DONTCACHE, RWF_DSYNC, RWF_NOWAIT } from "../uring/transfers.ts";
import { IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IOSQE_ASYNC } from "../uring/uapi.ts";
import type { UringOptions } from "../uring/uring.ts";
import { JoinedPools, poolsOf } from "./joined-pools.ts";
import { PathFiles } from "./path-files.ts";

/** Options of every operation. */
export interface OperationOptions {
  /**
   * Rejects the promise with the signal's reason when the signal aborts. The kernel keeps using the memory and the file
   * until the operation completes.
   */
  readonly signal?: AbortSignal | undefined;
}

/** Options of reads and writes. */
export interface TransferOptions extends OperationOptions {
  /**
   * Position in the file, in bytes. If omitted, the transfer uses the file's own position and moves it on. A ring runs
   * such transfers on one file one after the other, in the order of the calls. If the file is open only for appending,
   * they go to its end. A RingFile without positions (a pipe, a FIFO or a terminal) refuses a position with ESPIPE.
   */
  readonly position?: number | bigint;
  /**
   * Do not leave what is transferred in the page cache (RWF_DONTCACHE). Pages that were in the cache before stay. Where
   * the kernel or the file system does not support it, the transfer fails with EOPNOTSUPP; streams, `copyFile` and
   * `hashFile` go on without it. Since Linux 6.14, on ext4, XFS and others. Default false.
   */
  readonly dontCache?: boolean;
}

/** Options of `readFixed`. */
export interface FixedTransferOptions extends TransferOptions {
  /** Offset in the slot, in bytes. Default 0. */
  readonly offset?: number;
  /** Length in bytes. Default: up to the end of the slot. */
  readonly length?: number;
  /** Fail with EAGAIN instead of waiting for a disk or a lock (RWF_NOWAIT). Default false. */
  readonly noWait?: boolean;
}

/** Options of `writeFixed`. */
export interface FixedWriteOptions extends FixedTransferOptions {
  /** Resolve only when the bytes are on stable storage, as with O_DSYNC (RWF_DSYNC). Default false. */
  readonly dsync?: boolean;
  /** Write at the end of the file and ignore the position (RWF_APPEND). Default false. */
  readonly append?: boolean;
}

const readOptions = ["position", "offset", "length", "noWait", "dontCache", "signal"];
const writeOptions = [...readOptions, "dsync", "append"];

/** The names of fixed transfers in errors. */
export const fixedSyscalls = { read: "read_fixed", write: "write_fixed" } as const;

const rangeNames = { buffer: "buffer", offset: "options.offset", length: "options.length" };

/** The options of a call without options. Callers compare with this object to skip the checks. */
export const noOptions = {};

/** The RWF_* flag for `dontCache`. */
export function cacheFlag(dontCache: unknown = false): number {
  checkBoolean("options.dontCache", dontCache);
  return dontCache === true ? RWF_DONTCACHE : 0;
}

function rwFlagsOf(options: FixedWriteOptions): number {
  const { noWait = false, dontCache, dsync = false, append = false } = options;
  checkBoolean("options.noWait", noWait);
  checkBoolean("options.dsync", dsync);
  checkBoolean("options.append", append);
  return (noWait ? RWF_NOWAIT : 0) | cacheFlag(dontCache) | (dsync ? RWF_DSYNC : 0) | (append ? RWF_APPEND : 0);
}

/**
 * Whether the kernel may sync a write (RWF_DSYNC) in its first attempt, at submission, and so block the event loop: some
 * file systems, such as xfs, do that for writes through the page cache. IOSQE_ASYNC leaves it to a worker.
 */
function syncsAtSubmission({ opFlags, file }: Operation): boolean {
  return (opFlags & (RWF_DSYNC | RWF_NOWAIT)) === RWF_DSYNC && file?.isDirect !== true;
}

/**
 * The functions that settle the promise made last. Read them right after `new Promise(capture)`, before any other code
 * can run and make another promise this way. One executor shared by all promises uses less memory than a closure for
 * each, and is faster than Promise.withResolvers.
 */
const captured: { resolve: (value: number) => void; reject: (reason: unknown) => void } = {
  resolve: () => undefined,
  reject: () => undefined,
};

function capture(resolve: (value: number) => void, reject: (reason: unknown) => void): void {
  captured.resolve = resolve;
  captured.reject = reject;
}

/**
 * The state that a ring shares with its files: the requests, and the pools whose slots the requests may use. Requests
 * in flight reference the core, so the core must not reference the Ring. Once the Ring and all its RingFiles are
 * garbage-collected, no code can start another request, and the core closes as soon as nothing is in flight.
 */
export class RingCore implements Reclaimable {
  readonly kind = "Ring";
  readonly label: string;
  readonly requests: RequestQueue;
  readonly pools: JoinedPools;
  #paths: PathFiles | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: UringOptions, pool: unknown) {
    const given = poolsOf(pool);
    const engine = new IoUringEngine<Operation>(options);
    this.requests = new RequestQueue(engine);
    this.label = `of descriptor ${engine.uring.fd}`;
    try {
      this.pools = JoinedPools.join(engine.uring, given);
    } catch (error) {
      // Nothing is in flight, so an error from closing matters less than the one thrown here.
      this.requests.close().catch(() => undefined);
      throw error;
    }
  }

  /** The ring's whole files by path. Made on first use: most rings have no use for the readers' entries. */
  get paths(): PathFiles {
    this.#paths ??= new PathFiles(this.requests);
    return this.#paths;
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      // Set this first: closing calls methods of the program's signals, which may call close() again.
      this.#closing = promise;
      resolve(
        this.requests.close().finally(() => {
          // If the kernel did not finish the requests, it may still write to the pools' memory, so the ring keeps its
          // pools.
          if (this.requests.gone) this.pools.leave();
        }),
      );
    }
    return this.#closing;
  }

  get ended(): boolean {
    return this.#closing !== undefined;
  }

  reclaim(): void {
    this.requests.abandon(() => {
      this.close().catch((error: unknown) =>
        warn("bun-uring: closing a ring that was dropped without close failed:", error),
      );
    });
  }

  /** Reads into a slot, or writes from one. Every error rejects the promise; nothing is thrown. */
  transferFixed(
    direction: "read" | "write",
    target: number | OpenFile,
    buffer: FixedBuffer,
    options: FixedWriteOptions,
  ): Promise<number> {
    const promise = new Promise<number>(capture);
    const { resolve, reject } = captured;
    try {
      this.#startFixed(direction, target, buffer, options, resolve, reject);
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  #startFixed(
    direction: "read" | "write",
    target: number | OpenFile,
    buffer: FixedBuffer,
    options: FixedWriteOptions,
    succeed: (bytes: number) => void,
    reject: (reason: unknown) => void,
  ): void {
    if (options !== noOptions) checkOptions(options, direction === "read" ? readOptions : writeOptions);
    const { position, offset = 0, signal } = options;
    if (position !== undefined) checkPosition("options.position", position, 0);
    if (signal !== undefined) checkSignal(signal);
    const operation = this.requests.reusable();
    const opFlags = options === noOptions ? 0 : rwFlagsOf(options);
    this.describeFixed(operation, direction, target, buffer, position, offset, options.length, opFlags);
    operation.succeed = succeed;
    operation.reject = reject;
    this.requests.start(operation, signal);
  }

  /** Makes a new operation, or one that was reset, a transfer of a part of a slot. */
  describeFixed(
    operation: Operation,
    direction: "read" | "write",
    target: number | OpenFile,
    buffer: FixedBuffer,
    position: number | bigint | undefined,
    offset: number,
    length: number | undefined,
    opFlags: number,
  ): void {
    const isRead = direction === "read";
    const syscall = fixedSyscalls[direction];
    const range = this.rangeOf(buffer, offset, length, syscall, rangeNames);
    operation.opcode = isRead ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
    operation.syscall = syscall;
    operation.flags = transferFlags(range.length);
    if (typeof target === "number") {
      operation.fd = target;
    } else {
      if (position !== undefined) target.assertSeekable(syscall);
      operation.fd = target.fd;
      operation.file = target;
    }
    operation.off = position ?? -1;
    operation.addr = range.address;
    operation.len = range.length;
    operation.opFlags = opFlags;
    if (syncsAtSubmission(operation)) operation.flags |= IOSQE_ASYNC;
    operation.bufIndex = range.bufferIndex;
    operation.slot = range.slot;
  }

  /** Checks a range of a slot and returns it in the form a request needs. */
  rangeOf(buffer: FixedBuffer, offset: number, length: number | undefined, syscall: string, names: typeof rangeNames) {
    if (!(buffer instanceof FixedBuffer)) throw invalidType(names.buffer, "a FixedBuffer", buffer);
    const slot = slotOf(buffer);
    slot.assertUsable(syscall);
    const { sizeBytes } = slot;
    checkInteger(names.offset, offset, 0, sizeBytes);
    if (length !== undefined) checkInteger(names.length, length, 0, sizeBytes - offset);
    return {
      slot,
      address: slot.address + offset,
      length: length ?? sizeBytes - offset,
      bufferIndex: this.pools.baseOf(slot.owner) + slot.extent,
    };
  }
}
