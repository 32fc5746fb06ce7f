import { checkInteger, checkOptions, checkPosition, invalidType, outOfRange } from "./arguments.ts";
import { checked, UringError } from "./errors.ts";
import { Bun } from "./globals.ts";
import { hold, letGo } from "./hold.ts";
import { type Clones, checkOpcode, clonesOf, kernel } from "./kernel.ts";
import { largestTable, largestVector } from "./limits.ts";
import { checkedRegistration, patiently } from "./memlock.ts";
import { addressOf, mapped, type Native, native } from "./native.ts";
import { type Reclaimable, track, untrack } from "./open-handles.ts";
import { replaceRange } from "./replace.ts";
import { since } from "./requirements.ts";
import { scratch } from "./scratch.ts";
import { type SqeFields, sqeWords, writeSqe } from "./sqe.ts";
import { later } from "./timers.ts";
import {
  IORING_CQE_F_MORE,
  IORING_OP_NOP,
  IORING_OP_READ_FIXED,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITE_FIXED,
  IORING_OP_WRITEV_FIXED,
  IORING_REGISTER_BUFFERS,
  IORING_REGISTER_BUFFERS_UPDATE,
  IORING_REGISTER_BUFFERS2,
  IORING_REGISTER_DST_REPLACE,
  IORING_REGISTER_FILES_SKIP,
  IORING_REGISTER_FILES_UPDATE2,
  IORING_REGISTER_FILES2,
  IORING_RSRC_REGISTER_SPARSE,
  IORING_SETUP_ATTACH_WQ,
  IORING_SETUP_COOP_TASKRUN,
  IORING_SETUP_CQE_MIXED,
  IORING_SETUP_CQE32,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_NO_MMAP,
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_R_DISABLED,
  IORING_SETUP_REGISTERED_FD_ONLY,
  IORING_SETUP_SQ_AFF,
  IORING_SETUP_SQ_REWIND,
  IORING_SETUP_SQE_MIXED,
  IORING_SETUP_SQE128,
  IORING_SETUP_TASKRUN_FLAG,
  IORING_SQ_CQ_OVERFLOW,
  IORING_SQ_TASKRUN,
  IORING_UNREGISTER_BUFFERS,
  IORING_UNREGISTER_FILES,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_DRAIN,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
} from "./uapi.ts";
import { warn } from "./warn.ts";

/** Options of `new RawRing()`. */
export interface RawRingOptions {
  /** Submission queue entries, 1 to 32768, rounded up to a power of two. Default 64. */
  readonly entries?: number;
  /** Completion queue entries, up to 65536, rounded up to a power of two. Default: twice the submission queue's. */
  readonly cqEntries?: number;
  /** IORING_SETUP_* flags. Default 0. Those that need more than a flag (R_DISABLED, NO_MMAP, ATTACH_WQ, …) are refused. */
  readonly flags?: number;
  /** With IORING_SETUP_SQPOLL: milliseconds without work before the kernel's thread sleeps. Default: the kernel's, 1000. */
  readonly sqThreadIdleMs?: number;
}

/** Options of `RawRing.cloneBuffers()`; without any, or all zero, the whole table is cloned. */
export interface CloneOptions {
  /** First entry to fill in this ring's table. Default 0. Since Linux 6.13. */
  readonly destinationOffset?: number;
  /** First entry to take of the source's table. Default 0. Since Linux 6.13. */
  readonly sourceOffset?: number;
  /** How many entries. Default 0: all, which the kernel takes only where both offsets are 0. Since Linux 6.13. */
  readonly count?: number;
  /** Clone into the table that this ring has: entries in the way are replaced, the table grows. Default false. Since Linux 6.13. */
  readonly replace?: boolean;
}

const wholeTable: CloneOptions = {};

/** What can be registered: memory that cannot move. `null` is an entry that holds nothing. */
export type Registrable = Uint8Array | SharedArrayBuffer | null;

/** Registered memory, from `start` up to `end`. */
export interface Region {
  readonly memory: SharedArrayBuffer;
  readonly start: number;
  readonly end: number;
  /** What it was given as: a slot's bytes keep the slot. */
  readonly bytes?: Uint8Array;
}

const EAGAIN = -11;

const largestFd = 2 ** 31 - 1;
const largestUserData = Number.MAX_SAFE_INTEGER;
const largestFileTable = 2 ** 20;

const refusedFlags = {
  IORING_SETUP_SQ_AFF,
  IORING_SETUP_ATTACH_WQ,
  IORING_SETUP_R_DISABLED,
  IORING_SETUP_NO_MMAP,
  IORING_SETUP_REGISTERED_FD_ONLY,
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_CQE_MIXED,
  IORING_SETUP_SQE_MIXED,
  IORING_SETUP_SQ_REWIND,
};

/** A power of two. */
const viewCount = 256;

const noWords = new Int32Array(0);

/** Milliseconds between looks at a ring that nobody has any more, at most. */
const longestLookMs = 1000;

/** The memory of a ring that the kernel may reach; `hold` keeps it from the ring's creation until the kernel is done. */
class ReachableMemory implements Reclaimable {
  readonly kind = "RawRing";
  readonly label: string;
  readonly ended = false;
  readonly #address: number;
  /** The buffer table, as far as it is known: a clone of a bare descriptor is not. */
  table: (Region | null | undefined)[] = [];
  /** Whether entries may have tags. */
  tagged = false;
  /** What has left the table, or was never seen in it, while requests may still use it. */
  readonly retired = new Set<SharedArrayBuffer | Uint8Array>();
  /** Parts of the table's memory that requests have named, and their addresses: asking for one takes as long as writing the request. */
  readonly views: (Uint8Array | undefined)[] = Array.from({ length: viewCount });
  readonly viewAddresses = new Float64Array(viewCount);
  /** The iovecs of vectored requests, by the submission queue entry that names them: the kernel has copied them when it has taken the entry. */
  readonly vectors: BigUint64Array[] = [];

  constructor(address: number, fd: number) {
    this.#address = address;
    this.label = `of descriptor ${fd}`;
    hold(this);
  }

