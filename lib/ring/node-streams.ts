/**
 * Node's own ReadStream and WriteStream for a RingFile. The streams get replacements for the functions of node:fs that
 * they call.
 */
import type { ReadStream, WriteStream } from "node:fs";
import type { CreateReadStreamOptions, CreateWriteStreamOptions } from "node:fs/promises";
import { checkOptions } from "../base/arguments.ts";
import { Buffer, process } from "../base/globals.ts";

/** The functions of a file that such a stream needs. */
export interface NodeStreamedFile {
  readonly fd: number;
  read(buffer: Uint8Array, offset: number, length: number, position: unknown): Promise<number>;
  /** Writes all of the bytes. Needed because the stream of Bun 1.4.5 loses the rest after a short vectored write. */
  writeAll(bytes: Uint8Array, position: unknown): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

type Done = (error: unknown, result?: unknown, buffer?: Uint8Array) => void;

const common = ["encoding", "autoClose", "emitClose", "start", "highWaterMark", "signal"];

/** The functions of node:fs that a stream calls, implemented for this file. */
function functionsOf(file: NodeStreamedFile) {
  const writeAll = async (bytes: Uint8Array, position: unknown) => {
    await file.writeAll(bytes, position);
    return bytes.length;
  };
  const settle = (promise: Promise<unknown>, done: Done, buffer?: Uint8Array) =>
    void promise.then((result) => done(null, result, buffer), done);
  return {
    // Never called, because the file is already open, but Node requires the function.
    open: () => undefined,
    read: (_fd: number, buffer: Uint8Array, offset: number, length: number, position: unknown, done: Done) =>
      settle(file.read(buffer, offset, length, position), done, buffer),
    write: (_fd: number, buffer: Uint8Array, offset: number, length: number, position: unknown, done: Done) =>
      settle(writeAll(buffer.subarray(offset, offset + length), position), done),
    writev: (_fd: number, buffers: readonly Uint8Array[], position: unknown, done: Done) =>
      settle(writeAll(Buffer.concat(buffers), position), done),
    fsync: (_fd: number, done: Done) => settle(file.sync(), done),
    close: (_fd: number, done: Done) => settle(file.close(), done),
  };
}

function streamOf(
  method: "createReadStream" | "createWriteStream",
  file: NodeStreamedFile,
  given: unknown,
  known: readonly string[],
) {
  const options = typeof given === "string" ? { encoding: given } : (given ?? {});
  checkOptions(options, [...common, ...known]);
  const fs = process.getBuiltinModule("node:fs");
  return Reflect.apply(fs[method], fs, ["", { ...options, fd: file.fd, fs: functionsOf(file) }]);
}

/** The stream of `RingFile.createReadStream`. */
export function readStreamOf(file: NodeStreamedFile, options: CreateReadStreamOptions | null | undefined): ReadStream {
  return streamOf("createReadStream", file, options, ["end"]);
}

/** The stream of `RingFile.createWriteStream`. */
export function writeStreamOf(
  file: NodeStreamedFile,
  options: CreateWriteStreamOptions | null | undefined,
): WriteStream {
  return streamOf("createWriteStream", file, options, ["flush"]);
}
