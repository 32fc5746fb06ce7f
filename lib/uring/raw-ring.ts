import {
  checkBoolean,
  checkInteger,
  checkOptions,
  checkPosition,
  invalidType,
  mark,
  outOfRange,
} from "../base/arguments.ts";
import { type Reclaimable, track, untrack } from "../base/handles.ts";
import { hold, letGo } from "../base/hold.ts";
import { later } from "../base/timers.ts";
import { warn } from "../base/warn.ts";
import { EAGAIN } from "../errors/errno.ts";
import { since } from "../errors/requirements.ts";
import { checked, UringError } from "../errors/uring-error.ts";
import { BufferTable } from "./buffer-table.ts";
import { replaceBuffers, replacesWrongly } from "./clone.ts";
import { checkOpcode, cloneAbility, clonesOf } from "./kernel.ts";
import { addressOf } from "./native.ts";
import { type RawRingOptions, uringOptions } from "./options.ts";
import {
  largestFd,
  largestFileTable,
  largestTable,
  type Registrable,
  registerBuffers,
  registerFiles,
  registerSparseBuffers,
  registerSparseFiles,
  registrationOf,
  unregister,
  updateBuffers,
  updateFiles,
} from "./registration.ts";
import { largestVector } from "./transfers.ts";
import {
  IORING_OP_NOP,
  IORING_OP_READ_FIXED,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITE_FIXED,
  IORING_OP_WRITEV_FIXED,
  IORING_UNREGISTER_BUFFERS,
  IORING_UNREGISTER_FILES,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_DRAIN,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
} from "./uapi.ts";
import { Uring } from "./uring.ts";

/** Options of `RawRing.cloneBuffers()`. Without any, or if all are zero, the whole table is cloned. */
export interface CloneOptions {
  /** The first entry to fill in this ring's table. Default 0. Since Linux 6.13. */
  readonly destinationOffset?: number;
  /** The first entry to take from the source's table. Default 0. Since Linux 6.13. */
  readonly sourceOffset?: number;
  /** How many entries to clone. Default 0: all, which requires both offsets to be 0. Since Linux 6.13. */
  readonly count?: number;
  /**
   * Clone into the table that this ring already has: entries in the way are replaced, and the table grows if necessary.
   * Default false. Since Linux 6.13.
   */
  readonly replace?: boolean;
}

const wholeTable: CloneOptions = {};

const largestUserData = Number.MAX_SAFE_INTEGER;

/** The longest interval between two attempts to close a ring that the program dropped, in milliseconds. */
const longestLookMs = 1000;

/**
 * What belongs to a ring. It is held (base/hold.ts) from its creation until the kernel is done with the memory, also if
 * the RawRing is garbage-collected before. It must not refer to the RawRing.
 */
class RawRingLife implements Reclaimable {
  readonly kind = "RawRing";
  readonly ended = false;
  readonly uring: Uring;
  readonly table = new BufferTable();
  /**
   * The iovecs of vectored requests, by the index of their submission queue entry. The kernel copies them when it takes
   * the entry, so they can be overwritten as soon as the entry is free again.
   */
  readonly vectors: BigUint64Array[] = [];

  constructor(uring: Uring) {
    this.uring = uring;
    hold(this);
  }

  get label(): string {
    return `of descriptor ${this.uring.fd}`;
  }

  /**
   * Closes the ring as soon as nothing is in flight. Nobody is waiting for that, so it simply tries again now and then.
   */
  reclaim(lookMs = 1): void {
    const result = this.uring.finish();
    if (result === EAGAIN) later(lookMs, () => this.reclaim(Math.min(2 * lookMs, longestLookMs)));
    else if (result === 0) letGo(this);
    else warn("bun-uring: a garbage-collected ring could not be closed:", new UringError(result, "io_uring_enter"));
  }
}

/**
 * The flags that need no further support. IOSQE_CQE_SKIP_SUCCESS is not among them: without a completion nothing would
 * prove that the kernel is done with the request.
 */
const sqeFlagsAllowed = IOSQE_FIXED_FILE | IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC;

