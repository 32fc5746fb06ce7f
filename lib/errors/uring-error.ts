import { process } from "../base/globals.ts";
import { codeOf, errnoOf } from "./errno.ts";
import { hintFor } from "./hints.ts";

const descriptions: Record<string, string> = {
  EBADFD: "file descriptor in bad state",
  EBADMSG: "bad message, a checksum may be wrong",
  EDEADLK: "resource deadlock would occur",
  EDQUOT: "disk quota exceeded",
  EHWPOISON: "the memory has a hardware error",
  ENOLCK: "no locks available",
  ENOKEY: "required key not available",
  ENOMEDIUM: "no medium found",
  EOPNOTSUPP: "operation not supported",
  EOVERFLOW: "value too large for its range",
  ESTALE: "no longer valid",
  ETIME: "timer expired",
  EUCLEAN: "structure needs cleaning, the file system is damaged",
  EUSERS: "too many users",
};

/** Details of an error besides its errno. */
export interface UringErrorDetails {
  /** Replaces the system's text for the errno. */
  readonly message?: string;
  readonly hint?: string;
  readonly path?: string;
  readonly destination?: string;
  readonly cause?: unknown;
}

/**
 * The error of every failed system call or request, and of every use of an object that is closed, released, or does not
 * belong to the ring.
 *
 * @example
 * ```ts
 * import { RawRing, UringError } from "bun-uring";
 *
 * using source = new RawRing();
 * using ring = new RawRing();
 * try {
 *   ring.cloneBuffers(source);
 * } catch (error) {
 *   if (!(error instanceof UringError)) throw error;
 *   console.log(error.code, error.hint); // ENXIO The source ring has no registered buffers.
 * }
 * ```
 */
export class UringError extends Error {
  /** "UringError". */
  override readonly name = "UringError";
  /** The errno's name, "EBUSY". */
  readonly code: string;
  /** The errno, negative as in node:fs: -16. 0 if the code is not an errno. */
  readonly errno: number;
  /** What failed: "io_uring_clone_buffers", "read_fixed", … */
  readonly syscall: string;
  /** What to do about it, if that is known. */
  declare readonly hint?: string;
  /** The path that was passed, if any. */
  declare readonly path?: string;
  /** The second path that was passed, if any. */
  declare readonly dest?: string;

  /**
   * Only the library creates these.
   * @hidden
   */
  constructor(error: number | string, syscall: string, details: UringErrorDetails = {}) {
    const errno = typeof error === "number" ? error : errnoOf(error);
    const code = typeof error === "number" ? codeOf(error) : error;
    const text =
      details.message ??
      descriptions[code] ??
      process.getBuiltinModule("node:util").getSystemErrorMap().get(errno)?.[1] ??
      "failed";
    const hint = details.hint ?? hintFor(code, syscall);
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

/** Throws a UringError if `result`, of a system call, is a negative errno; otherwise returns it. */
export function checked(result: number, syscall: string): number {
  if (result < 0) throw new UringError(result, syscall);
  return result;
}