  /** Closes the ring as soon as nothing is in flight. Nobody waits for that, so nothing has to wake: it is looked now and then. */
  reclaim(lookMs = 1): void {
    const result = native().ringFinish(this.#address);
    if (result === EAGAIN) later(lookMs, () => this.reclaim(Math.min(2 * lookMs, longestLookMs)));
    else if (result === 0) letGo(this);
    else warn("bun-uring: a ring that nobody has any more could not be closed:", new UringError(result, "io_uring_enter"));
  }

  retire(from: number, count: number): void {
    if (this.table.length <= from) return;
    this.views.fill(undefined);
    for (const region of this.table.slice(from, from + count)) if (region) this.retired.add(region.bytes ?? region.memory);
  }
}

function replacesWrongly(clones: Clones | undefined): boolean {
  return clones?.ranges === true && !clones.replaceKeepsTail;
}

/** Flags that need no more than themselves. A completion that is skipped (IOSQE_CQE_SKIP_SUCCESS) would never say that the kernel is done. */
const sqeFlagsAllowed = IOSQE_FIXED_FILE | IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC;

function checkRequest(userData: number, sqeFlags: number): void {
  checkInteger("userData", userData, 0, largestUserData);
  checkInteger("sqeFlags", sqeFlags, 0, 255);
  if ((sqeFlags & ~sqeFlagsAllowed) !== 0) throw outOfRange("sqeFlags", "of IOSQE_FIXED_FILE, IO_DRAIN, IO_LINK, IO_HARDLINK and ASYNC", sqeFlags);
}

/** Looks at all of it at once, for every request passes here; what is wrong, if anything, is found out one by one. */
function checkTransfer(fd: number, position: number | bigint, bufferIndex: number, userData: number, sqeFlags: number): void {
  const isRight =
    Number.isInteger(fd) &&
    fd >= 0 &&
    fd <= largestFd &&
    Number.isSafeInteger(position) &&
    position >= -1 &&
    Number.isInteger(bufferIndex) &&
    bufferIndex >= 0 &&
    bufferIndex < largestTable &&
    Number.isSafeInteger(userData) &&
    userData >= 0 &&
    Number.isInteger(sqeFlags) &&
    (sqeFlags & sqeFlagsAllowed) === sqeFlags;
  if (isRight) return;
  checkInteger("fd", fd, 0, largestFd);
  checkPosition("position", position, -1);
  checkInteger("bufferIndex", bufferIndex, 0, largestTable - 1);
  checkRequest(userData, sqeFlags);
}

function regionOf(buffer: Registrable, name: string): Region | null {
  if (buffer === null) return null;
  const bytes = buffer instanceof SharedArrayBuffer ? new Uint8Array(buffer) : buffer;
  if (!(bytes instanceof Uint8Array) || !(bytes.buffer instanceof SharedArrayBuffer))
    throw invalidType(name, "a SharedArrayBuffer, a Uint8Array of one, or null (other memory can move or go while the kernel uses it)", buffer);
  if (bytes.length === 0) throw outOfRange(name, "at least 1 byte long", "0 bytes");
  const start = addressOf(bytes);
  const region = { memory: bytes.buffer, start, end: start + bytes.length };
  return bytes === buffer ? { ...region, bytes } : region;
}

function checkTags(tags: readonly number[] | undefined, count: number): void {
  if (tags === undefined) return;
  if (!Array.isArray(tags)) throw invalidType("tags", "an array", tags);
  if (tags.length !== count) throw outOfRange("tags.length", `${count}, one for each`, tags.length);
  for (const [index, tag] of tags.entries()) checkInteger(`tags[${index}]`, tag, 0, largestUserData);
}

function regionsOf(buffers: readonly Registrable[], tags: readonly number[] | undefined): (Region | null)[] {
  if (!Array.isArray(buffers)) throw invalidType("buffers", "an array", buffers);
  if (buffers.length === 0) throw outOfRange("buffers.length", `from 1 to ${largestTable}`, 0);
  checkTags(tags, buffers.length);
  return Array.from(buffers, (buffer, index) => regionOf(buffer, `buffers[${index}]`));
}

/** Bytes of memory that regions have. */
export function regionBytes(regions: readonly (Region | null)[]): number {
  return regions.reduce((sum, region) => sum + (region === null ? 0 : region.end - region.start), 0);
}

/** Lays out iovecs, and tags where there are any, behind a `headBytes` long struct. */
function layOut(headBytes: number, regions: readonly (Region | null)[], tags: readonly number[] | undefined) {
  const iovecBytes = 16 * regions.length;
  const memory = scratch(headBytes + iovecBytes + (tags === undefined ? 0 : 8 * regions.length));
  for (const [index, region] of regions.entries()) {
    if (region === null) continue;
    memory.longs[headBytes / 8 + 2 * index] = BigInt(region.start);
    memory.longs[headBytes / 8 + 2 * index + 1] = BigInt(region.end - region.start);
  }
  for (const [index, tag] of (tags ?? []).entries()) memory.longs[(headBytes + iovecBytes) / 8 + index] = BigInt(tag);
  return { ...memory, iovecs: memory.address + headBytes, tags: tags === undefined ? 0 : memory.address + headBytes + iovecBytes };
}

/** Lays out descriptors, and tags where there are any, behind a struct io_uring_rsrc_register or _update2, which are 32 bytes. */
function layOutFiles(fds: readonly number[], tags: readonly number[] | undefined) {
  if (!Array.isArray(fds)) throw invalidType("fds", "an array", fds);
  if (fds.length < 1 || fds.length > largestFileTable) throw outOfRange("fds.length", `from 1 to ${largestFileTable}`, fds.length);
  for (const [index, fd] of fds.entries()) checkInteger(`fds[${index}]`, fd, IORING_REGISTER_FILES_SKIP, largestFd);
  checkTags(tags, fds.length);
  const tagsOffset = 32 + 8 * Math.ceil(fds.length / 2);
  const memory = scratch(tagsOffset + (tags === undefined ? 0 : 8 * fds.length));
  memory.words.set(fds, 8);
  for (const [index, tag] of (tags ?? []).entries()) memory.longs[tagsOffset / 8 + index] = BigInt(tag);
  return { ...memory, fds: memory.address + 32, tags: tags === undefined ? 0 : memory.address + tagsOffset };
}

// What the layers above use of a ring, and callers do not.

/** A ring that the library makes for itself, and closes: no handle of the program's. */
export let ownRawRing: (options: RawRingOptions) => RawRing;
/** Queues any request; its memory is the caller's to hold. Position, address and the rest as in writeSqe. */
export let prepareRequest: (ring: RawRing, ...request: SqeFields) => void;
/** io_uring_register(2) with any opcode. */
export let registerAny: (ring: RawRing, opcode: number, address: number, count: number, syscall: string) => number;
/** Whether so many requests can be prepared before the next submission. */
export let hasSubmissionSpace: (ring: RawRing, count: number) => boolean;
/** Whether the kernel has work for the ring that waits for an enter. */
export let holdsBack: (ring: RawRing) => boolean;
/** The ring's eventfd, signalled when completions arrive; the ring's close closes it. */
export let ringEventfd: (ring: RawRing) => number;
/** Tells the teardown of the descriptors that the ring owns, see file-table.ts. */
export let setFileTable: (ring: RawRing, address: number, count: number) => void;
/** Where what a call of the kernel took is added up, in nanoseconds: reading the clock takes a tenth of a clone's time. */
export interface Took {
  ns: number;
}

/** Appends a clone of all of another ring's buffers at `offset` of the table. */
export let cloneRegions: (ring: RawRing, fd: number, offset: number, regions: readonly Region[], clones: Clones, took?: Took) => void;
/** Registers memory by its addresses. */
export let registerRegions: (ring: RawRing, regions: readonly Region[], took?: Took) => void;
/** How often completions had found their queue full and were fetched from the kernel. */
export let completionOverflows: (ring: RawRing) => number;
/**
 * Takes all completions that are there, those without room in the queue included. An entry is consumed only after its `take`, which must not throw, submit
 * or close: an ending thread's teardown sees each completion that `take` has not noted.
 */
export let takeCompletions: (ring: RawRing, take: (userDataLow: number, userDataHigh: number, result: number) => void) => void;

/**
 * One io_uring, one to one with liburing: synchronous, no event loop, for the thread that made it.
 *
 * The ring keeps the memory that the kernel may write alive, and closing waits for the kernel to be done with it.
 * Every method throws a UringError with the code EBADF once the ring is closed.
 *
 * @example
 * ```ts
 * import { openSync } from "node:fs";
 * import { RawRing } from "bun-uring";
 *
 * using ring = new RawRing({ entries: 8 });
 * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
 * ring.registerBuffers([bytes]);
 * ring.prepReadFixed(openSync("/etc/hostname", "r"), bytes, 0, 0, 1);
 * ring.submitAndWait(1);
 * ring.forEachCompletion((userData, result) => console.log(userData, result));
 * ```
 *
 * @see io_uring_queue_init_params(3), io_uring_clone_buffers(3)
 */
export class RawRing implements Disposable {
  /** The ring's descriptor; it stays valid until close. */
  readonly fd: number;
  /** IORING_FEAT_* of the kernel. */
  readonly features: number;
  /** Entries of the submission queue. */
  readonly sqEntries: number;
  /** Entries of the completion queue. */
  readonly cqEntries: number;

