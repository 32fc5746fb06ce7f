/**
 * The arguments of FileHandle's methods, in all their forms. These functions accept what node:fs/promises accepts, and
 * refuse what it refuses, with the same errors. In addition, they refuse misspelled options, and accept a bigint for
 * every position.
 */

import { checkOptions, checkPosition, checkSignal, maximumPosition } from "../base/arguments.ts";
import { Buffer } from "../base/globals.ts";
import { bytesOfView, isSharedMemory, isUnsharedMemory, isView } from "../base/view.ts";
import { argumentRange, argumentType, argumentValue } from "../errors/node.ts";
import { largestTransferBytes } from "../uring/transfers.ts";

/** Named arguments of `RingFile.read` and `RingFile.write`. */
export interface ReadOptions<View> {
  /** Any view. Default for reads: a new Buffer of 16384 bytes. */
  readonly buffer?: View;
  /** Offset in the buffer, in bytes. Default 0. */
  readonly offset?: number | null;
  /** Length in bytes. Default: up to the end of the buffer. */
  readonly length?: number | null;
  /** Position in the file, in bytes. Default null: the file's own position. */
  readonly position?: number | bigint | null;
}

/** Options of the methods that read or write a whole file. */
export interface FileOptions {
  /** Encoding of text. Default for reading: none, so the result is a Buffer. Default for writing: "utf8". */
  readonly encoding?: BufferEncoding | null;
  /**
   * Rejects the promise when aborted, with an AbortError whose cause is the signal's reason. Data that was read or
   * written before the abort is not rolled back.
   */
  readonly signal?: AbortSignal | undefined;
  /** Ignored, because the file is already open. Accepted for compatibility with FileHandle. */
  readonly flag?: string | number;
}

/** Options of `RingFile.writeFile` and `RingFile.appendFile`. */
export interface WriteFileOptions extends FileOptions {
  /**
   * Resolve only when the content and metadata are on stable storage. Has no effect on a file without storage, such as
   * a pipe. Default false.
   */
  readonly flush?: boolean | null;
  /** Ignored, because the file already exists. Accepted for compatibility with FileHandle. */
  readonly mode?: number | string;
}

/** Data that writeFile accepts: text or bytes. */
export type FileData = string | NodeJS.ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

/**
 * Part of a view, and the position in the file to read it from or write it to. An undefined position means the file's
 * own position.
 */
export interface Range {
  readonly bytes: Uint8Array;
  readonly position: number | bigint | undefined;
}

const views = "an instance of Buffer, TypedArray, or DataView";

function checkNatural(name: string, value: unknown): asserts value is number {
  if (typeof value !== "number") throw argumentType(name, "of type number", value);
  if (!Number.isInteger(value)) throw argumentRange(name, "an integer", value);
  if (value < 0 || value > Number.MAX_SAFE_INTEGER)
    throw argumentRange(name, `>= 0 && <= ${Number.MAX_SAFE_INTEGER}`, value);
}

function checkView(name: string, value: unknown): asserts value is NodeJS.ArrayBufferView {
  if (!isView(value)) throw argumentType(name, views, value);
}

/** Cuts the range to what one request can transfer. Callers must expect short transfers in any case. */
function rangeOf(bytes: Uint8Array, offset: number, length: number, position: number | bigint | undefined): Range {
  return { bytes: bytes.subarray(offset, offset + Math.min(length, largestTransferBytes)), position };
}

interface Named {
  readonly buffer?: unknown;
  readonly offset?: unknown;
  readonly length?: unknown;
  readonly position?: unknown;
}

function isObject(value: unknown): value is Named {
  return typeof value === "object" && value !== null;
}

