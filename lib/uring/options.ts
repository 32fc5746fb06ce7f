import { checkInteger, checkOptions, outOfRange } from "../base/arguments.ts";

/** Options of `new RawRing()`. */
export interface RawRingOptions {
  /** Submission queue entries, 1 to 32768, rounded up to a power of two. Default 64. */
  readonly entries?: number;
  /** Completion queue entries, up to 65536, rounded up to a power of two. Default: twice the submission queue's. */
  readonly cqEntries?: number;
  /**
   * IORING_SETUP_* flags. Default 0. Flags that need more than a flag (R_DISABLED, NO_MMAP, ATTACH_WQ, …) are refused.
   */
  readonly flags?: number;
  /**
   * With IORING_SETUP_SQPOLL: after how many milliseconds without work the kernel's thread sleeps. Default: the
   * kernel's, 1000.
   */
  readonly sqThreadIdleMs?: number;
}

/** Flags of `<linux/io_uring.h>` that need more than a flag. */
const refusedFlags = {
  IORING_SETUP_SQ_AFF: 4,
  IORING_SETUP_ATTACH_WQ: 32,
  IORING_SETUP_R_DISABLED: 64,
  IORING_SETUP_NO_MMAP: 16384,
  IORING_SETUP_REGISTERED_FD_ONLY: 32768,
  IORING_SETUP_NO_SQARRAY: 65536,
  IORING_SETUP_CQE_MIXED: 262144,
  IORING_SETUP_SQE_MIXED: 524288,
  IORING_SETUP_SQ_REWIND: 1048576,
};

/** Requires options that a ring can be created with, and fills in the defaults. Reads each option once. */
export function uringOptions(options: RawRingOptions): Required<RawRingOptions> {
  checkOptions(options, ["entries", "cqEntries", "flags", "sqThreadIdleMs"]);
  const { entries = 64, cqEntries, flags = 0, sqThreadIdleMs = 0 } = options;
  checkInteger("options.entries", entries, 1, 32768);
  if (cqEntries !== undefined) checkInteger("options.cqEntries", cqEntries, 1, 65536);
  checkInteger("options.flags", flags, 0, 2 ** 32 - 1);
  checkInteger("options.sqThreadIdleMs", sqThreadIdleMs, 0, 2 ** 32 - 1);
  for (const [name, flag] of Object.entries(refusedFlags))
    if ((flags & flag) !== 0) throw outOfRange("options.flags", `without ${name}, which needs more than a flag`, flags);
  return { entries, cqEntries: cqEntries ?? 0, flags, sqThreadIdleMs };
}
