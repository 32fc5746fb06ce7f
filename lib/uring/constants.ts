/**
 * The numbers that callers pass to this library, or receive from it, under the names that the kernel's headers have.
 * A constant says nothing about the running kernel: `probe` does.
 *
 * @example
 * ```ts
 * import { constants, Ring } from "bun-uring";
 *
 * await using ring = new Ring();
 * await ring.rename("notes.txt", "notes.old.txt", { flags: constants.RENAME_NOREPLACE }); // replaces nothing
 * ```
 * @see io_uring_setup(2), io_uring_enter(2), statx(2), rename(2), fallocate(2), poll(2)
 */
export const constants = Object.freeze({
  // Request flags: `sqeFlags` of RawRing
  /** The descriptor is an index of the ring's file table. */
  IOSQE_FIXED_FILE: 1,
  /** Begins when all requests submitted before have completed; those submitted after it wait for it. */
  IOSQE_IO_DRAIN: 2,
  /** The next request begins when this one has succeeded, and is cancelled where this one fails or is short. */
  IOSQE_IO_LINK: 4,
  /** As IOSQE_IO_LINK, but a failure of this one does not end the chain. */
  IOSQE_IO_HARDLINK: 8,
  /** Goes to the kernel's workers at once, without an attempt that does not block. */
  IOSQE_ASYNC: 16,

  // Ring set-up flags: `options.flags` of Ring and RawRing
  /** Completions are polled for rather than signalled by interrupts: for O_DIRECT on devices that can be polled. */
  IORING_SETUP_IOPOLL: 1,
  /** A thread of the kernel takes submissions: while it is awake they need no system call. */
  IORING_SETUP_SQPOLL: 2,
  /** Too many entries become as many as there may be, instead of an error. */
  IORING_SETUP_CLAMP: 16,
  /** A request that is wrong does not end the submission of those after it. */
  IORING_SETUP_SUBMIT_ALL: 128,
  /** Completion work waits for the thread's next system call, instead of interrupting it. */
  IORING_SETUP_COOP_TASKRUN: 256,
  /** IORING_SQ_TASKRUN shows that completion work waits. */
  IORING_SETUP_TASKRUN_FLAG: 512,
  /** Submission queue entries are 128 bytes long. */
  IORING_SETUP_SQE128: 1024,
  /** Completion queue entries are 32 bytes long. */
  IORING_SETUP_CQE32: 2048,
  /** One thread submits, which the kernel relies on. Such a ring can be cloned from by its own thread only. */
  IORING_SETUP_SINGLE_ISSUER: 4096,
  /** Completion work runs only where the thread asks for completions. Needs IORING_SETUP_SINGLE_ISSUER. */
  IORING_SETUP_DEFER_TASKRUN: 8192,
  /** With IORING_SETUP_IOPOLL: sleeps for a part of the expected time before it polls. Since Linux 6.13. */
  IORING_SETUP_HYBRID_IOPOLL: 131072,

  // Ring features: `RawRing.features`
  /** Both queues are one mapping. */
  IORING_FEAT_SINGLE_MMAP: 1,
  /** Completions without room in their queue are kept, not dropped. */
  IORING_FEAT_NODROP: 2,
  /** What a request points to, besides its buffers, may change once it is submitted. */
  IORING_FEAT_SUBMIT_STABLE: 4,
  /** A position of -1 is the file's own. */
  IORING_FEAT_RW_CUR_POS: 8,
  /** A request has the credentials of the task that submits it. */
  IORING_FEAT_CUR_PERSONALITY: 16,
  /** Waiting for a descriptor that can be polled takes no worker thread. */
  IORING_FEAT_FAST_POLL: 32,
  /** Poll masks have 32 bits. */
  IORING_FEAT_POLL_32BITS: 64,
  /** With IORING_SETUP_SQPOLL, requests may use descriptors that are not registered. */
  IORING_FEAT_SQPOLL_NONFIXED: 128,
  /** Waits may have a time limit (IORING_ENTER_EXT_ARG). */
  IORING_FEAT_EXT_ARG: 256,
  /** The kernel's workers are threads of the process. */
  IORING_FEAT_NATIVE_WORKERS: 512,
  /** Registered buffers and files can be updated and have tags. */
  IORING_FEAT_RSRC_TAGS: 1024,
  /** Requests may skip their completion (IOSQE_CQE_SKIP_SUCCESS). */
  IORING_FEAT_CQE_SKIP: 2048,
  /** A request in a chain looks its file up when its turn comes, not before. */
  IORING_FEAT_LINKED_FILE: 4096,
  /** io_uring_register(2) takes a registered ring descriptor. Since Linux 6.3. */
  IORING_FEAT_REG_REG_RING: 8192,
  /** One send or receive may use several provided buffers. Since Linux 6.10. */
  IORING_FEAT_RECVSEND_BUNDLE: 16384,
  /** Waits for several completions may have a shortest time as well. Since Linux 6.12. */
  IORING_FEAT_MIN_TIMEOUT: 32768,
  /** Reads and writes may have attributes. Since Linux 6.14. */
  IORING_FEAT_RW_ATTR: 65536,
  /** Waiting may be left out of the time accounted as I/O wait (IORING_ENTER_NO_IOWAIT). Since Linux 6.15. */
  IORING_FEAT_NO_IOWAIT: 131072,

  // Completion flags: `RawRing.forEachCompletion`
  /** The request will post more completions: this is not its last. */
  IORING_CQE_F_MORE: 2,

  // Descriptors: `RawRing.updateFiles`
  /** In place of a descriptor: leaves the entry alone. */
  IORING_REGISTER_FILES_SKIP: -2,

  // splice(2): `options.flags` of `Ring.splice`
  /** Move pages rather than copy them, where that can be. */
  SPLICE_F_MOVE: 1,
  /** Do not wait for the pipe. */
  SPLICE_F_NONBLOCK: 2,
  /** More is to come in a later splice. */
  SPLICE_F_MORE: 4,

  // statx(2), unlinkat(2): `options.flags` of `Ring.statx` and `Ring.unlink`
  /** Is about a symbolic link itself, not about what it leads to. */
  AT_SYMLINK_NOFOLLOW: 0x100,
  /** Remove an empty folder, as rmdir(2) does. */
  AT_REMOVEDIR: 0x200,
  /** Do not mount what would be mounted on demand. */
  AT_NO_AUTOMOUNT: 0x800,
  /** An empty path is the descriptor itself. */
  AT_EMPTY_PATH: 0x1000,
  /** Ask the server of a remote file system, even if that takes a while. */
  AT_STATX_FORCE_SYNC: 0x2000,
  /** Take what the kernel knows, even if it is out of date. */
  AT_STATX_DONT_SYNC: 0x4000,

  // statx(2): `options.mask` of `Ring.statx`, and `Statx.mask`
  /** The file type of `mode`. */
  STATX_TYPE: 1,
  /** The permissions of `mode`. */
  STATX_MODE: 2,
  /** `nlink`. */
  STATX_NLINK: 4,
  /** `uid`. */
  STATX_UID: 8,
  /** `gid`. */
  STATX_GID: 0x10,
  /** `atimeNs`. */
  STATX_ATIME: 0x20,
  /** `mtimeNs`. */
  STATX_MTIME: 0x40,
  /** `ctimeNs`. */
  STATX_CTIME: 0x80,
  /** `ino`. */
  STATX_INO: 0x100,
  /** `size`. */
  STATX_SIZE: 0x200,
  /** `blocks`. */
  STATX_BLOCKS: 0x400,
  /** All of the above, as stat(2) tells them. */
  STATX_BASIC_STATS: 0x7ff,
  /** `btimeNs`. */
  STATX_BTIME: 0x800,
  /** `mntId`. */
  STATX_MNT_ID: 0x1000,
  /** `dioMemAlign` and `dioOffsetAlign`. Since Linux 6.1. */
  STATX_DIOALIGN: 0x2000,
  /** `mntId`, as a number that is never used again. Since Linux 6.8. */
  STATX_MNT_ID_UNIQUE: 0x4000,

  // statx(2): `Statx.attributes` and `Statx.attributesMask`
  /** The file system compresses the file. */
  STATX_ATTR_COMPRESSED: 4,
  /** The file cannot be changed, removed or renamed. */
  STATX_ATTR_IMMUTABLE: 0x10,
  /** The file can only be appended to. */
  STATX_ATTR_APPEND: 0x20,
  /** Back-ups leave the file out. */
  STATX_ATTR_NODUMP: 0x40,
  /** The file system encrypts the file. */
  STATX_ATTR_ENCRYPTED: 0x800,
  /** Something is mounted here on demand. */
  STATX_ATTR_AUTOMOUNT: 0x1000,
  /** The root of a mount. */
  STATX_ATTR_MOUNT_ROOT: 0x2000,
  /** fs-verity checks the file when it is read. */
  STATX_ATTR_VERITY: 0x100000,
  /** The file is accessed without the page cache (DAX). */
  STATX_ATTR_DAX: 0x200000,

  // rename(2): `options.flags` of `Ring.rename`
  /** Fail with EEXIST if there is a file at the new path. */
  RENAME_NOREPLACE: 1,
  /** Exchange the two. */
  RENAME_EXCHANGE: 2,
  /** Leave a whiteout at the old path, for overlayfs. */
  RENAME_WHITEOUT: 4,

  // fallocate(2): `options.mode` of `Ring.fallocate`
  /** Do not change the size of the file. */
  FALLOC_FL_KEEP_SIZE: 1,
  /** Make the range a hole. Needs FALLOC_FL_KEEP_SIZE. */
  FALLOC_FL_PUNCH_HOLE: 2,
  /** Remove the range: what follows moves up. */
  FALLOC_FL_COLLAPSE_RANGE: 8,
  /** Fill the range with zeros. */
  FALLOC_FL_ZERO_RANGE: 0x10,
  /** Insert a hole: what follows moves back. */
  FALLOC_FL_INSERT_RANGE: 0x20,
  /** Give the range blocks of its own, where it shares them with another file. */
  FALLOC_FL_UNSHARE_RANGE: 0x40,

  // poll(2): `events` of `Ring.poll`, and what that resolves to
  /** There is something to read. */
  POLLIN: 1,
  /** There is urgent or exceptional data. */
  POLLPRI: 2,
  /** There is room to write. */
  POLLOUT: 4,
  /** An error; of a pipe, that nobody reads it. Always told. */
  POLLERR: 8,
  /** The other end is closed. Always told. */
  POLLHUP: 0x10,
  /** Not open. Always told. */
  POLLNVAL: 0x20,
  /** The other end of a stream socket will write no more. */
  POLLRDHUP: 0x2000,
} as const);