/** The buffer and the range of a read. A read of 0 bytes has no range. */
export function readArguments(
  given: unknown,
  offsetOrOptions: unknown,
  givenLength: unknown,
  givenPosition: unknown,
): { readonly buffer: unknown; readonly range: Range | undefined } {
  let buffer = given;
  let offset = offsetOrOptions;
  let length = givenLength;
  let position = givenPosition;
  if (!isView(given)) {
    if (given !== undefined && (typeof given !== "object" || Array.isArray(given)))
      throw argumentType("options", "of type object", given);
    const options: Named = given ?? {};
    checkOptions(options, ["buffer", "offset", "length", "position"]);
    ({ buffer = Buffer.alloc(16384), offset, length, position } = options);
  } else if (isObject(offsetOrOptions)) {
    checkOptions(offsetOrOptions, ["offset", "length", "position"]);
    ({ offset, length, position } = offsetOrOptions);
  }
  checkView("buffer", buffer);
  const bytes = bytesOfView(buffer);
  const from = offset ?? 0;
  checkNatural("offset", from);
  const count = length ?? bytes.length - from;
  if (typeof count !== "number") throw argumentType("length", "of type number", count);
  if (count === 0) return { buffer, range: undefined };
  if (bytes.length === 0) throw argumentValue("buffer", "is empty and cannot be written", buffer);
  if (!Number.isInteger(count)) throw argumentRange("length", "an integer", count);
  if (count < 0) throw argumentRange("length", ">= 0", count);
  if (count > bytes.length - from) throw argumentRange("length", `<= ${bytes.length - from}`, count);
  return { buffer, range: rangeOf(bytes, from, count, readPosition(position, count)) };
}

function readPosition(position: unknown, length: number): number | bigint | undefined {
  if (position === undefined || position === null || position === -1 || position === -1n) return undefined;
  if (typeof position === "bigint") {
    const largest = maximumPosition - BigInt(length);
    if (position < 0n || position > largest) throw argumentRange("position", `>= -1 and <= ${largest}`, position);
    return position;
  }
  if (typeof position !== "number") throw argumentType("position", "of type number or bigint", position);
  if (!Number.isInteger(position)) throw argumentRange("position", "an integer", position);
  if (position < -1 || position > Number.MAX_SAFE_INTEGER)
    throw argumentRange("position", `>= -1 && <= ${Number.MAX_SAFE_INTEGER}`, position);
  return position;
}

/**
 * The position of a write or a vectored read. As Node documents, a value that is not a valid position means the file's
 * own position.
 */
export function positionOf(position: unknown): number | bigint | undefined {
  if (typeof position === "bigint" && position !== -1n) {
    checkPosition("position", position, 0);
    return position;
  }
  return typeof position === "number" && Number.isSafeInteger(position) && position >= 0 ? position : undefined;
}

/** The range of a write. An empty view has no range. */
export function writeArguments(
  buffer: unknown,
  offsetOrOptions: unknown,
  givenLength: unknown,
  givenPosition: unknown,
): Range | undefined {
  if (typeof buffer === "string") return textArguments(buffer, offsetOrOptions, givenLength);
  if (!isView(buffer)) throw argumentType("buffer", `of type string or ${views}`, buffer);
  const bytes = bytesOfView(buffer);
  if (bytes.length === 0) return undefined;
  let offset = offsetOrOptions;
  let length = givenLength;
  let position = givenPosition;
  if (isObject(offsetOrOptions)) {
    checkOptions(offsetOrOptions, ["offset", "length", "position"]);
    ({ offset, length, position } = offsetOrOptions);
  }
  const from = offset ?? 0;
  checkNatural("offset", from);
  if (from > bytes.length) throw argumentRange("offset", `<= ${bytes.length}`, from);
  const count = typeof length === "number" ? length : bytes.length - from;
  if (count > bytes.length - from) throw argumentRange("length", `<= ${bytes.length - from}`, count);
  if (count < 0) throw argumentRange("length", ">= 0", count);
  if (!Number.isInteger(count)) throw argumentRange("length", "an integer", count);
  return rangeOf(bytes, from, count, positionOf(position));
}

function textArguments(text: string, position: unknown, encoding: unknown): Range {
  const name = typeof encoding === "string" ? checkedEncoding(encoding) : undefined;
  if (name?.toLowerCase() === "hex" && text.length % 2 !== 0)
    throw argumentValue("encoding", `is invalid for data of length ${text.length}`, encoding);
  return { bytes: Buffer.from(text, name), position: positionOf(position) };
}