function checkRequest(userData: number, sqeFlags: number): void {
  checkInteger("userData", userData, 0, largestUserData);
  checkInteger("sqeFlags", sqeFlags, 0, 255);
  if ((sqeFlags & ~sqeFlagsAllowed) !== 0)
    throw outOfRange("sqeFlags", "of IOSQE_FIXED_FILE, IO_DRAIN, IO_LINK, IO_HARDLINK and ASYNC", sqeFlags);
}

/**
 * Checks all arguments in one expression, because every request passes through here. Only if that fails does it find
 * out which argument is wrong.
 */
function checkTransfer(
  fd: number,
  position: number | bigint,
  bufferIndex: number,
  userData: number,
  sqeFlags: number,
): void {
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

/** The entry being written. There is only one, because the requests of a RawRing need no object of their own. */
const sqe = {
  opcode: 0,
  flags: 0,
  fd: -1,
  off: 0 as number | bigint,
  addr: 0,
  len: 0,
  opFlags: 0,
  bufIndex: 0,
  spliceFdIn: 0,
};

/** Returns a RawRing's io_uring. For tests that need what RawRing does not offer. */
export let uringOf: (ring: RawRing) => Uring;

/**
 * One io_uring with liburing's own interface: synchronous, without an event loop, and only for the thread that made it.
 *
 * The ring keeps the memory that the kernel may write alive, and closing it waits until the kernel is done with that
 * memory. Every method throws a UringError with the code EBADF once the ring is closed.
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
  /** The ring's descriptor. It is valid until close. */
  readonly fd: number;
  /** The kernel's IORING_FEAT_* bits. */
  readonly features: number;
  /** The number of entries in the submission queue. */
  readonly sqEntries: number;
  /** The number of entries in the completion queue. */
  readonly cqEntries: number;

  readonly #life: RawRingLife;
  readonly #uring: Uring;
  readonly #table: BufferTable;
  #ringFdRegistered = false;
  /**
   * Tags have completions of their own. Once there were any, the number of completions does not show what is in flight.
   */
  #hasHadTags = false;

  /**
   * Creates a ring and maps its queues.
   * @throws UringError EOPNOTSUPP, ERR_FFI_CC_DISABLED, ENOENT, ENOSYS, EPERM: io_uring cannot be used here; `hint`
   *   explains why
   * @throws UringError EINVAL: the kernel refused the flags or sizes; EMFILE; ENOMEM: no memory, or over the limit on
   *   locked memory, which the queues count against since Linux 6.14. The queues of a closed ring count for up to
   *   100 ms more, unless it had IORING_SETUP_DEFER_TASKRUN, as every Ring has
   * @throws TypeError, RangeError: an option's type or value
   * @see io_uring_setup(2)
   */
  constructor(options: RawRingOptions = {}) {
    const uring = new Uring(uringOptions(options));
    this.#life = new RawRingLife(uring);
    this.#uring = uring;
    this.#table = this.#life.table;
    track(this, this.#life);
    this.fd = uring.fd;
    this.features = uring.features;
    this.sqEntries = uring.sqEntries;
    this.cqEntries = uring.cqEntries;
  }

  /** Whether close() was called. */
  get closed(): boolean {
    return this.#uring.closed;
  }

  /**
   * Registers buffers, which prepReadFixed and prepWriteFixed name by index. A `null` is an entry that holds nothing.
   *
   * @param buffers - 1 to 16384 buffers, each 1 byte to 1 GiB (Linux 7.3 accepts longer ones)
   * @param tags - one for each buffer, 0 for no tag. When the kernel is done with a buffer after it was replaced, or
   *   since Linux 6.13 unregistered, a completion arrives with its tag as user data
   * @throws UringError EBUSY: the ring has a table; ENOMEM: over the limit on locked memory; EFAULT: a buffer is too
   *   long; EINVAL: too many buffers, or a tag for an entry that holds nothing
   * @throws TypeError: memory that is not a SharedArrayBuffer's
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
    const registration = registrationOf(buffers, tags);
    if (registration.tags !== undefined) this.#hasHadTags = true;
    registerBuffers(this.#uring, registration);
    this.#table.create(registration.regions, registration.tags !== undefined);
  }

  /**
   * Registers a table of `count` entries that hold nothing yet.
   * @param count - how many entries, 1 to 16384
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
    registerSparseBuffers(this.#uring, count);
    this.#table.create(new Array<null>(count).fill(null), false);
  }

  /**
   * Replaces entries of the table, beginning with `offset`. Returns how many. Requests in flight keep the buffers they
   * began with. The memory that was replaced is kept until nothing is in flight, or until close if the ring has used
   * tags.
   * @param offset - the first entry, from 0
   * @param buffers - as for registerBuffers
   * @param tags - as for registerBuffers
   * @throws UringError ENXIO: the ring has no table; EINVAL: past the table's end
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
    const registration = registrationOf(buffers, tags);
    if (registration.tags !== undefined) this.#hasHadTags = this.#table.hasTags = true;
    const updated = updateBuffers(this.#uring, offset, registration);
    this.#table.set(offset, registration.regions.slice(0, updated));
    this.#forgetRetired();
    return updated;
  }

  /**
   * Removes the table. Requests in flight continue with their buffers, and clones in other rings remain. Before Linux
   * 6.13 this waits for those requests.
   * @throws UringError ENXIO: the ring has no table
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
    unregister(this.#uring, IORING_UNREGISTER_BUFFERS, "io_uring_unregister_buffers");
    this.#table.remove();
    this.#forgetRetired();
  }

  /**
   * Gives this ring the registered buffers of another ring of this process. Nothing is pinned or counted against the
   * limit again. The clone is a snapshot, and outlives the source. A `{ fd }` names a ring by its bare descriptor, also
   * one of another thread. The caller must then make sure that the descriptor still is that ring, and that the memory
   * of its buffers stays alive. BufferPool takes care of both.
   *
   * @param source - the ring that has the buffers, or its descriptor
   * @throws UringError EBUSY: the ring has a table, and `replace` is not set; ENXIO: the source has no table; EINVAL,
   *   EOVERFLOW: the range; EEXIST: the source has IORING_SETUP_SINGLE_ISSUER and belongs to another thread;
   *   EOPNOTSUPP: not a ring; EBADF: not a descriptor. Before Linux 6.18.44 `replace` needs temporary rings of its own
   *   (EMFILE, ENOMEM), and refuses a table that has tags (EOPNOTSUPP). Since Linux 6.12, with options 6.13.
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
    const { fd: sourceFd } = source;
    checkInteger("source.fd", sourceFd, 0, largestFd);
    if (options !== wholeTable) checkOptions(options, ["destinationOffset", "sourceOffset", "count", "replace"]);
    const { destinationOffset = 0, sourceOffset = 0, count = 0, replace = false } = options;
    checkInteger("options.destinationOffset", destinationOffset, 0, 2 ** 32 - 1);
    checkInteger("options.sourceOffset", sourceOffset, 0, 2 ** 32 - 1);
    checkInteger("options.count", count, 0, 2 ** 32 - 1);
    checkBoolean("options.replace", replace);
    const clones = replace ? clonesOf(cloneAbility()) : undefined;
    if (clones !== undefined && replacesWrongly(clones) && this.#table.hasTags)
      throw new UringError("EOPNOTSUPP", syscall, {
        message:
          "this kernel's `replace` is faulty, and the workaround would deliver the tags of the current table at once",
        hint: `Unregister the table first, or use no tags. Linux ${since.replaceKeepsTail} has a correct replace.`,
      });
    const result =
      clones === undefined
        ? this.#uring.clone(sourceFd, destinationOffset, sourceOffset, count, 0)
        : replaceBuffers(this.#uring, this.#table.length, { sourceFd, destinationOffset, sourceOffset, count }, clones);
    checked(result, syscall);
    const known = source instanceof RawRing ? source.#table : undefined;
    // It is not known how many entries a whole table of unknown length has replaced, so nothing is known about this
    // table any more.
    if (count === 0 && known?.length === undefined) this.#table.setUnknown();
    else
      this.#table.set(
        destinationOffset,
        known === undefined ? new Array<undefined>(count).fill(undefined) : known.range(sourceOffset, count),
      );
    this.#forgetRetired();
  }

  /**
   * Registers files, which requests name by index with IOSQE_FIXED_FILE. The kernel keeps the files open until they are
   * replaced or unregistered, even if their descriptors are closed.
   *
   * @param fds - 1 to 1048576 descriptors; -1 is an entry that holds nothing
   * @param tags - one for each file, as for registerBuffers
   * @throws UringError EBUSY: the ring has a file table; EBADF: not a descriptor, or the descriptor of an io_uring;
   *   EMFILE: over the limit on open files
   * @example
   * ```ts
   * import { openSync } from "node:fs";
   * import { constants, RawRing } from "bun-uring";
   *
   * using ring = new RawRing();
   * const bytes = new Uint8Array(new SharedArrayBuffer(4096));
   * ring.registerBuffers([bytes]);
   * ring.registerFiles([openSync("notes.txt", "r")]);
   * ring.prepReadFixed(0, bytes, 0, 0, 1, constants.IOSQE_FIXED_FILE); // file 0 of the table
   * ring.submitAndWait(1);
   * ```
   * @see io_uring_register_files(3), io_uring_register_files_tags(3)
   */
  registerFiles(fds: readonly number[], tags?: readonly number[]): void {
    this.#assertOpen("io_uring_register_files");
    if (tags !== undefined) this.#hasHadTags = true;
    registerFiles(this.#uring, fds, tags);
  }

  /**
   * Registers a file table of `count` entries that hold nothing yet. Since Linux 5.19.
   * @param count - how many entries, 1 to 1048576
   * @throws UringError EBUSY: the ring has a file table; EMFILE: over the limit on open files
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
    this.#assertOpen("io_uring_register_files_sparse");
    checkInteger("count", count, 1, largestFileTable);
    registerSparseFiles(this.#uring, count);
  }

  /**
   * Replaces entries of the file table, beginning with `offset`. Returns how many: fewer than given if an entry cannot
   * be replaced, which then holds nothing. Requests in flight keep the files they began with.
   * @param offset - the first entry, from 0
   * @param fds - descriptors; -1 empties an entry, IORING_REGISTER_FILES_SKIP leaves it as it is
   * @param tags - as for registerFiles
   * @throws UringError ENXIO: the ring has no file table; EINVAL: past its end, or a tag for an entry that is to hold
   *   nothing; EBADF: the first of `fds` is not a descriptor, or the descriptor of an io_uring, and its entry now holds
   *   nothing
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
    this.#assertOpen("io_uring_register_files_update");
    checkInteger("offset", offset, 0, largestFileTable - 1);
    if (tags !== undefined) this.#hasHadTags = true;
    return updateFiles(this.#uring, offset, fds, tags);
  }

  /**
   * Removes the file table. Requests in flight continue with their files.
   * @throws UringError ENXIO: the ring has no file table
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
    unregister(this.#uring, IORING_UNREGISTER_FILES, "io_uring_unregister_files");
  }

  /**
   * Registers the ring's own descriptor, which saves the kernel a look-up in every submission of this thread. Since
   * Linux 5.18.
   * @throws UringError EEXIST: it is registered already
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
    // liburing before 2.4 would register it a second time.
    if (this.#ringFdRegistered) throw new UringError("EEXIST", "io_uring_register_ring_fd");
    this.#uring.registerRingFd();
    this.#ringFdRegistered = true;
  }

  /**
   * Undoes registerRingFd.
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
    this.#uring.unregisterRingFd();
    this.#ringFdRegistered = false;
  }

  /**
   * Queues a request that does nothing and completes with 0.
   * @param userData - returned with the completion; an integer from 0 to 2^53 - 1, as in every prep method
   * @param sqeFlags - IOSQE_FIXED_FILE (the descriptor is an index of the file table), IOSQE_IO_DRAIN, IO_LINK,
   *   IO_HARDLINK, ASYNC; default 0, as in every prep method
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
    this.#prepare(IORING_OP_NOP, sqeFlags, -1, 0, 0, 0, userData, 0);
  }

  /**
   * Queues a read into `bytes`, which must lie within the registered buffer `bufferIndex`. Completes with the number of
   * bytes read, 0 at the end of the file, or -errno: EFAULT if the entry holds nothing.
   * @param fd - a descriptor; with IOSQE_FIXED_FILE an index of the file table
   * @param bytes - where to put the data, 1 byte or more
   * @param position - where to begin in the file, in bytes; -1 for the file's own position
   * @param bufferIndex - which registered buffer, 0 to 16383
   * @param userData - returned with the completion; an integer from 0 to 2^53 - 1
   * @param sqeFlags - as for prepNop. Default 0.
   * @throws UringError EBUSY: the submission queue is full
   * @throws RangeError: `bytes` are not within the registered buffer, or longer than one transfer can be, 0x7ffff000
   *   bytes
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
  prepReadFixed(
    fd: number,
    bytes: Uint8Array,
    position: number | bigint,
    bufferIndex: number,
    userData: number,
    sqeFlags = 0,
  ): void {
    checkTransfer(fd, position, bufferIndex, userData, sqeFlags);
    const { address, length } = this.#within(bytes, bufferIndex, userData, "bytes");
    this.#prepare(IORING_OP_READ_FIXED, sqeFlags, fd, position, address, length, userData, bufferIndex);
  }

  /**
   * Queues a write of `bytes`, which must lie within the registered buffer `bufferIndex`. Completes with the number of
   * bytes written, or -errno. Arguments and errors are those of prepReadFixed.
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
  prepWriteFixed(
    fd: number,
    bytes: Uint8Array,
    position: number | bigint,
    bufferIndex: number,
    userData: number,
    sqeFlags = 0,
  ): void {
    checkTransfer(fd, position, bufferIndex, userData, sqeFlags);
    const { address, length } = this.#within(bytes, bufferIndex, userData, "bytes");
    this.#prepare(IORING_OP_WRITE_FIXED, sqeFlags, fd, position, address, length, userData, bufferIndex);
  }

  /**
   * Queues a read into several parts of the registered buffer `bufferIndex`, 1 to 1024 of them, which are filled in
   * order. The array is not used after the call. Completes as prepReadFixed does. Since Linux 6.15.
   * @param fd - a descriptor; with IOSQE_FIXED_FILE an index of the file table
   * @param buffers - where to put the data, in order
   * @param position - where to begin in the file, in bytes; -1 for the file's own position
   * @param bufferIndex - which registered buffer, 0 to 16383
   * @param userData - returned with the completion; an integer from 0 to 2^53 - 1
   * @param sqeFlags - as for prepNop. Default 0.
   * @throws UringError EOPNOTSUPP: the kernel is older; EBUSY: the submission queue is full
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
  prepReadvFixed(
    fd: number,
    buffers: readonly Uint8Array[],
    position: number | bigint,
    bufferIndex: number,
    userData: number,
    sqeFlags = 0,
  ): void {
    this.#prepareVectored(IORING_OP_READV_FIXED, fd, buffers, position, bufferIndex, userData, sqeFlags);
  }

  /**
   * Queues a write of several parts of the registered buffer `bufferIndex`. Arguments and errors are those of
   * prepReadvFixed. Since Linux 6.15.
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
  prepWritevFixed(
    fd: number,
    buffers: readonly Uint8Array[],
    position: number | bigint,
    bufferIndex: number,
    userData: number,
    sqeFlags = 0,
  ): void {
    this.#prepareVectored(IORING_OP_WRITEV_FIXED, fd, buffers, position, bufferIndex, userData, sqeFlags);
  }

  /**
   * Submits the prepared requests and lets the kernel carry out deferred work (IORING_ENTER_GETEVENTS). Never waits.
   * Returns how many requests were submitted. If that is fewer than were prepared, the rest is kept for the next call.
   * @throws UringError EAGAIN, EBUSY, ENOMEM: the kernel accepts no requests for now; nothing is lost
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
    return this.#uring.submit();
  }

  /**
   * Submits the prepared requests and waits until `count` completions are available. Returns how many requests were
   * submitted. A signal can end the wait early, so count the completions rather than assuming them.
   * @param count - how many completions to wait for, 0 to cqEntries, including those already available
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
    return this.#uring.submitAndWait(count);
  }

  /**
   * Calls back for each available completion, including those for which the completion queue had no room. Returns how
   * many there were. Each entry is consumed before its callback, so the callback may submit, close or throw. If it
   * throws, the remaining completions are left for the next call.
   *
   * @param callback - receives the request's user data, its result (a value or -errno), and IORING_CQE_F_* flags
   * @throws TypeError: not a function; and whatever the callback throws
   * @throws UringError: as submit, if completions have to be fetched from the kernel
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
    const count = this.#uring.forEachCompletion(callback);
    this.#forgetRetired();
    return count;
  }

  /**
   * Closes the ring: cancels what is in flight, waits until the kernel is done with it, unregisters buffers and files,
   * and exits. Completions that were not seen are dropped. Waits for a request that cannot be cancelled as long as
   * necessary, and reports that on standard error after 5 seconds. Further calls do nothing.
   * @throws UringError: the requests did not end; the ring's memory then stays allocated
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
    if (this.closed) return;
    untrack(this.#life);
    this.#uring.close();
    letGo(this.#life);
  }

  /** close() */
  [Symbol.dispose](): void {
    this.close();
  }

  #assertOpen(syscall: string): void {
    if (this.#uring.closed) throw new UringError("EBADF", syscall, { message: "the ring is closed" });
  }

  #forgetRetired(): void {
    if (this.#uring.isIdle && !this.#hasHadTags) this.#table.forgetRetired();
  }

  #within(bytes: Uint8Array, bufferIndex: number, userData: number, name: string) {
    if (this.#uring.closed) this.#assertOpen("io_uring_prep_rw");
    return this.#table.within(bytes, bufferIndex, userData, name);
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
    const parts: readonly Uint8Array[] = Array.from(buffers);
    if (parts.length < 1 || parts.length > largestVector)
      throw outOfRange("buffers.length", `from 1 to ${largestVector}`, parts.length);
    checkOpcode(opcode, syscall, since.READV_FIXED, " Or make a request for each part.");
    const bounds = parts.map((bytes, index) => this.#within(bytes, bufferIndex, index, `buffers[${index}]`));
    this.#assertSpace();
    const { vectors } = this.#life;
    const entry = this.#uring.nextEntry;
    let vector = vectors[entry];
    if (vector === undefined || vector.length < 2 * bounds.length) {
      vector = new BigUint64Array(new SharedArrayBuffer(16 * bounds.length));
      vectors[entry] = vector;
    }
    for (const [index, { address, length }] of bounds.entries()) {
      vector[2 * index] = BigInt(address);
      vector[2 * index + 1] = BigInt(length);
    }
    this.#prepare(opcode, sqeFlags, fd, position, addressOf(vector), bounds.length, userData, bufferIndex);
  }

  #prepare(
    opcode: number,
    flags: number,
    fd: number,
    off: number | bigint,
    addr: number,
    len: number,
    userData: number,
    bufIndex: number,
  ): void {
    this.#assertSpace();
    sqe.opcode = opcode;
    sqe.off = off;
    sqe.addr = addr;
    sqe.len = len;
    sqe.bufIndex = bufIndex;
    this.#uring.prepare(sqe, flags, fd, userData);
  }

  #assertSpace(): void {
    if (this.#uring.hasSpace(1) && !this.#uring.closed) return;
    this.#assertOpen("io_uring_get_sqe");
    throw new UringError("EBUSY", "io_uring_get_sqe", {
      message: `the submission queue is full (${this.sqEntries} entries)`,
      hint: "Call submit(), then prepare again; or make the ring with more `entries`.",
    });
  }

  static {
    mark("RawRing", RawRing.prototype);
    uringOf = (ring) => ring.#uring;
  }
}
