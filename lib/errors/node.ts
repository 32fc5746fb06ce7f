/** Errors with which node:fs rejects arguments, in Node's own words: programs written for FileHandle check for them. */

function coded<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code });
}

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

/** A RangeError with the code ERR_FS_FILE_TOO_LARGE: the file is larger than the largest Buffer. */
export function fileTooLarge(sizeBytes: number, largestBytes: number): RangeError {
  return coded(
    new RangeError(`File size (${sizeBytes}) is greater than ${largestBytes} bytes, the largest Buffer`),
    "ERR_FS_FILE_TOO_LARGE",
  );
}

/**
 * The AbortError with which aborted whole-file methods reject. Its code is ABORT_ERR, and its cause is the signal's
 * reason.
 */
export function aborted(reason: unknown): Error {
  const error = coded(new Error("The operation was aborted", { cause: reason }), "ABORT_ERR");
  error.name = "AbortError";
  return error;
}
