/** What this machine's io_uring supports, found by trying. */

import { process } from "../base/globals.ts";
import { readProc } from "../base/machine.ts";
import { refusing } from "../errors/refusal.ts";
import { UringError } from "../errors/uring-error.ts";
import { constants } from "./constants.ts";
import { cloneAbility, clonesOf, isConclusive, kernel } from "./kernel.ts";
import { type Memlock, memlock } from "./memlock.ts";

/** What `probe()` returns: plain data. */
export interface Probe {
  /** Whether a ring can be created. */
  readonly available: boolean;
  /** Why a ring cannot be created, as in the error: what failed and how, and what to do about it. */
  readonly reason:
    | (Pick<UringError, "code" | "syscall" | "message"> & { readonly hint: string | undefined })
    | undefined;
  /** The kernel's release, "6.12.9". Show it to people, but rely on the other properties for what works. */
  readonly kernel: string;
  /**
   * The library in use. Undefined if rings cannot be created. Before liburing 2.4 the version is read from the file's
   * name, if that contains one.
   */
  readonly liburing: { readonly version: string | undefined; readonly path: string } | undefined;
  /** The IORING_FEAT_* that the kernel has, by name without the prefix. */
  readonly features: readonly string[];
  /** The IORING_OP_* that the kernel has, by name without the prefix. */
  readonly opcodes: readonly string[];
  /** What io_uring_clone_buffers(3) can do. */
  readonly clone: {
    /** Whole tables. Linux 6.12+. */
    readonly whole: boolean;
    /** Offsets and counts. Linux 6.13+. */
    readonly ranges: boolean;
    /** IORING_REGISTER_DST_REPLACE. Linux 6.13+. */
    readonly replace: boolean;
    /**
     * Whether IORING_REGISTER_DST_REPLACE leaves the entries after its range alone. `RawRing.cloneBuffers` does so in
     * any case.
     */
    readonly replaceKeepsTail: boolean;
  };
  /**
   * The limit on locked memory, which pools count against. `limitBytes`: the limit in bytes, Infinity without one.
   * `unlimited`: whether it does not apply to this process, as for root. `pinnedBytes`: what this process has pinned
   * now, as far as the kernel counts it.
   */
  readonly memlock: Memlock;
  /** The sysctl kernel.io_uring_disabled: 0 allows all processes, 1 a group, 2 none. Undefined before Linux 6.6. */
  readonly ioUringDisabled: number | undefined;
  /** The process's seccomp mode: 0 none, 1 strict, 2 filtered. */
  readonly seccomp: number;
}

/** IORING_OP_* up to Linux 7.1, by number and without the prefix. */
export const opcodeNames: readonly string[] = (
  "NOP READV WRITEV FSYNC READ_FIXED WRITE_FIXED POLL_ADD POLL_REMOVE SYNC_FILE_RANGE SENDMSG RECVMSG TIMEOUT TIMEOUT_REMOVE ACCEPT " +
  "ASYNC_CANCEL LINK_TIMEOUT CONNECT FALLOCATE OPENAT CLOSE FILES_UPDATE STATX READ WRITE FADVISE MADVISE SEND RECV OPENAT2 EPOLL_CTL SPLICE " +
  "PROVIDE_BUFFERS REMOVE_BUFFERS TEE SHUTDOWN RENAMEAT UNLINKAT MKDIRAT SYMLINKAT LINKAT MSG_RING FSETXATTR SETXATTR FGETXATTR GETXATTR SOCKET " +
  "URING_CMD SEND_ZC SENDMSG_ZC READ_MULTISHOT WAITID FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV FIXED_FD_INSTALL FTRUNCATE BIND LISTEN RECV_ZC " +
  "EPOLL_WAIT READV_FIXED WRITEV_FIXED PIPE NOP128 URING_CMD128"
).split(" ");

const feature = "IORING_FEAT_";
const featureBits = Object.entries(constants).filter(([name]) => name.startsWith(feature));

type Rings = Pick<Probe, "available" | "reason" | "liburing" | "features" | "opcodes" | "clone">;

function tryRings(): Rings {
  try {
    const { features, opcodes, liburing } = kernel();
    const { whole, ranges, replaceKeepsTail } = clonesOf(cloneAbility());
    return {
      available: true,
      reason: undefined,
      liburing: liburing(),
      features: featureBits.filter(([, bit]) => (features & bit) !== 0).map(([name]) => name.slice(feature.length)),
      opcodes: opcodeNames.filter((_, opcode) => opcodes.has(opcode)),
      clone: { whole, ranges, replace: ranges, replaceKeepsTail },
    };
  } catch (error) {
    if (!(error instanceof UringError)) throw error;
    const { code, syscall, message, hint } = error;
    return {
      available: false,
      reason: { code, syscall, message, hint },
      liburing: undefined,
      features: [],
      opcodes: [],
      clone: { whole: false, ranges: false, replace: false, replaceKeepsTail: false },
    };
  }
}

type Lasting = Omit<Probe, "memlock">;

function tryAll(status: string): Lasting {
  const { ioUringDisabled, seccomp } = refusing(status);
  return { ...tryRings(), kernel: process.getBuiltinModule("node:os").release(), ioUringDisabled, seccomp };
}

let found: Lasting | undefined;

/**
 * Finds out what this machine's io_uring supports, by trying rather than by version number. Never throws: if io_uring
 * cannot be used, `reason` explains why. What cannot change while the process runs is tried only once.
 *
 * @example
 * ```ts
 * import { probe } from "bun-uring";
 *
 * const { available, reason, clone } = probe();
 * if (!available) console.error(reason?.message);
 * else console.log(clone.whole ? "buffers are cloned" : "each ring registers its buffers");
 * ```
 *
 * @see io_uring_register(2), io_uring_clone_buffers(3)
 */
export function probe(): Probe {
  const status = readProc("/proc/self/status");
  const now = found ?? tryAll(status);
  // Do not keep a result that may be temporary: there may be too few descriptors or too little memory just now.
  const passes = now.available ? !isConclusive() : ["EMFILE", "ENFILE", "ENOMEM"].includes(now.reason?.code ?? "");
  if (!passes) found = now;
  return { ...now, memlock: memlock(status) };
}
