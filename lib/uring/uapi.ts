/**
 * The numbers of `<linux/io_uring.h>` that only the library itself uses, and those of the public `constants` that it
 * uses, too.
 */
import { constants } from "./constants.ts";

export const {
  AT_EMPTY_PATH,
  IORING_CQE_F_MORE,
  IORING_REGISTER_FILES_SKIP,
  IORING_SETUP_COOP_TASKRUN,
  IORING_SETUP_CQE32,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_HYBRID_IOPOLL,
  IORING_SETUP_IOPOLL,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_SQE128,
  IORING_SETUP_SQPOLL,
  IORING_SETUP_TASKRUN_FLAG,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_DRAIN,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_DIOALIGN,
  STATX_INO,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
  STATX_SIZE,
  STATX_TYPE,
  STATX_UID,
} = constants;

// Request opcodes
export const IORING_OP_NOP = 0;
export const IORING_OP_READV = 1;
export const IORING_OP_WRITEV = 2;
export const IORING_OP_FSYNC = 3;
export const IORING_OP_READ_FIXED = 4;
export const IORING_OP_WRITE_FIXED = 5;
export const IORING_OP_POLL_ADD = 6;
export const IORING_OP_TIMEOUT = 11;
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_FALLOCATE = 17;
export const IORING_OP_OPENAT = 18;
export const IORING_OP_OPENAT2 = 28;
export const IORING_OP_CLOSE = 19;
export const IORING_OP_STATX = 21;
export const IORING_OP_READ = 22;
export const IORING_OP_WRITE = 23;
export const IORING_OP_FADVISE = 24;
export const IORING_OP_MADVISE = 25;
export const IORING_OP_SPLICE = 30;
export const IORING_OP_RENAMEAT = 35;
export const IORING_OP_UNLINKAT = 36;
export const IORING_OP_MKDIRAT = 37;
export const IORING_OP_FIXED_FD_INSTALL = 54;
export const IORING_OP_FTRUNCATE = 55;
export const IORING_OP_READV_FIXED = 60;
export const IORING_OP_WRITEV_FIXED = 61;

// Submission and completion ring flags
export const IORING_SQ_CQ_OVERFLOW = 2;
export const IORING_SQ_TASKRUN = 4;

// Register opcodes, and flags of their arguments
export const IORING_UNREGISTER_BUFFERS = 1;
export const IORING_UNREGISTER_FILES = 3;
export const IORING_REGISTER_FILES2 = 13;
export const IORING_REGISTER_FILES_UPDATE2 = 14;
export const IORING_REGISTER_BUFFERS2 = 15;
export const IORING_REGISTER_BUFFERS_UPDATE = 16;
export const IORING_REGISTER_IOWQ_MAX_WORKERS = 19;
export const IORING_RSRC_REGISTER_SPARSE = 1;
export const IORING_REGISTER_DST_REPLACE = 2;

// Flags of single requests
export const IORING_FSYNC_DATASYNC = 1;
export const IORING_TIMEOUT_ETIME_SUCCESS = 32;
export const IORING_ASYNC_CANCEL_ALL = 1;
export const IORING_ASYNC_CANCEL_ANY = 4;

/** For open_how.resolve: fail with EAGAIN if the kernel cannot resolve the path from its cache. */
export const RESOLVE_CACHED = 0x20;
