/** What node:fs refuses an argument with, in its own words: programs that have been written for FileHandle look at these. */

function coded<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code });
}

/** A value as Node's messages end with it. */
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

/** A TypeError with the code ERR_INVALID_ARG_TYPE; `expected` begins with what Node says before the types, "of type" or "an instance of". */
export function argumentType(name: string, expected: string, value: unknown): TypeError {
  const kind = name.includes(".") ? "property" : "argument";
  return coded(new TypeError(`The "${name}" ${kind} must be ${expected}. Received ${received(value)}`), "ERR_INVALID_ARG_TYPE");
}

/** A RangeError with the code ERR_OUT_OF_RANGE. */
export function argumentRange(name: string, expected: string, value: unknown): RangeError {
  return coded(new RangeError(`The value of "${name}" is out of range. It must be ${expected}. Received ${String(value)}`), "ERR_OUT_OF_RANGE");
}

/** A TypeError with the code ERR_INVALID_ARG_VALUE. */
export function argumentValue(name: string, reason: string, value: unknown): TypeError {
  const end = typeof value === "object" ? "." : `. Received ${shown(value)}`;
  return coded(new TypeError(`The argument '${name}' ${reason}${end}`), "ERR_INVALID_ARG_VALUE");
}

/** What cannot be had in the state that something is in: an Error with the code ERR_INVALID_STATE. */
export function invalidState(why: string): Error {
  return coded(new Error(`Invalid state: ${why}`), "ERR_INVALID_STATE");
}

/** A file that no Buffer can hold: a RangeError with the code ERR_FS_FILE_TOO_LARGE. */
export function fileTooLarge(sizeBytes: number, largestBytes: number): RangeError {
  return coded(new RangeError(`File size (${sizeBytes}) is greater than ${largestBytes} bytes, the largest Buffer`), "ERR_FS_FILE_TOO_LARGE");
}

/** What an abort rejects whole-file methods with: an AbortError with the code ABORT_ERR, whose cause is the signal's reason. */
export function aborted(reason: unknown): Error {
  const error = coded(new Error("The operation was aborted", { cause: reason }), "ABORT_ERR");
  error.name = "AbortError";
  return error;
}
