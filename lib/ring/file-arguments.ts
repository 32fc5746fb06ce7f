/**
 * The arguments of FileHandle's methods, in all their forms: what node:fs/promises takes is taken, what it refuses is refused with its errors. Beyond that a misspelled
 * option is refused, and a position may be a bigint wherever there is one.
 */

import { checkOptions, checkPosition, checkSignal } from "../base/arguments.ts";
import { Buffer } from "../base/globals.ts";
import { bytesOfView, isSharedMemory, isUnsharedMemory, isView } from "../base/view.ts";
import { argumentRange, argumentType, argumentValue } from "../errors/node.ts";
import { largestTransferBytes } from "../uring/transfers.ts";

/** Arguments of `RingFile.read` and `RingFile.write`, by name. */
export interface ReadOptions<View> {
  /** Any view. Default, where it is read into: one of 16384 bytes. */
  readonly buffer?: View;
  /** In the buffer, in bytes. Default 0. */
  readonly offset?: number | null;
  /** In bytes. Default: to the buffer's end. */
  readonly length?: number | null;
  /** In the file, in bytes. Default null: its own position. */
  readonly position?: number | bigint | null;
}

/** Options of whole-file methods: an encoding, or an object. */
export interface FileOptions {
  /** Of text. Default: none for reading, which so gives bytes, "utf8" for writing. */
  readonly encoding?: BufferEncoding | null;
  /** Rejects the promise when aborted, with an AbortError whose cause is the signal's reason; what was read or written by then stays so. */
  readonly signal?: AbortSignal;
  /** Ignored, for the file is open; FileHandle takes it, too. */
  readonly flag?: string | number;
}

/** Options of `RingFile.writeFile` and `RingFile.appendFile`. */
export interface WriteFileOptions extends FileOptions {
  /** Resolve only when content and metadata are on stable storage, where there is one. Default false. */
  readonly flush?: boolean | null;
  /** Ignored, for the file exists; FileHandle takes it, too. */
  readonly mode?: number | string;
}

/** What writeFile takes: text, or bytes. */
export type FileData = string | NodeJS.ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

/** A part of a view, and where in the file it goes to, or comes from; undefined: at the file's own position. */
export interface Range {
  readonly bytes: Uint8Array;
  readonly position: number | bigint | undefined;
}

const views = "an instance of Buffer, TypedArray, or DataView";
const maximumPosition = 2n ** 63n - 1n;

function checkNatural(name: string, value: unknown): asserts value is number {
  if (typeof value !== "number") throw argumentType(name, "of type number", value);
  if (!Number.isInteger(value)) throw argumentRange(name, "an integer", value);
  if (value < 0 || value > Number.MAX_SAFE_INTEGER) throw argumentRange(name, `>= 0 && <= ${Number.MAX_SAFE_INTEGER}`, value);
}

function checkView(name: string, value: unknown): asserts value is NodeJS.ArrayBufferView {
  if (!isView(value)) throw argumentType(name, views, value);
}

/** One request takes no more than so much: the rest is not transferred, as it may be with any transfer. */
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

/** What a read is of; of nothing, no range. */
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
    if (given !== undefined && (typeof given !== "object" || Array.isArray(given))) throw argumentType("options", "of type object", given);
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
  if (position < -1 || position > Number.MAX_SAFE_INTEGER) throw argumentRange("position", `>= -1 && <= ${Number.MAX_SAFE_INTEGER}`, position);
  return position;
}

/** Where a write goes to, and a vectored read comes from: what is no position is the file's own, as Node documents. */
export function positionOf(position: unknown): number | bigint | undefined {
  if (typeof position === "bigint" && position !== -1n) {
    checkPosition("position", position, 0);
    return position;
  }
  return typeof position === "number" && Number.isSafeInteger(position) && position >= 0 ? position : undefined;
}

/** What is written; of an empty view, no range. */
export function writeArguments(buffer: unknown, offsetOrOptions: unknown, givenLength: unknown, givenPosition: unknown): Range | undefined {
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
  if (name?.toLowerCase() === "hex" && text.length % 2 !== 0) throw argumentValue("encoding", `is invalid for data of length ${text.length}`, encoding);
  return { bytes: Buffer.from(text, name), position: positionOf(position) };
}

/** Requires an encoding that there is; "" and "buffer" are none. */
function checkedEncoding(encoding: unknown): BufferEncoding | undefined {
  if (encoding === undefined || encoding === null || encoding === "" || encoding === "buffer") return undefined;
  if (typeof encoding !== "string" || !Buffer.isEncoding(encoding)) throw argumentValue("encoding", "is invalid encoding", encoding);
  return encoding;
}

/** The views of a vectored transfer, each as bytes. */
export function viewsOf(buffers: unknown): Uint8Array[] {
  const views: unknown[] = Array.isArray(buffers) ? Array.from(buffers) : [undefined];
  return views.map((view) => {
    if (!isView(view)) throw argumentType("buffers", "an ArrayBufferView[]", buffers);
    return bytesOfView(view);
  });
}

/** Options of whole-file methods. */
export function fileOptions(given: unknown, known: readonly string[]) {
  const options: WriteFileOptions = optionsOf(given);
  checkOptions(options, ["encoding", "signal", "flag", ...known]);
  const { encoding, signal, flush = null } = options;
  const name = checkedEncoding(encoding);
  if (signal !== undefined) checkSignal(signal);
  if (flush !== null && typeof flush !== "boolean") throw argumentType("options.flush", "of type boolean", flush);
  return { encoding: name, signal, flush: flush === true };
}

function optionsOf(given: unknown): object {
  if (given === undefined || given === null || typeof given === "function") return {};
  if (typeof given === "string") return { encoding: given };
  if (typeof given !== "object") throw argumentType("options", "one of type string or object", given);
  return given;
}

/** The bytes of what writeFile was given, or of a part of it; nothing else than text and memory has any. */
export function bytesOfData(data: unknown, encoding: BufferEncoding | undefined): Uint8Array {
  if (typeof data === "string") return Buffer.from(data, encoding);
  if (isView(data)) return bytesOfView(data);
  if (isSharedMemory(data) || isUnsharedMemory(data)) return new Uint8Array(data);
  throw argumentType("data", `of type string or ${views}`, data);
}

/** Whether it is to be written part by part. */
export function isIterable(data: unknown): data is Iterable<FileData> | AsyncIterable<FileData> {
  return typeof data === "object" && data !== null && !isView(data) && (Symbol.iterator in data || Symbol.asyncIterator in data);
}

/** The length that a file is cut off at. */
export function truncatedLength(length: unknown): number {
  if (length === undefined) return 0;
  if (typeof length !== "number") throw argumentType("len", "of type number", length);
  if (!Number.isInteger(length)) throw argumentRange("len", "an integer", length);
  const largest = Number.MAX_SAFE_INTEGER;
  if (Math.abs(length) > largest) throw argumentRange("len", `>= -${largest} && <= ${largest}`, length);
  return Math.max(0, length);
}
