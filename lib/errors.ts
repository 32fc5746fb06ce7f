import { constants } from "node:os";
import util from "node:util";

/** By code: node:os lists most errnos; the rest are Linux's that io_uring uses. */
const errnoByCode: ReadonlyMap<string, number> = new Map(
  [...Object.entries(constants.errno), ["EBADFD", 77] as const, ["EUSERS", 87] as const].map(([code, errno]) => [code, -errno]),
);
/** By errno; of two names for one, the kernel's. */
const codeByErrno: ReadonlyMap<number, string> = new Map([
  ...Array.from(errnoByCode, ([code, errno]) => [errno, code] as const),
  ...(["EAGAIN", "EOPNOTSUPP"] as const).map((code) => [errnoByCode.get(code) ?? 0, code] as const),
]);

const descriptions: Record<string, string> = {
  EBADFD: "file descriptor in bad state",
  EOVERFLOW: "value too large for its range",
  ESTALE: "no longer valid",
  ETIME: "timer expired",
  EUSERS: "too many users",
};

const refused =
  "The process may not use io_uring. A seccomp profile refuses it (Docker's and Kubernetes' default ones do: allow io_uring_setup, " +
  "io_uring_enter and io_uring_register), or the sysctl kernel.io_uring_disabled is 1 or 2 (set it to 0).";

/** What to do about an error, where that is known. A key is "code syscall", or a code alone for any system call. */
const hints: Record<string, string> = {
  "EPERM io_uring_setup": refused,
  "EACCES io_uring_setup": refused,
  "ENOSYS io_uring_setup": "This kernel, or the sandbox around this process, has no io_uring. Linux 6.1 or newer is needed.",
  "EINVAL io_uring_setup":
    "Either the number of entries is out of range (1 to 32768, and no more SQ than CQ entries) or this kernel does not know one of the flags.",
  "ENOMEM io_uring_setup": "Raise the limit on locked memory (ulimit -l, LimitMEMLOCK= of systemd, --ulimit memlock= of Docker).",
  "EFAULT io_uring_register_buffers": "A buffer is from 1 byte to 1 GiB long.",
  "EINVAL io_uring_register_buffers": "A table has up to 16384 buffers, and an entry that holds nothing has no tag.",
  "EBUSY io_uring_register_buffers": "The ring has buffers: unregister them first, or update the table.",
  "EBUSY io_uring_clone_buffers":
    "The destination has a buffer table, even if only a sparse one: unregister it first, or clone with `replace: true` (Linux 6.13).",
  "ENXIO io_uring_clone_buffers": "The source ring has no registered buffers.",
  "ENXIO io_uring_unregister_buffers": "The ring has no registered buffers.",
  "ENXIO io_uring_register_buffers_update": "The ring has no buffer table: register one first, sparse if need be.",
  "EBUSY io_uring_register_files": "The ring has a file table: unregister it first, or update it.",
  "EBUSY io_uring_register_files_sparse": "The ring has a file table: unregister it first, or update it.",
  "EBADF io_uring_register_files": "Each entry is an open descriptor, and not that of an io_uring, or -1.",
  "EMFILE io_uring_register_files": "A file table may not be larger than the limit of open files (ulimit -n).",
  "EMFILE io_uring_register_files_sparse": "A file table may not be larger than the limit of open files (ulimit -n).",
  "EINVAL io_uring_register_buffers_update": "The range goes past the table's end, or an entry that is to hold nothing has a tag.",
  "EINVAL io_uring_register_files_update": "The range goes past the table's end, or an entry that is to hold nothing has a tag.",
  "ENXIO io_uring_register_files_update": "The ring has no file table: register one first, sparse if need be.",
  "ENXIO io_uring_unregister_files": "The ring has no file table.",
  "EEXIST io_uring_clone_buffers": "A source ring with IORING_SETUP_SINGLE_ISSUER can be cloned from by its own thread only: clone from a plain one.",
  "EINVAL io_uring_clone_buffers":
    "Either the range does not fit (count larger than the source's table, or given as 0 beside an offset; more than 16384 entries in the destination), " +
    "or source and destination are not of one process and user, or the kernel is too old (whole clones are Linux 6.12+, ranges and `replace` 6.13+).",
  "EOVERFLOW io_uring_clone_buffers": "sourceOffset + count goes past the end of the source's table.",
  "EOPNOTSUPP io_uring_clone_buffers": "The source's descriptor is not that of an io_uring.",
  "EINVAL io_uring_register_ring_fd": "Registered ring descriptors are Linux 5.18+.",
  "EEXIST io_uring_register_ring_fd": "The ring's descriptor is registered already.",
  "EINVAL io_uring_unregister_ring_fd": "The ring's descriptor is not registered.",
};

/** What an error says beyond its errno. */
export interface UringErrorDetails {
  /** Shown instead of the system's text for the errno. */
  readonly message?: string;
  readonly hint?: string;
  readonly path?: string;
  readonly destination?: string;
  readonly cause?: unknown;
}

/**
 * Every failure of a system call or of a request, and every use of a thing that is closed, released or not the ring's own.
 *
 * @example
 * ```ts
 * try { ring.cloneBuffers(source); }
 * catch (error) { if (error instanceof UringError && error.code === "EBUSY") console.log(error.hint); else throw error; }
 * ```
 */
export class UringError extends Error {
  override readonly name = "UringError";
  /** The errno's name, "EBUSY". */
  readonly code: string;
  /** The errno, negative, as node:fs has it: -16. 0 where the code is not an errno. */
  readonly errno: number;
  /** What failed: "io_uring_clone_buffers", "read_fixed", … */
  readonly syscall: string;
  /** What to do about it, where that is known. */
  declare readonly hint?: string;
  /** The path that was given, where there was one. */
  declare readonly path?: string;
  /** The second path, where there were two. */
  declare readonly dest?: string;

  constructor(error: number | string, syscall: string, details: UringErrorDetails = {}) {
    const errno = typeof error === "number" ? error : (errnoByCode.get(error) ?? 0);
    const code = typeof error === "number" ? (codeByErrno.get(error) ?? `E${-error}`) : error;
    const text = details.message ?? descriptions[code] ?? util.getSystemErrorMap().get(errno)?.[1] ?? "failed";
    const hint = details.hint ?? hints[`${code} ${syscall}`];
    super(
      `${code}: ${text}, ${syscall}${details.path === undefined ? "" : ` '${details.path}'`}${details.destination === undefined ? "" : ` -> '${details.destination}'`}${hint === undefined ? "" : `. ${hint}`}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
    if (hint !== undefined) this.hint = hint;
    if (details.path !== undefined) this.path = details.path;
    if (details.destination !== undefined) this.dest = details.destination;
  }
}

/** Throws a system call's -errno as the UringError that it is; returns any other result. */
export function checked(result: number, syscall: string): number {
  if (result < 0) throw new UringError(result, syscall);
  return result;
}

/** For what cannot happen. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`bun-uring: broken invariant: ${message}. Please report this.`);
}