  readonly #native: Native;
  readonly #address: number;
  readonly #reachable: ReachableMemory;
  readonly #sqeShift: number;
  readonly #cqeShift: number;
  #sqes: Int32Array;
  #sqHead: Int32Array;
  #sqFlags: Int32Array;
  #cqes: Int32Array;
  #cqHead: Int32Array;
  #cqTail: Int32Array;
  #sqTail = 0;
  /** Entries up to here the kernel had taken when it was looked last. */
  #sqTaken = 0;
  #closed = false;
  #ringFdRegistered = false;
  /** Whether `table` is all that the kernel's has. */
  #tableKnown = true;
  /** Completions up to here were seen. The kernel is told before it is entered, and when there are no more. */
  #seen = 0;
  /** Completions seen that were not their request's last. */
  #intermediate = 0;
  #overflows = 0;
  #tagged = false;

  /**
   * Sets up a ring and maps its queues.
   * @throws UringError EOPNOTSUPP, ERR_FFI_CC_DISABLED, ENOENT, ENOSYS, EPERM: io_uring cannot be used here; `hint` says why
   * @throws UringError EINVAL: the kernel refused the flags or sizes; ENOMEM, EMFILE
   * @throws TypeError, RangeError: an option's type or value
   * @see io_uring_setup(2)
   */
  constructor(options: RawRingOptions = {}) {
    checkOptions(options, ["entries", "cqEntries", "flags", "sqThreadIdleMs"]);
    const { entries = 64, cqEntries = 0, flags = 0, sqThreadIdleMs = 0 } = options;
    checkInteger("options.entries", entries, 1, 32768);
    if (options.cqEntries !== undefined) checkInteger("options.cqEntries", cqEntries, 1, 65536);
    checkInteger("options.flags", flags, 0, 2 ** 32 - 1);
    checkInteger("options.sqThreadIdleMs", sqThreadIdleMs, 0, 2 ** 32 - 1);
    for (const [name, flag] of Object.entries(refusedFlags)) {
      if ((flags & flag) !== 0) throw outOfRange("options.flags", `without ${name}, which needs more than a flag`, flags);
    }
    // Without it a ring that defers its work does not show that some is left after an enter has run 20 of it.
    const taskrun = (flags & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN)) === 0 ? 0 : IORING_SETUP_TASKRUN_FLAG;

