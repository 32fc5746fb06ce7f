import { Stats } from "node:fs";
import { checkInteger, checkOptions, checkPosition, checkSignal, invalidType } from "./arguments.ts";
import { UringError } from "./errors.ts";
import * as operations from "./operations.ts";
import type { Prepared, RequestQueue, Usable } from "./request-queue.ts";
import { STATX_BASIC_STATS, STATX_BTIME, type Statx } from "./statx.ts";

/** What a ring needs of a file: its descriptor, where it is open and that ring's. */
export let descriptorOf: (file: RingFile, requests: RequestQueue, syscall: string) => number;
/** What such a request uses, until its completion: the file closes after that. */
export let usesOf: (file: RingFile) => readonly Usable[];

/** Requests that use a file's descriptor. The kernel may look it up long after they were submitted, so it may not be another's by then. */
class FileUse implements Usable {
  #pending = 0;
  #whenIdle: (() => void) | undefined;

  beginUse(): void {
    this.#pending++;
  }

  endUse(): void {
    this.#pending--;
    if (this.#pending === 0) this.#whenIdle?.();
  }

  /** Calls back when nothing uses the file: now, or once. */
  whenIdle(callback: () => void): void {
    if (this.#pending === 0) callback();
    else this.#whenIdle = callback;
  }
}

/** Arguments of `RingFile.read` and `RingFile.write`, by name. */
export interface ReadOptions<View> {
  readonly buffer?: View;
  /** In the buffer, in bytes. Default 0. */
  readonly offset?: number | null;
  /** In bytes. Default: to the buffer's end. */
  readonly length?: number | null;
  /** In the file, in bytes. Default null: its own position. */
  readonly position?: number | bigint | null;
}

/** MAX_RW_COUNT of the kernel. */
const largestPartBytes = 0x7ffff000;

function bytesOf(name: string, view: unknown): Uint8Array {
  if (!ArrayBuffer.isView(view)) throw invalidType(name, "a view of memory (a Buffer, a typed array, a DataView)", view);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function positionOf(position: unknown): number | bigint | undefined {
  if (position === undefined || position === null || position === -1 || position === -1n) return undefined;
  checkPosition("position", position, 0);
  return position;
}

/** The arguments of a read or a write, in either form. */
function transferOf(name: string, buffer: unknown, offset: unknown, length: unknown, position: unknown) {
  if (!ArrayBuffer.isView(buffer) && (buffer === undefined || (typeof buffer === "object" && buffer !== null))) {
    const options: ReadOptions<NodeJS.ArrayBufferView> = buffer ?? {};
    checkOptions(options, ["buffer", "offset", "length", "position"]);
    return rangeOf(name, options.buffer ?? Buffer.alloc(16384), options.offset, options.length, options.position);
  }
  if (typeof offset === "object" && offset !== null) {
    const options: ReadOptions<NodeJS.ArrayBufferView> = offset;
    checkOptions(options, ["offset", "length", "position"]);
    return rangeOf(name, buffer, options.offset, options.length, options.position);
  }
  return rangeOf(name, buffer, offset, length, position);
}

function rangeOf(name: string, buffer: unknown, offset: unknown, length: unknown, position: unknown) {
  const bytes = bytesOf(name, buffer);
  const from = offset ?? 0;
  checkInteger("offset", from, 0, bytes.length);
  const count = length ?? bytes.length - from;
  checkInteger("length", count, 0, bytes.length - from);
  return { buffer, bytes: bytes.subarray(from, from + count), position: positionOf(position) };
}

/** Options of whole-file methods: an encoding, or an object. */
export interface FileOptions {
  readonly encoding?: BufferEncoding | null;
  readonly signal?: AbortSignal;
}

function fileOptions(given: BufferEncoding | FileOptions | null | undefined): { encoding: BufferEncoding | undefined; signal: AbortSignal | undefined } {
  const options: FileOptions = typeof given === "string" ? { encoding: given } : (given ?? {});
  checkOptions(options, ["encoding", "signal"]);
  const { encoding, signal } = options;
  if (encoding !== undefined && encoding !== null && !Buffer.isEncoding(encoding)) throw invalidType("encoding", "an encoding's name", encoding);
  if (signal !== undefined) checkSignal(signal);
  return { encoding: encoding ?? undefined, signal };
}

function statsOf(found: Statx): Stats {
  const device = (major: number, minor: number) => (major << 8) | (minor & 0xff) | ((minor & ~0xff) << 12);
  const ms = (ns: bigint) => Number(ns / 1_000_000n) + Number(ns % 1_000_000n) / 1e6;
  return Reflect.construct(Stats, [
    device(found.devMajor, found.devMinor),
    found.mode,
    found.nlink,
    found.uid,
    found.gid,
    device(found.rdevMajor, found.rdevMinor),
    found.blksize,
    Number(found.ino),
    Number(found.size),
    Number(found.blocks),
    ms(found.atimeNs),
    ms(found.mtimeNs),
    ms(found.ctimeNs),
    ms(found.btimeNs),
  ]);
}

/**
 * A file opened by `Ring.open`. It belongs to that ring, whose close closes it.
 *
 * @example
 * ```ts
 * await using file = await ring.open("/etc/hostname");
 * const bytesRead = await ring.readFixed(file, buffer, { position: 0 });
 * ```
 */
export class RingFile implements AsyncDisposable {
  readonly #requests: RequestQueue;
  readonly #fd: number;
  readonly #entry: number;
  readonly #uses: readonly [FileUse] = [new FileUse()];
  #closing: Promise<void> | undefined;

  /** Rings make these: `Ring.open`. */
  constructor(requests: RequestQueue, fd: number, entry: number) {
    this.#requests = requests;
    this.#fd = fd;
    this.#entry = entry;
  }

  /** The descriptor; -1 once the file or its ring is closed. */
  get fd(): number {
    return this.closed ? -1 : this.#fd;
  }

  /** Whether the file or its ring was closed. */
  get closed(): boolean {
    return this.#closing !== undefined || this.#requests.closed;
  }

  /**
   * Reads into a buffer, or part of one, as FileHandle.read does. Memory of a SharedArrayBuffer is read into directly, other memory by way of a copy.
   * @param buffer - any view; default one of 16384 bytes
   * @param offset - in the buffer, in bytes, or an object with the other arguments. Default 0.
   * @param length - in bytes. Default: to the buffer's end.
   * @param position - in the file, in bytes; null, or -1: its own position, which moves on. Default null.
   * @returns how many bytes were read, which may be fewer than asked for, 0 at the file's end; and the buffer
   * @see io_uring_prep_read(3)
   */
  async read<View extends NodeJS.ArrayBufferView = Buffer>(
    buffer?: View | ReadOptions<View>,
    offset?: number | Omit<ReadOptions<View>, "buffer"> | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: View }> {
    const given = transferOf("buffer", buffer, offset, length, position);
    // FileHandle asks nobody for nothing.
    if (given.bytes.length === 0 && !this.closed) return { bytesRead: 0, buffer: given.buffer as View };
    const bytesRead = await this.#transfer("read", given.bytes, given.position);
    return { bytesRead, buffer: given.buffer as View };
  }

  /**
   * Writes a buffer, or part of one, or a string, as FileHandle.write does.
   * @param buffer - any view, or a string
   * @param offset - in the buffer, in bytes, or an object with the other arguments; for a string its position in the file
   * @param length - in bytes, default: to the buffer's end; for a string its encoding
   * @param position - in the file, in bytes; null: its own position, which moves on. Default null.
   * @returns how many bytes were written, which may be fewer than asked for; and the buffer
   * @see io_uring_prep_write(3)
   */
  async write<Data extends NodeJS.ArrayBufferView | string>(
    buffer: Data,
    offset?: number | Omit<ReadOptions<never>, "buffer"> | null,
    length?: number | BufferEncoding | null,
    position?: number | bigint | null,
  ): Promise<{ bytesWritten: number; buffer: Data }> {
    if (typeof buffer === "string") {
      if (typeof offset === "object" && offset !== null) throw invalidType("position", "a number", offset);
      const encoded = Buffer.from(buffer, typeof length === "string" ? length : "utf8");
      return { bytesWritten: await this.#transfer("write", encoded, positionOf(offset)), buffer };
    }
    if (typeof length === "string") throw invalidType("length", "a number", length);
    const given = transferOf("buffer", buffer, offset, length, position);
    if (ArrayBuffer.isView(buffer) && buffer.byteLength === 0 && !this.closed) return { bytesWritten: 0, buffer };
    return { bytesWritten: await this.#transfer("write", given.bytes, given.position), buffer };
  }

  /**
   * Reads into several buffers, one after the other, as FileHandle.readv does.
   * @param buffers - 1 to 1024 views
   * @param position - in the file, in bytes; null: its own position, which moves on. Default null.
   * @see io_uring_prep_readv(3)
   */
  async readv<Views extends readonly NodeJS.ArrayBufferView[]>(
    buffers: Views,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffers: Views }> {
    return { bytesRead: await this.#transferSeveral("read", buffers, position), buffers };
  }

  /**
   * Writes several buffers, as FileHandle.writev does. Arguments are those of readv.
   * @see io_uring_prep_writev(3)
   */
  async writev<Views extends readonly NodeJS.ArrayBufferView[]>(
    buffers: Views,
    position?: number | bigint | null,
  ): Promise<{ bytesWritten: number; buffers: Views }> {
    return { bytesWritten: await this.#transferSeveral("write", buffers, position), buffers };
  }

  /**
   * Cuts the file off, or lengthens it with zeros. Since Linux 6.9.
   * @param length - in bytes. Default 0.
   * @throws UringError EOPNOTSUPP: an older kernel
   * @see io_uring_prep_ftruncate(3)
   */
  truncate(length: number | null = 0): Promise<void> {
    return this.#run(() => operations.ftruncate(this.#descriptor("ftruncate"), length ?? 0));
  }

  /** Resolves when content and metadata are on stable storage. @see io_uring_prep_fsync(3) */
  sync(): Promise<void> {
    return this.#run(() => operations.sync("fsync", this.#descriptor("fsync")));
  }

  /** Resolves when the content, and the metadata needed to read it back, are on stable storage. @see io_uring_prep_fsync(3) */
  datasync(): Promise<void> {
    return this.#run(() => operations.sync("fdatasync", this.#descriptor("fdatasync")));
  }

  /** The file's metadata, as node:fs has it. @see io_uring_prep_statx(3) */
  async stat(): Promise<Stats> {
    return statsOf(await this.#run(() => operations.statx(this.#descriptor("statx"), STATX_BASIC_STATS | STATX_BTIME, 0)));
  }

  /**
   * All of the file from its own position on, as FileHandle.readFile has it.
   * @param options - an encoding, or an object with `encoding` and `signal`
   * @returns a Buffer; a string, where an encoding is given
   */
  readFile(options?: (FileOptions & { readonly encoding?: null }) | null): Promise<Buffer>;
  readFile(options: BufferEncoding | (FileOptions & { readonly encoding: BufferEncoding })): Promise<string>;
  async readFile(options?: BufferEncoding | FileOptions | null): Promise<Buffer | string> {
    const { encoding, signal } = fileOptions(options);
    const { size } = await this.stat();
    const parts: Uint8Array[] = [];
    // One byte more than there seems to be shows the end at once.
    for (let expected = Math.max(Number(size) + 1, 65536); ; expected = 65536) {
      const bytes = new Uint8Array(new SharedArrayBuffer(Math.min(expected, largestPartBytes)));
      const bytesRead = await this.#transfer("read", bytes, undefined, signal);
      if (bytesRead === 0) break;
      parts.push(bytes.subarray(0, bytesRead));
    }
    const content = Buffer.concat(parts);
    return encoding ? content.toString(encoding) : content;
  }

  /**
   * Writes all of the data, from the file's own position on, as FileHandle.writeFile does. It does not cut the file off.
   * @param data - a string, or any view
   * @param options - an encoding, or an object with `encoding` and `signal`
   */
  async writeFile(data: string | NodeJS.ArrayBufferView, options?: BufferEncoding | FileOptions | null): Promise<void> {
    const { encoding, signal } = fileOptions(options);
    const bytes = typeof data === "string" ? Buffer.from(data, encoding ?? "utf8") : bytesOf("data", data);
    for (let written = 0; written < bytes.length; ) {
      const part = bytes.subarray(written, written + largestPartBytes);
      const bytesWritten = await this.#transfer("write", part, undefined, signal);
      if (bytesWritten === 0) throw new UringError("EIO", "write", { message: `the file took ${written} of ${bytes.length} bytes, and no more` });
      written += bytesWritten;
    }
  }

  /** writeFile, as FileHandle has it: a file opened with "a" is appended to. */
  appendFile(...parameters: Parameters<RingFile["writeFile"]>): Promise<void> {
    return this.writeFile(...parameters);
  }

  /**
   * Closes the file as soon as no operation uses it, aborted ones included; new ones are refused at once. Again: the same promise.
   * @throws UringError EIO, ENOSPC, EDQUOT: what the file system reports on close; the descriptor is gone all the same
   * @see io_uring_prep_close(3)
   */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#closing = promise;
      this.#uses[0].whenIdle(() => resolve(this.#requests.closed ? this.#requests.close() : this.#requests.closeFile(this.#fd, this.#entry)));
    }
    return this.#closing;
  }

  /** close() */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #descriptor(syscall: string): number {
    if (this.closed) throw new UringError("EBADF", syscall, { message: "the file is closed" });
    return this.#fd;
  }

  #run<Result>(prepare: () => Prepared<Result>, signal?: AbortSignal): Promise<Result> {
    return this.#requests.run((uses) => {
      uses.push(...this.#uses);
      return prepare();
    }, signal);
  }

  /** Memory that can move is copied: out of it before a write, into it after a read. */
  async #transfer(direction: "read" | "write", bytes: Uint8Array, position: number | bigint | undefined, signal?: AbortSignal): Promise<number> {
    const moves = !(bytes.buffer instanceof SharedArrayBuffer);
    const memory = moves ? new Uint8Array(new SharedArrayBuffer(bytes.length)) : bytes;
    if (moves && direction === "write") memory.set(bytes);
    const transferred = await this.#run(() => operations.transfer(direction, this.#descriptor(direction), memory, position), signal);
    if (moves && direction === "read") bytes.set(memory.subarray(0, transferred));
    return transferred;
  }

  async #transferSeveral(direction: "read" | "write", buffers: readonly NodeJS.ArrayBufferView[], at: unknown): Promise<number> {
    operations.checkVector(buffers);
    const views = buffers.map((view, index) => bytesOf(`buffers[${index}]`, view));
    const position = positionOf(at);
    const copies = views.map((view) => (view.buffer instanceof SharedArrayBuffer ? view : new Uint8Array(new SharedArrayBuffer(view.length))));
    if (direction === "write") for (const [index, copy] of copies.entries()) if (copy !== views[index]) copy.set(views[index] ?? copy);
    const transferred = await this.#run(() => operations.vectoredTransfer(direction, this.#descriptor(`${direction}v`), copies, position));
    let left = direction === "read" ? transferred : 0;
    for (const [index, copy] of copies.entries()) {
      if (copy !== views[index]) views[index]?.set(copy.subarray(0, left));
      left = Math.max(0, left - copy.length);
    }
    return transferred;
  }

  static {
    descriptorOf = (file, requests, syscall) => {
      if (file.#requests !== requests)
        throw new UringError("EXDEV", syscall, { message: "the file belongs to another ring", hint: "Use the ring that opened it." });
      return file.#descriptor(syscall);
    };
    usesOf = (file) => file.#uses;
  }
}
