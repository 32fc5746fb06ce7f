/** Errors with which node:fs rejects arguments, in Node's own words: programs written for FileHandle check for them. */
import { coded } from "../base/arguments.ts";
import { process } from "../base/globals.ts";
import { UringError } from "./uring-error.ts";

/** Formats a value as at the end of Node's messages. */
function received(value: unknown): string {
  if (value === undefined || value === null) return `${value}`;
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value === "object") return `an instance of ${value.constructor?.name ?? "Object"}`;
  return `type ${typeof value} (${shown(value)})`;
}

function shown(value: unknown): string {
  if (typeof value === "string") return `'${value.length > 28 ? `${value.slice(0, 25)}...` : value}'`;
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/**
 * A TypeError with the code ERR_INVALID_ARG_TYPE. `expected` starts with the words that Node puts before the types: "of
 * type" or "an instance of".
 */
export function argumentType(name: string, expected: string, value: unknown): TypeError {
  const kind = name.includes(".") ? "property" : "argument";
  return coded(
    new TypeError(`The "${name}" ${kind} must be ${expected}. Received ${received(value)}`),
    "ERR_INVALID_ARG_TYPE",
  );
}

/** A RangeError with the code ERR_OUT_OF_RANGE. */
export function argumentRange(name: string, expected: string, value: unknown): RangeError {
  return coded(
    new RangeError(`The value of "${name}" is out of range. It must be ${expected}. Received ${String(value)}`),
    "ERR_OUT_OF_RANGE",
  );
}

/** A TypeError with the code ERR_INVALID_ARG_VALUE. */
export function argumentValue(name: string, reason: string, value: unknown): TypeError {
  const end = typeof value === "object" ? "." : `. Received ${shown(value)}`;
  return coded(new TypeError(`The argument '${name}' ${reason}${end}`), "ERR_INVALID_ARG_VALUE");
}

/** An Error with the code ERR_INVALID_STATE: the object is in a state that does not allow the call. */
export function invalidState(why: string): Error {
  return coded(new Error(`Invalid state: ${why}`), "ERR_INVALID_STATE");
}

/** A RangeError with the code ERR_FS_FILE_TOO_LARGE. */
export function fileTooLarge(sizeBytes: number, largestBytes: number, limit = "the largest Buffer"): RangeError {
  return coded(
    new RangeError(`File size (${sizeBytes}) is greater than ${largestBytes} bytes, ${limit}`),
    "ERR_FS_FILE_TOO_LARGE",
  );
}

/**
 * The AbortError with which aborted whole-file methods reject. Its code is ABORT_ERR, and its cause is the signal's
 * reason.
 */
export function aborted(reason: unknown): Error {
  const error = new Error("The operation was aborted", { cause: reason });
  const hidden = { configurable: true, writable: true };
  return Object.defineProperties(error, {
    name: { value: "AbortError", ...hidden },
    code: { value: "ABORT_ERR", ...hidden },
  });
}

/**
 * An error of a ring as node:fs would have it: an ordinary Error with `code`, `path`, `syscall` and `errno`. Other
 * errors stay as they are.
 */
export function nodeError(error: unknown): unknown {
  if (!(error instanceof UringError) || error.errno === 0) return error;
  const { code, errno, syscall } = error;
  // node:fs names the path only in errors of system calls that take one.
  const path = syscall === "open" && error.path !== "" ? error.path?.toWellFormed() : undefined;
  const text = process.getBuiltinModule("node:util").getSystemErrorMap().get(errno)?.[1] ?? "unknown error";
  const message = `${code}: ${text}, ${syscall}${path === undefined ? "" : ` '${path}'`}`;
  return Object.assign(new Error(message), { code, ...(path === undefined ? {} : { path }), syscall, errno });
}