    this.#native = native();
    const out = scratch(11 * 8);
    checked(
      patiently(() => this.#native.ringInit(entries, cqEntries, (flags | taskrun) >>> 0, sqThreadIdleMs, out.address)),
      "io_uring_setup",
    );
    const [address, fd, features, sqEntries, completions, sqes, sqHead, sqFlags, cqHead, cqTail, cqes] = Array.from(out.longs.subarray(0, 11), Number);
    this.#address = address ?? 0;
    this.fd = fd ?? -1;
    this.#reachable = new ReachableMemory(this.#address, this.fd);
    track(this, this.#reachable);
    this.features = features ?? 0;
    this.sqEntries = sqEntries ?? 0;
    this.cqEntries = completions ?? 0;
    this.#sqeShift = (flags & IORING_SETUP_SQE128) === 0 ? 0 : 1;
    this.#cqeShift = (flags & IORING_SETUP_CQE32) === 0 ? 0 : 1;
    this.#sqes = new Int32Array(mapped(sqes ?? 0, (this.sqEntries * sqeWords * 4) << this.#sqeShift));
    this.#sqHead = new Int32Array(mapped(sqHead ?? 0, 4));
    this.#sqFlags = new Int32Array(mapped(sqFlags ?? 0, 4));
    this.#cqes = new Int32Array(mapped(cqes ?? 0, (this.cqEntries * 16) << this.#cqeShift));
    this.#cqHead = new Int32Array(mapped(cqHead ?? 0, 4));
    this.#cqTail = new Int32Array(mapped(cqTail ?? 0, 4));
  }

  /** Whether close() was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Registers buffers, for prepReadFixed and prepWriteFixed to name by index. A `null` is an entry that holds nothing.
   *
   * @param buffers - 1 to 16384 of them, each 1 byte to 1 GiB (Linux 7.3 takes longer ones)
   * @param tags - one for each buffer: when the kernel is done with a buffer, after it was replaced, or since Linux 6.13 unregistered, a completion
   *   arrives with its tag as user data; 0 is no tag
   * @throws UringError EBUSY: the ring has a table; ENOMEM: over the memlock limit; EFAULT: a buffer too long; EINVAL: too many, or a tag for an entry that holds nothing
   * @throws TypeError: memory other than a SharedArrayBuffer's
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * const memory = new SharedArrayBuffer(2 * 65536);
   * ring.registerBuffers([new Uint8Array(memory, 0, 65536), new Uint8Array(memory, 65536)]);
   * ```
   * @see io_uring_register_buffers(3), io_uring_register_buffers_tags(3)
   */
  registerBuffers(buffers: readonly Registrable[], tags?: readonly number[]): void {
    this.#assertOpen("io_uring_register_buffers");
    const regions = regionsOf(buffers, tags);
    if (tags === undefined) {
      const argument = layOut(0, regions, undefined);
      this.#registerMemory(IORING_REGISTER_BUFFERS, argument.iovecs, regions.length, "io_uring_register_buffers", regions);
    } else {
      this.#tagged = true;
      const argument = layOut(32, regions, tags);
      argument.words[0] = regions.length;
      argument.longs[2] = BigInt(argument.iovecs);
      argument.longs[3] = BigInt(argument.tags);
      this.#registerMemory(IORING_REGISTER_BUFFERS2, argument.address, 32, "io_uring_register_buffers", regions);
    }
    this.#reachable.table = regions;
    this.#reachable.tagged = tags !== undefined;
  }

  /**
   * Registers a table of `count` entries that hold nothing yet, 1 to 16384.
   * @param count - how many entries
   * @throws UringError EBUSY: the ring has a table. Since Linux 5.19.
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerSparseBuffers(16);
   * ring.updateBuffers(3, [new SharedArrayBuffer(65536)]);
   * ```
   * @see io_uring_register_buffers_sparse(3)
   */
  registerSparseBuffers(count: number): void {
    this.#assertOpen("io_uring_register_buffers_sparse");
    checkInteger("count", count, 1, largestTable);
    const argument = scratch(32);
    argument.words[0] = count;
    argument.words[1] = IORING_RSRC_REGISTER_SPARSE;
    this.#register(IORING_REGISTER_BUFFERS2, argument.address, 32, "io_uring_register_buffers_sparse");
    this.#reachable.table = new Array<null>(count).fill(null);
  }

  /**
   * Replaces entries of the table from `offset` on; returns how many. Requests in flight keep what they began with; its
   * memory stays until nothing is in flight, and where tags are used, until close.
   * @param offset - the first entry, from 0
   * @param buffers - as for registerBuffers
   * @param tags - as for registerBuffers
   * @throws UringError ENXIO: no table; EINVAL: past its end
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerBuffers([new SharedArrayBuffer(4096), null]);
   * console.log(ring.updateBuffers(1, [new SharedArrayBuffer(65536)])); // 1
   * ```
   * @see io_uring_register_buffers_update_tag(3)
   */
  updateBuffers(offset: number, buffers: readonly Registrable[], tags?: readonly number[]): number {
    this.#assertOpen("io_uring_register_buffers_update");
    checkInteger("offset", offset, 0, largestTable - 1);
    const regions = regionsOf(buffers, tags);
    if (tags !== undefined) {
      this.#tagged = true;
      this.#reachable.tagged = true;
    }
    const argument = layOut(32, regions, tags);
    argument.words[0] = offset;
    argument.longs[1] = BigInt(argument.iovecs);
    argument.longs[2] = BigInt(argument.tags);
    argument.words[6] = regions.length;
    const updated = this.#registerMemory(IORING_REGISTER_BUFFERS_UPDATE, argument.address, 32, "io_uring_register_buffers_update", regions);
    this.#reachable.retire(offset, updated);
    this.#fillTable(offset, regions.slice(0, updated));
    this.#forgetRetired();
    return updated;
  }

  /**
   * Gives the table up. Requests in flight go on with their buffers, and clones in other rings stay. Before Linux 6.13 it waits for those requests.
   * @throws UringError ENXIO: no table
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerBuffers([new SharedArrayBuffer(4096)]);
   * ring.unregisterBuffers();
   * ring.registerBuffers([new SharedArrayBuffer(65536)]);
   * ```
   * @see io_uring_unregister_buffers(3)
   */
  unregisterBuffers(): void {
    this.#assertOpen("io_uring_unregister_buffers");
    this.#register(IORING_UNREGISTER_BUFFERS, 0, 0, "io_uring_unregister_buffers");
    this.#reachable.retire(0, this.#reachable.table.length);
    this.#reachable.table = [];
    this.#reachable.tagged = false;
    this.#tableKnown = true;
    this.#forgetRetired();
  }

  /**
   * Gives this ring the registered buffers of another ring of this process: nothing is pinned or accounted again. The clone is a snapshot,
   * and outlives the source. A `{ fd }` names a ring by its bare descriptor, also of another thread: that it still is that ring, and that the
   * memory behind it stays, is then the caller's business. BufferPool takes care of both.
   *
   * @param source - the ring that has the buffers, or its descriptor
   * @throws UringError EBUSY: the ring has a table, and no `replace`; ENXIO: the source has none; EINVAL, EOVERFLOW: the range; EEXIST: a source
   *   with IORING_SETUP_SINGLE_ISSUER, of another thread; EOPNOTSUPP: not a ring; EBADF: not a descriptor. Before Linux 6.18.44 `replace` takes rings of
   *   its own for a moment (EMFILE, ENOMEM), and refuses a table that has tags (EOPNOTSUPP). Since Linux 6.12, with options 6.13.
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using source = new RawRing({ entries: 1 });
   * source.registerBuffers([new SharedArrayBuffer(65536)]);
   * using ring = new RawRing();
   * ring.cloneBuffers(source); // buffer 0 of both is the same memory
   * ```
   * @see io_uring_clone_buffers(3), io_uring_clone_buffers_offset(3)
   */
  cloneBuffers(source: RawRing | { readonly fd: number }, options: CloneOptions = wholeTable): void {
    const syscall = "io_uring_clone_buffers";
    this.#assertOpen(syscall);
    if (typeof source !== "object" || source === null) throw invalidType("source", "a RawRing or { fd }", source);
    if (source instanceof RawRing) source.#assertOpen(syscall);
    checkInteger("source.fd", source.fd, 0, largestFd);
    if (options === wholeTable) {
      this.#cloneFrom(source, 0, 0, 0, false);
      return;
    }
    checkOptions(options, ["destinationOffset", "sourceOffset", "count", "replace"]);
    const { destinationOffset = 0, sourceOffset = 0, count = 0, replace = false } = options;
    checkInteger("options.destinationOffset", destinationOffset, 0, 2 ** 32 - 1);
    checkInteger("options.sourceOffset", sourceOffset, 0, 2 ** 32 - 1);
    checkInteger("options.count", count, 0, 2 ** 32 - 1);
    if (typeof replace !== "boolean") throw invalidType("options.replace", "true or false", replace);
    this.#cloneFrom(source, destinationOffset, sourceOffset, count, replace);
  }

  /**
   * Registers files, for requests to name by index with IOSQE_FIXED_FILE. The kernel keeps them open until they are replaced or unregistered, whatever becomes
   * of the descriptors.
   *
   * @param fds - 1 to 1048576 descriptors; -1 is an entry that holds nothing
   * @param tags - one for each file, as for registerBuffers
   * @throws UringError EBUSY: the ring has a file table; EBADF: not a descriptor, or an io_uring's; EMFILE: over the limit of open files
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { IOSQE_FIXED_FILE, RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * ring.registerBuffers([bytes]);
   * ring.registerFiles([openSync("notes.txt", "r")]);
   * ring.prepReadFixed(0, bytes, 0, 0, 1, IOSQE_FIXED_FILE); // file 0 of the table
   * ring.submitAndWait(1);
   * ```
   * @see io_uring_register_files(3), io_uring_register_files_tags(3)
   */
  registerFiles(fds: readonly number[], tags?: readonly number[]): void {
    const syscall = "io_uring_register_files";
    this.#assertOpen(syscall);
    const argument = layOutFiles(fds, tags);
    if (tags !== undefined) this.#tagged = true;
    argument.words[0] = fds.length;
    argument.longs[2] = BigInt(argument.fds);
    argument.longs[3] = BigInt(argument.tags);
    this.#register(IORING_REGISTER_FILES2, argument.address, 32, syscall);
  }

  /**
   * Registers a file table of `count` entries that hold nothing yet, 1 to 1048576. Since Linux 5.19.
   * @param count - how many entries
   * @throws UringError EBUSY: the ring has a file table; EMFILE: over the limit of open files
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerSparseFiles(16);
   * ring.updateFiles(3, [openSync("notes.txt", "r")]);
   * ```
   * @see io_uring_register_files_sparse(3)
   */
  registerSparseFiles(count: number): void {
    const syscall = "io_uring_register_files_sparse";
    this.#assertOpen(syscall);
    checkInteger("count", count, 1, largestFileTable);
    const argument = scratch(32);
    argument.words[0] = count;
    argument.words[1] = IORING_RSRC_REGISTER_SPARSE;
    this.#register(IORING_REGISTER_FILES2, argument.address, 32, syscall);
  }

  /**
   * Replaces entries of the file table from `offset` on; returns how many: fewer where one can't be, which then holds nothing. Requests in flight keep the
   * file they began with.
   * @param offset - the first entry, from 0
   * @param fds - -1 empties an entry, IORING_REGISTER_FILES_SKIP leaves it alone
   * @param tags - as for registerFiles
   * @throws UringError ENXIO: no file table; EINVAL: past its end, or a tag for an entry that is to hold nothing; EBADF: the first is not a descriptor, or an
   *   io_uring's, and its entry holds nothing now
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerFiles([openSync("notes.txt", "r"), -1]);
   * console.log(ring.updateFiles(0, [-1, openSync("disk.img", "r")])); // 2
   * ```
   * @see io_uring_register_files_update_tag(3)
   */
  updateFiles(offset: number, fds: readonly number[], tags?: readonly number[]): number {
    const syscall = "io_uring_register_files_update";
    this.#assertOpen(syscall);
    checkInteger("offset", offset, 0, largestFileTable - 1);
    const argument = layOutFiles(fds, tags);
    if (tags !== undefined) this.#tagged = true;
    argument.words[0] = offset;
    argument.longs[1] = BigInt(argument.fds);
    argument.longs[2] = BigInt(argument.tags);
    argument.words[6] = fds.length;
    return this.#register(IORING_REGISTER_FILES_UPDATE2, argument.address, 32, syscall);
  }

  /**
   * Gives the file table up. Requests in flight go on with their files.
   * @throws UringError ENXIO: no file table
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerFiles([openSync("notes.txt", "r")]);
   * ring.unregisterFiles();
   * ```
   * @see io_uring_unregister_files(3)
   */
  unregisterFiles(): void {
    this.#assertOpen("io_uring_unregister_files");
    this.#register(IORING_UNREGISTER_FILES, 0, 0, "io_uring_unregister_files");
  }

  /**
   * Registers the ring's own descriptor, which saves the kernel a look-up in every submission of this thread. Since Linux 5.18.
   * @throws UringError EEXIST: it is registered
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerRingFd();
   * ring.prepNop(1);
   * ring.submitAndWait(1); // by the registered descriptor
   * ```
   * @see io_uring_register_ring_fd(3)
   */
  registerRingFd(): void {
    this.#assertOpen("io_uring_register_ring_fd");
    // liburing before 2.4 would register it once more.
    if (this.#ringFdRegistered) throw new UringError("EEXIST", "io_uring_register_ring_fd");
    checked(this.#native.ringRegisterRingFd(this.#address), "io_uring_register_ring_fd");
    this.#ringFdRegistered = true;
  }

  /**
   * Ends registerRingFd.
   * @throws UringError EINVAL: it is not registered
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.registerRingFd();
   * ring.unregisterRingFd();
   * ```
   * @see io_uring_unregister_ring_fd(3)
   */
  unregisterRingFd(): void {
    this.#assertOpen("io_uring_unregister_ring_fd");
    if (!this.#ringFdRegistered) throw new UringError("EINVAL", "io_uring_unregister_ring_fd");
    checked(this.#native.ringUnregisterRingFd(this.#address), "io_uring_unregister_ring_fd");
    this.#ringFdRegistered = false;
  }

  /**
   * Queues a request that does nothing but complete with 0.
   * @param userData - comes back with the completion; an integer from 0 to 2^53 - 1, as in every prep method
   * @param sqeFlags - IOSQE_FIXED_FILE (the descriptor is an index of the file table), IOSQE_IO_DRAIN, IO_LINK, IO_HARDLINK, ASYNC; default 0, as in every prep method
   * @throws UringError EBUSY: the submission queue is full; submit, then prepare again
   * @throws TypeError, RangeError: an argument's type or value
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.prepNop(42);
   * ring.submitAndWait(1);
   * ring.forEachCompletion((userData, result) => console.log(userData, result)); // 42 0
   * ```
   * @see io_uring_prep_nop(3)
   */
  prepNop(userData: number, sqeFlags = 0): void {
    checkRequest(userData, sqeFlags);
    this.#prepare(IORING_OP_NOP, sqeFlags, -1, 0, 0, 0, 0, userData, 0, 0);
  }

  /**
   * Queues a read into `bytes`, which lie within the registered buffer `bufferIndex`. Completes with the number of bytes read, 0 at the file's end, or
   * -errno: EFAULT where the entry holds nothing.
   * @param fd - a descriptor; with IOSQE_FIXED_FILE an index of the file table
   * @param bytes - where to, 1 byte or more
   * @param position - in the file, in bytes; -1 for the file's own position
   * @param bufferIndex - which registered buffer, 0 to 16383
   * @param userData - comes back with the completion; an integer from 0 to 2^53 - 1
   * @param sqeFlags - as for prepNop. Default 0.
   * @throws UringError EBUSY: the submission queue is full
   * @throws RangeError: `bytes` are not within the registered buffer
   * @throws TypeError: an argument's type
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * ring.registerBuffers([bytes]);
   * ring.prepReadFixed(openSync("notes.txt", "r"), bytes, 0, 0, 1);
   * ring.submitAndWait(1);
   * ring.forEachCompletion((_, bytesRead) => console.log(new TextDecoder().decode(bytes.subarray(0, bytesRead))));
   * ```
   * @see io_uring_prep_read_fixed(3)
   */
  prepReadFixed(fd: number, bytes: Uint8Array, position: number | bigint, bufferIndex: number, userData: number, sqeFlags = 0): void {
    checkTransfer(fd, position, bufferIndex, userData, sqeFlags);
    const address = this.#addressWithin(bytes, bufferIndex, userData, "bytes");
    this.#prepare(IORING_OP_READ_FIXED, sqeFlags, fd, position, address, bytes.length, 0, userData, bufferIndex, 0);
  }

  /**
   * Queues a write of `bytes`, which lie within the registered buffer `bufferIndex`. Completes with the number of bytes written, or -errno.
   * Arguments and errors are those of prepReadFixed.
   * @throws TypeError, RangeError, UringError: as prepReadFixed
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * ring.registerBuffers([bytes]);
   * bytes.set(Buffer.from("hello\n"));
   * ring.prepWriteFixed(openSync("hello.txt", "w"), bytes.subarray(0, 6), 0, 0, 1);
   * ring.submitAndWait(1);
   * ```
   * @see io_uring_prep_write_fixed(3)
   */
  prepWriteFixed(fd: number, bytes: Uint8Array, position: number | bigint, bufferIndex: number, userData: number, sqeFlags = 0): void {
    checkTransfer(fd, position, bufferIndex, userData, sqeFlags);
    const address = this.#addressWithin(bytes, bufferIndex, userData, "bytes");
    this.#prepare(IORING_OP_WRITE_FIXED, sqeFlags, fd, position, address, bytes.length, 0, userData, bufferIndex, 0);
  }

  /**
   * Queues a read into several parts of the registered buffer `bufferIndex`, one after the other: 1 to 1024 of them. The array is not used after
   * the call. Completes as prepReadFixed does. Since Linux 6.15.
   * @param fd - a descriptor; with IOSQE_FIXED_FILE an index of the file table
   * @param buffers - where to, in order
   * @param position - in the file, in bytes; -1 for the file's own position
   * @param bufferIndex - which registered buffer, 0 to 16383
   * @param userData - comes back with the completion; an integer from 0 to 2^53 - 1
   * @param sqeFlags - as for prepNop. Default 0.
   * @throws UringError EOPNOTSUPP: an older kernel; EBUSY: the submission queue is full
   * @throws RangeError: a part is not within the registered buffer
   * @throws TypeError: an argument's type
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * ring.registerBuffers([bytes]);
   * const parts = [bytes.subarray(0, 4), bytes.subarray(2048)];
   * ring.prepReadvFixed(openSync("notes.txt", "r"), parts, 0, 0, 1);
   * ring.submitAndWait(1);
   * ```
   * @see io_uring_prep_readv_fixed(3)
   */
  prepReadvFixed(fd: number, buffers: readonly Uint8Array[], position: number | bigint, bufferIndex: number, userData: number, sqeFlags = 0): void {
    this.#prepareVectored(IORING_OP_READV_FIXED, fd, buffers, position, bufferIndex, userData, sqeFlags);
  }

  /**
   * Queues a write of several parts of the registered buffer `bufferIndex`. Arguments and errors are those of prepReadvFixed. Since Linux 6.15.
   * @throws TypeError, RangeError, UringError: as prepReadvFixed
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * ring.registerBuffers([bytes]);
   * const parts = [bytes.subarray(0, 512), bytes.subarray(2048, 2560)];
   * ring.prepWritevFixed(openSync("zeros.bin", "w"), parts, 0, 0, 1);
   * ring.submitAndWait(1);
   * ```
   * @see io_uring_prep_writev_fixed(3)
   */
  prepWritevFixed(fd: number, buffers: readonly Uint8Array[], position: number | bigint, bufferIndex: number, userData: number, sqeFlags = 0): void {
    this.#prepareVectored(IORING_OP_WRITEV_FIXED, fd, buffers, position, bufferIndex, userData, sqeFlags);
  }

  /**
   * Submits what is prepared and runs what has completed (IORING_ENTER_GETEVENTS); never waits. Returns how many requests were submitted: where that
   * is fewer than were prepared, the rest is kept for the next call.
   * @throws UringError EAGAIN, EBUSY, ENOMEM: the kernel took none for now; nothing is lost
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.prepNop(1);
   * ring.prepNop(2);
   * console.log(ring.submit()); // 2
   * ```
   * @see io_uring_submit_and_get_events(3)
   */
  submit(): number {
    this.#assertOpen("io_uring_submit");
    this.#publishSeen();
    return checked(this.#native.ringSubmit(this.#address, this.#sqTail), "io_uring_submit");
  }

  /**
   * Submits what is prepared and waits until `count` completions are there, 0 to cqEntries. Returns how many requests were submitted. A signal can end
   * the wait early: count the completions, do not assume them.
   * @param count - how many completions to wait for, those that are there included
   * @throws UringError as submit
   * @throws TypeError, RangeError: the count
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * ring.prepNop(1);
   * ring.prepNop(2);
   * let completed = 0;
   * while (completed < 2) {
   *   ring.submitAndWait(1);
   *   completed += ring.forEachCompletion(() => undefined);
   * }
   * ```
   * @see io_uring_submit_and_wait(3)
   */
  submitAndWait(count: number): number {
    this.#assertOpen("io_uring_submit_and_wait");
    checkInteger("count", count, 0, this.cqEntries);
    this.#publishSeen();
    const result = this.#native.ringSubmitAndWait(this.#address, this.#sqTail, count);
    // JavaScript has to run between two waits: a Worker that never leaves C could not be terminated.
    return result === -4 ? 0 : checked(result, "io_uring_submit_and_wait");
  }

  /**
   * Calls back for each completion that is there, those the completion queue had no room for included; returns how many. Each entry is consumed before
   * its callback, which so may submit, close or throw: a throw leaves the rest for the next call.
   *
   * @param callback - gets the request's user data, its result (a value or -errno), and IORING_CQE_F_* flags
   * @throws TypeError: not a function; and what the callback throws
   * @throws UringError: as submit, where completions have to be fetched from the kernel
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * for (const userData of [1, 2, 3]) ring.prepNop(userData);
   * ring.submitAndWait(3);
   * const count = ring.forEachCompletion((userData, result) => console.log(userData, result));
   * console.log(count); // 3
   * ```
   * @see io_uring_for_each_cqe(3)
   */
  forEachCompletion(callback: (userData: number, result: number, flags: number) => void): number {
    this.#assertOpen("io_uring_get_events");
    if (typeof callback !== "function") throw invalidType("callback", "a function", callback);
    const mask = this.cqEntries - 1;
    let count = 0;
    let tail = this.#seen;
    while (!this.#closed) {
      const seen = this.#seen;
      // A callback that called this in turn may have got further than the tail of before.
      if (((tail - seen) | 0) <= 0) {
        tail = Atomics.load(this.#cqTail, 0);
        if (tail === seen && !this.#fetchCompletions()) break;
      }
      const base = ((seen & mask) << this.#cqeShift) * 4;
      const userData = this.#userData(base);
      const result = this.#cqes[base + 2] ?? 0;
      const flags = this.#cqes[base + 3] ?? 0;
      this.#seen = (seen + 1) | 0;
      if ((flags & IORING_CQE_F_MORE) !== 0) this.#intermediate++;
      count++;
      callback(userData, result, flags);
    }
    this.#forgetRetired();
    return count;
  }

  /**
   * Closes the ring: cancels what is in flight, waits until the kernel is done with it, unregisters, exits. What completed unseen is dropped. It waits for
   * a request that cannot be cancelled as long as that takes, and says so on standard error after 5 seconds. Again: nothing.
   * @throws UringError: the kernel would not finish; the ring's memory then stays allocated
   * @example
   * ```ts
   * import { RawRing } from "bun-uring";
   *
   * const ring = new RawRing();
   * ring.prepNop(1);
   * ring.submit();
   * ring.close(); // waits for the request
   * console.log(ring.closed); // true
   * ```
   * @see io_uring_queue_exit(3)
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // Mapped memory is about to go: no view of it may outlive this line.
    this.#sqes = this.#sqFlags = this.#cqes = noWords;
    this.#sqHead = this.#cqHead = this.#cqTail = noWords;
    untrack(this.#reachable);
    checked(this.#native.ringClose(this.#address), "io_uring_queue_exit");
    letGo(this.#reachable);
  }

  /** close() */
  [Symbol.dispose](): void {
    this.close();
  }

  #assertOpen(syscall: string): void {
    if (this.#closed) throw new UringError("EBADF", syscall, { message: "the ring is closed" });
  }

  #register(opcode: number, address: number, count: number, syscall: string): number {
    return checked(this.#native.ringRegister(this.#address, opcode, address, count), syscall);
  }

  #registerMemory(opcode: number, address: number, count: number, syscall: string, regions: readonly (Region | null)[]): number {
    const bytes = regionBytes(regions);
    return checkedRegistration(
      patiently(() => this.#native.ringRegister(this.#address, opcode, address, count), bytes),
      syscall,
      bytes,
    );
  }

  #userData(base: number): number {
    const low = this.#cqes[base] ?? 0;
    const high = this.#cqes[base + 1] ?? 0;
    return high === 0 && low >= 0 ? low : (low >>> 0) + (high >>> 0) * 2 ** 32;
  }

  /** Gives the kernel the entries back whose completions were seen. */
  #publishSeen(): void {
    Atomics.store(this.#cqHead, 0, this.#seen);
  }

  /** When all that is there was seen: has the kernel bring what it holds back, deferred work and completions that found the queue full. Returns whether any came. */
  #fetchCompletions(): boolean {
    this.#publishSeen();
    if (!this.#holdsBack()) return false;
    if ((Atomics.load(this.#sqFlags, 0) & IORING_SQ_CQ_OVERFLOW) !== 0) this.#overflows++;
    checked(this.#native.ringGetEvents(this.#address), "io_uring_get_events");
    return this.#seen !== Atomics.load(this.#cqTail, 0);
  }

  #holdsBack(): boolean {
    return (Atomics.load(this.#sqFlags, 0) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) !== 0;
  }

  #takeCompletions(take: (userDataLow: number, userDataHigh: number, result: number) => void): void {
    const mask = this.cqEntries - 1;
    do {
      const tail = Atomics.load(this.#cqTail, 0);
      let seen = this.#seen;
      for (; seen !== tail; seen = (seen + 1) | 0) {
        const base = ((seen & mask) << this.#cqeShift) * 4;
        if (((this.#cqes[base + 3] ?? 0) & IORING_CQE_F_MORE) !== 0) this.#intermediate++;
        take(this.#cqes[base] ?? 0, this.#cqes[base + 1] ?? 0, this.#cqes[base + 2] ?? 0);
      }
      this.#seen = seen;
    } while (this.#fetchCompletions());
  }

  #cloneFrom(source: RawRing | { readonly fd: number }, destinationOffset: number, sourceOffset: number, count: number, replace: boolean): void {
    const whole = source instanceof RawRing ? source.#reachable.table : [];
    const cloned = count === 0 ? whole : Array.from({ length: Math.min(count, largestTable) }, (_, index) => whole[sourceOffset + index]);
    const clones = replace ? clonesOf(kernel().cloneAbility) : undefined;
    if (replacesWrongly(clones) && this.#reachable.tagged)
      throw new UringError("EOPNOTSUPP", "io_uring_clone_buffers", {
        message: "this kernel's `replace` is wrong, and where it is done in another way the table's tags would come at once",
        hint: `Unregister the table first, or use no tags; Linux ${since.replaceKeepsTail} does it right.`,
      });
    this.#clone(source.fd, destinationOffset, sourceOffset, count, clones, cloned);
    if (count > 0 || (source instanceof RawRing && source.#tableKnown)) return;
    // How much of the table another's whole one has replaced is not known: nothing in it is, any more.
    this.#tableKnown = false;
    this.#reachable.retire(0, this.#reachable.table.length);
    this.#reachable.table = [];
  }

  #clone(
    fd: number,
    destinationOffset: number,
    sourceOffset: number,
    count: number,
    replace: Clones | undefined,
    cloned: readonly (Region | null | undefined)[],
    took?: Took,
  ): void {
    const started = took === undefined ? 0 : Bun.nanoseconds();
    const result = replacesWrongly(replace)
      ? replaceRange(this.#destination, fd, destinationOffset, sourceOffset, count)
      : this.#native.ringClone(this.#address, fd, destinationOffset, sourceOffset, count, replace === undefined ? 0 : IORING_REGISTER_DST_REPLACE);
    if (took !== undefined) took.ns += Bun.nanoseconds() - started;
    checked(result, "io_uring_clone_buffers");
    this.#reachable.retire(destinationOffset, cloned.length);
    this.#fillTable(destinationOffset, cloned);
    this.#forgetRetired();
  }

  get #destination() {
    return { address: this.#address, fd: this.fd, tableLength: this.#tableKnown ? this.#reachable.table.length : undefined };
  }

  #fillTable(offset: number, regions: readonly (Region | null | undefined)[]): void {
    const { table } = this.#reachable;
    while (table.length < offset) table.push(null);
    let index = offset;
    for (const region of regions) table[index++] = region;
  }

  /** Whether every request that was prepared has had its last completion. Those of tags count as well, so with tags it proves nothing. */
  get #isIdle(): boolean {
    return ((this.#sqTail - this.#seen + this.#intermediate) | 0) === 0;
  }

  #forgetRetired(): void {
    const { retired } = this.#reachable;
    // To clear an empty set takes a twentieth of a clone's time.
    if (retired.size > 0 && this.#isIdle && !this.#tagged) retired.clear();
  }

  #prepareVectored(
    opcode: number,
    fd: number,
    buffers: readonly Uint8Array[],
    position: number | bigint,
    bufferIndex: number,
    userData: number,
    sqeFlags: number,
  ): void {
    const syscall = opcode === IORING_OP_READV_FIXED ? "readv_fixed" : "writev_fixed";
    this.#assertOpen(syscall);
    checkTransfer(fd, position, bufferIndex, userData, sqeFlags);
    if (!Array.isArray(buffers)) throw invalidType("buffers", "an array of Uint8Arrays", buffers);
    if (buffers.length < 1 || buffers.length > largestVector) throw outOfRange("buffers.length", `from 1 to ${largestVector}`, buffers.length);
    checkOpcode(opcode, syscall, since.READV_FIXED, " Or make a request for each part.");
    const addresses = Array.from(buffers, (bytes, index) => this.#addressWithin(bytes, bufferIndex, index, `buffers[${index}]`));
    this.#assertSpace();
    const entry = this.#sqTail & (this.sqEntries - 1);
    let vector = this.#reachable.vectors[entry];
    if (vector === undefined || vector.length < 2 * buffers.length) {
      vector = new BigUint64Array(new SharedArrayBuffer(16 * buffers.length));
      this.#reachable.vectors[entry] = vector;
    }
    for (const [index, bytes] of buffers.entries()) {
      vector[2 * index] = BigInt(addresses[index] ?? 0);
      vector[2 * index + 1] = BigInt(bytes.length);
    }
    this.#prepare(opcode, sqeFlags, fd, position, addressOf(vector), buffers.length, 0, userData, bufferIndex, 0);
  }

  /** The address of bytes that have to lie within a registered buffer. */
  #addressWithin(bytes: Uint8Array, bufferIndex: number, userData: number, name: string): number {
    if (!(bytes instanceof Uint8Array)) throw invalidType(name, "a Uint8Array", bytes);
    const place = userData & (viewCount - 1);
    const { table, views, viewAddresses } = this.#reachable;
    const region = table[bufferIndex];
    const isKnown = views[place] === bytes;
    const address = isKnown ? (viewAddresses[place] ?? 0) : bytes.length > 0 ? addressOf(bytes) : 0;
    if (!region || address < region.start || address + bytes.length > region.end) return this.#addressOutsideTable(region, bytes, bufferIndex, name);
    if (!isKnown) {
      views[place] = bytes;
      viewAddresses[place] = address;
    }
    return address;
  }

  /** For bytes that no known entry holds: the kernel knows better only where the entry is unknown, or empty. */
  #addressOutsideTable(region: Region | null | undefined, bytes: Uint8Array, bufferIndex: number, name: string): number {
    this.#assertOpen("io_uring_prep_rw");
    const found = regionOf(bytes, name);
    const start = found?.start ?? 0;
    if (region) {
      const inside = found?.memory === region.memory ? ` (byteOffset ${bytes.byteOffset}, length ${bytes.length})` : " (another SharedArrayBuffer)";
      throw outOfRange(name, `within the registered buffer ${bufferIndex}, ${region.end - region.start} bytes`, `${bytes.length} bytes outside it${inside}`);
    }
    if (found) this.#reachable.retired.add(found.memory);
    return start;
  }

  #prepare(
    opcode: number,
    sqeFlags: number,
    fd: number,
    position: number | bigint,
    address: number | bigint,
    length: number,
    operationFlags: number,
    userData: number,
    bufferIndex: number,
    spliceFd: number,
  ): void {
    this.#assertSpace();
    const tail = this.#sqTail;
    const base = ((tail & (this.sqEntries - 1)) << this.#sqeShift) * sqeWords;
    writeSqe(this.#sqes, base, opcode, sqeFlags, fd, position, address, length, operationFlags, userData, bufferIndex, spliceFd);
    this.#sqTail = (tail + 1) >>> 0;
  }

  #assertSpace(): void {
    if (!this.#closed && this.#hasSpace(1)) return;
    this.#assertOpen("io_uring_get_sqe");
    throw new UringError("EBUSY", "io_uring_get_sqe", {
      message: `the submission queue is full (${this.sqEntries} entries)`,
      hint: "Call submit(), then prepare again; or make the ring with more `entries`.",
    });
  }

  /** Whether `count` entries are free: as far as is known, and where that is too few, as the kernel says now. */
  #hasSpace(count: number): boolean {
    if (((this.#sqTail - this.#sqTaken) | 0) + count <= this.sqEntries) return true;
    if (this.#closed) return false;
    this.#sqTaken = Atomics.load(this.#sqHead, 0);
    return ((this.#sqTail - this.#sqTaken) | 0) + count <= this.sqEntries;
  }

  static {
    ownRawRing = (options) => {
      const ring = new RawRing(options);
      untrack(ring.#reachable);
      return ring;
    };
    prepareRequest = (ring, opcode, sqeFlags, fd, position, address, length, operationFlags, userData, bufferIndex, spliceFd = 0) =>
      ring.#prepare(opcode, sqeFlags, fd, position, address, length, operationFlags, userData, bufferIndex, spliceFd);
    completionOverflows = (ring) => ring.#overflows;
    takeCompletions = (ring, take) => ring.#takeCompletions(take);
    holdsBack = (ring) => ring.#holdsBack();
    hasSubmissionSpace = (ring, count) => ring.#hasSpace(count);
    ringEventfd = (ring) => checked(ring.#native.ringEventfd(ring.#address), "io_uring_register_eventfd");
    setFileTable = (ring, address, count) => ring.#native.ringFiles(ring.#address, address, count);
    cloneRegions = (ring, fd, offset, regions, clones, took) =>
      ring.#clone(fd, offset, 0, offset === 0 ? 0 : regions.length, offset === 0 ? undefined : clones, regions, took);
    registerAny = (ring, opcode, address, count, syscall) => ring.#register(opcode, address, count, syscall);
    registerRegions = (ring, regions, took) => {
      const started = Bun.nanoseconds();
      ring.#registerMemory(IORING_REGISTER_BUFFERS, layOut(0, regions, undefined).iovecs, regions.length, "io_uring_register_buffers", regions);
      ring.#reachable.table = [...regions];
      if (took !== undefined) took.ns += Bun.nanoseconds() - started;
    };
  }
}
