/** Checks of the arguments that callers pass. The messages name the argument and print the value. */

/** Gives an error a code, as Node's errors have. */
export function coded<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code });
}

/** A property key that all copies of the library in a process share, since they do not know each other's classes. */
const copySymbol = Symbol.for("bun-uring.copy");

/** The value that each copy puts on its classes' prototypes under `copySymbol`. */
interface Mark {
  readonly kind: string;
  /** The copy's folder. */
  readonly folder: string;
}

/** The folder of this copy of the library. In a bundle it is the folder of the bundle. */
export const libraryFolder = import.meta.path.endsWith("/lib/base/arguments.ts")
  ? import.meta.dir.slice(0, -"/base".length)
  : import.meta.dir;

const marks = new WeakSet<Mark>();

/** Marks a class, so that other copies of the library recognise its objects too. */
export function mark(kind: string, prototype: object): void {
  const own: Mark = { kind, folder: libraryFolder };
  marks.add(own);
  Object.defineProperty(prototype, copySymbol, { value: own });
}

function isMark(value: unknown): value is Mark {
  return typeof value === "object" && value !== null && "kind" in value && "folder" in value;
}

function markOf(value: unknown): Mark | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const found: unknown = Reflect.get(value, copySymbol);
  return isMark(found) ? found : undefined;
}

/** For an object that another copy of the library made, the description that messages print. */
function ofAnotherCopy(value: unknown): string | undefined {
  const found = markOf(value);
  if (found === undefined || marks.has(found)) return undefined;
  return (
    `a ${found.kind} of another copy of bun-uring: this process has loaded ${found.folder} and ${libraryFolder}, ` +
    "whose objects cannot be mixed; have it load only one"
  );
}

/** Formats a value for a message. */
export function show(value: unknown): string {
  const foreign = ofAnotherCopy(value);
  if (foreign !== undefined) return foreign;
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value === "object" && value !== null) return `an instance of ${value.constructor?.name ?? "Object"}`;
  return String(value);
}

/** A TypeError with the code ERR_INVALID_ARG_TYPE. */
export function invalidType(name: string, expected: string, value: unknown): TypeError {
  return coded(new TypeError(`${name} must be ${expected}, not ${show(value)}`), "ERR_INVALID_ARG_TYPE");
}

/** A TypeError with the code ERR_INVALID_ARG_VALUE. */
export function invalidValue(message: string): TypeError {
  return coded(new TypeError(message), "ERR_INVALID_ARG_VALUE");
}

/** A RangeError with the code ERR_OUT_OF_RANGE. */
export function outOfRange(name: string, expected: string, value: unknown): RangeError {
  return coded(new RangeError(`${name} must be ${expected}, not ${show(value)}`), "ERR_OUT_OF_RANGE");
}

/** Requires an integer from `minimum` to `maximum`. */
export function checkInteger(name: string, value: unknown, minimum: number, maximum: number): asserts value is number {
  if (typeof value !== "number") throw invalidType(name, "a number", value);
  if (!Number.isInteger(value) || value < minimum || value > maximum)
    throw outOfRange(name, `an integer from ${minimum} to ${maximum}`, value);
}

/** The largest file position: the maximum of the kernel's loff_t. */
export const maximumPosition = 2n ** 63n - 1n;

/**
 * Requires a file position of at least `minimum`: an integer up to 2^53 - 1, or a bigint up to 2^63 - 1. -1 stands for
 * the file's own position.
 */
export function checkPosition(name: string, value: unknown, minimum: -1 | 0 | 1): asserts value is number | bigint {
  if (typeof value !== "bigint") checkInteger(name, value, minimum, Number.MAX_SAFE_INTEGER);
  else if (value < BigInt(minimum) || value > maximumPosition)
    throw outOfRange(name, `an integer from ${minimum} to ${maximumPosition}`, value);
}

/** Requires true or false. */
export function checkBoolean(name: string, value: unknown): asserts value is boolean {
  if (typeof value !== "boolean") throw invalidType(name, "true or false", value);
}

/** Requires an object with known properties only, so that a misspelled option is not silently ignored. */
export function checkOptions(options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || markOf(options) !== undefined)
    throw invalidType("options", "an object", options);
  for (const key of Object.keys(options))
    if (!known.includes(key))
      throw invalidValue(`unknown option ${show(key)}: the options here are ${known.join(", ")}`);
}

/**
 * Checks options as `checkOptions` does, and returns a copy. Each known option is read once, also one that a prototype
 * or an accessor has: an object that changes while it is read cannot say one thing to a check and another to its use.
 */
export function readOptions<Options extends object>(options: Options, known: readonly string[]): Options {
  checkOptions(options, known);
  const read: Record<string, unknown> = {};
  for (const name of known) {
    const value: unknown = Reflect.get(options, name);
    if (value !== undefined) read[name] = value;
  }
  return read as Options;
}

/**
 * Whether `value` is an AbortSignal of any class: programs replace the global one. Reading a property of a Proxy around
 * an AbortSignal throws; such a Proxy is not a signal.
 */
export function isSignal(value: unknown): value is AbortSignal {
  if (typeof value !== "object" || value === null || !("aborted" in value && "reason" in value)) return false;
  if (!("addEventListener" in value && "removeEventListener" in value)) return false;
  try {
    return (
      typeof value.aborted === "boolean" &&
      typeof value.addEventListener === "function" &&
      typeof value.removeEventListener === "function"
    );
  } catch {
    return false;
  }
}

/** Requires an AbortSignal. */
export function checkSignal(value: unknown): asserts value is AbortSignal {
  if (!isSignal(value)) throw invalidType("options.signal", "an AbortSignal", value);
}