/** Requires a known encoding. "" and "buffer" mean no encoding. */
function checkedEncoding(encoding: unknown): BufferEncoding | undefined {
  if (encoding === undefined || encoding === null || encoding === "" || encoding === "buffer") return undefined;
  if (typeof encoding !== "string" || !Buffer.isEncoding(encoding))
    throw argumentValue("encoding", "is invalid encoding", encoding);
  return encoding;
}

/** The views of a vectored transfer, each as a Uint8Array. */
export function viewsOf(buffers: unknown): Uint8Array[] {
  const views: unknown[] = Array.isArray(buffers) ? Array.from(buffers) : [undefined];
  return views.map((view) => {
    if (!isView(view)) throw argumentType("buffers", "an ArrayBufferView[]", buffers);
    return bytesOfView(view);
  });
}

/** The options of a whole-file method, checked. */
export interface CheckedFileOptions {
  readonly encoding: BufferEncoding | undefined;
  readonly signal: AbortSignal | undefined;
  readonly flag: string | number | undefined;
  readonly mode: unknown;
  readonly flush: boolean;
}

const defaults: CheckedFileOptions = {
  encoding: undefined,
  signal: undefined,
  flag: undefined,
  mode: undefined,
  flush: false,
};

/** Checks the options of a whole-file method and fills in the defaults. */
export function fileOptions(given: unknown, known: readonly string[]): CheckedFileOptions {
  if (given === undefined) return defaults;
  if (typeof given === "string") return { ...defaults, encoding: checkedEncoding(given) };
  const options: WriteFileOptions = optionsOf(given);
  checkOptions(options, ["encoding", "signal", "flag", ...known]);
  const { encoding, signal, flag, mode, flush = null } = options;
  const name = checkedEncoding(encoding);
  if (signal !== undefined) checkSignal(signal);
  if (flush !== null && typeof flush !== "boolean") throw argumentType("options.flush", "of type boolean", flush);
  return { encoding: name, signal, flag, mode, flush: flush === true };
}

const largestMode = 0o7777;

/** Permissions as Node takes them: a number, or octal digits. As open(2) does, it ignores all other bits. */
export function modeOf(mode: unknown, byDefault: number): number {
  if (mode === undefined || mode === null) return byDefault;
  if (typeof mode === "string") {
    if (!/^[0-7]+$/.test(mode))
      throw argumentValue("mode", "must be a 32-bit unsigned integer or an octal string", mode);
    return modeOf(Number.parseInt(mode, 8), byDefault);
  }
  if (typeof mode !== "number") throw argumentType("mode", "of type number", mode);
  if (!Number.isInteger(mode)) throw argumentRange("mode", "an integer", mode);
  if (mode < 0 || mode > 2 ** 32 - 1) throw argumentRange("mode", ">= 0 && <= 4294967295", mode);
  return mode & largestMode;
}

function optionsOf(given: unknown): object {
  if (given === undefined || given === null || typeof given === "function") return {};
  if (typeof given !== "object") throw argumentType("options", "one of type string or object", given);
  return given;
}

/** The bytes of the data given to writeFile, or of one part of it. Only text and memory have bytes. */
export function bytesOfData(data: unknown, encoding: BufferEncoding | undefined): Uint8Array {
  if (typeof data === "string") return Buffer.from(data, encoding);
  if (isView(data)) return bytesOfView(data);
  if (isSharedMemory(data) || isUnsharedMemory(data)) return new Uint8Array(data);
  throw argumentType("data", `of type string or ${views}`, data);
}

/** Whether the data is an iterable, which writeFile writes part by part. */
export function isIterable(data: unknown): data is Iterable<FileData> | AsyncIterable<FileData> {
  return (
    typeof data === "object" &&
    data !== null &&
    !isView(data) &&
    (Symbol.iterator in data || Symbol.asyncIterator in data)
  );
}

/** The length that `truncate` gives the file. */
export function truncatedLength(length: unknown): number {
  if (length === undefined) return 0;
  if (typeof length !== "number") throw argumentType("len", "of type number", length);
  if (!Number.isInteger(length)) throw argumentRange("len", "an integer", length);
  const largest = Number.MAX_SAFE_INTEGER;
  if (Math.abs(length) > largest) throw argumentRange("len", `>= -${largest} && <= ${largest}`, length);
  return Math.max(0, length);
}
