import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { checkInteger, checkSignal, readOptions } from "../base/arguments.ts";
import { Promise } from "../base/globals.ts";
import { UringError } from "../errors/uring-error.ts";
import { noMoreTaken } from "../requests/builders.ts";
import { knownSizeOf } from "../requests/descriptor.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { O_ACCMODE, O_RDONLY } from "../requests/open-flags.ts";
import { native } from "../uring/native.ts";
import { largestTransferBytes } from "../uring/transfers.ts";
import { noOptions, type OperationOptions } from "./core.ts";
import type { DurableWrites } from "./durable.ts";
import { bytesOfData, type FileData } from "./file-arguments.ts";

/** Options of `RingFile.appender`. */
export interface AppenderOptions {
  /**
   * Maximum number of bytes that wait to become durable, 1 to 2^31 - 1. A record that would exceed it is refused with
   * ENOBUFS. While nothing waits, a record may have any size. Default 16777216 (16 MiB).
   */
  readonly maxWaitingBytes?: number;
}

/** The functions and properties of a file that an appender needs. */
export interface AppendedFile {
  readonly open: Pick<OpenFile, "fd" | "path" | "flags" | "appends" | "isDirect" | "assertSeekable">;
  readonly durable: Pick<DurableWrites, "append">;
  /** Throws while a chain is being built. */
  assertNotInChain(syscall: string): void;
  datasync(): Promise<void>;
  stat(): Promise<{ readonly size: number; isFile(): boolean }>;
  /** Lets the file have another appender. */
  release(): void;
}

const SEEK_CUR = 1;

const defaultWaitingBytes = 16 * 2 ** 20;
const mostWaitingBytes = 2 ** 31 - 1;
const leastMemoryBytes = 16384;
/** Larger memory is not kept for later records. */
const mostKeptBytes = 2 ** 20;

/**
 * How many microtasks without a new record end a group. Writers that await their record usually append the next one a
 * few microtasks later: one for each async function that passes the result on.
 */
const quietMicrotasks = 8;

/** A record that was given and whose promise has not settled. */
class Waiting {
  readonly #resolve: (position: number) => void;
  readonly #reject: (reason: unknown) => void;
  #forget: (() => void) | undefined;
  /** Whether the promise was rejected by an abort. */
  aborted = false;
  /** Where it is in its group's memory. */
  offset = 0;
  length = 0;

  constructor(resolve: (position: number) => void, reject: (reason: unknown) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Rejects when the signal aborts. The signal's methods may be the program's own, and do anything. */
  heed(signal: AbortSignal): void {
    checkSignal(signal);
    throwIfAborted(signal);
    this.#forget = onAbort(signal, () => {
      this.aborted = true;
      this.#reject(reasonOf(signal));
    });
    if (this.aborted) throw reasonOf(signal);
  }

  succeed(position: number): void {
    this.#forget?.();
    this.#resolve(position);
  }

  fail(reason: unknown): void {
    this.#forget?.();
    this.#reject(reason);
  }
}

/** A part of a group that one write has written. */
interface Part {
  /** In the group's memory. */
  readonly offset: number;
  /** In the file. */
  readonly position: number;
}

const noMemory = new Uint8Array(new SharedArrayBuffer(0));

/** Records that are written together. */
class Group {
  /** Their bytes, one after the other, in memory that cannot move. Allocated with the first record. */
  memory = noMemory;
  bytes = 0;
  readonly records: Waiting[] = [];

  add(record: Waiting, content: Uint8Array): void {
    const { length } = content;
    const end = this.bytes + length;
    if (end > this.memory.length) {
      const larger = new Uint8Array(new SharedArrayBuffer(Math.max(end, 2 * this.memory.length, leastMemoryBytes)));
      larger.set(this.memory.subarray(0, this.bytes));
      this.memory = larger;
    }
    this.memory.set(content, this.bytes);
    record.offset = this.bytes;
    record.length = length;
    this.records.push(record);
    this.bytes = end;
  }

  /** Removes the records that were aborted, and moves the others together. */
  removeAborted(): void {
    if (!this.records.some(({ aborted }) => aborted)) return;
    const kept = this.records.filter(({ aborted }) => !aborted);
    this.bytes = 0;
    for (const record of kept) {
      this.memory.copyWithin(this.bytes, record.offset, record.offset + record.length);
      record.offset = this.bytes;
      this.bytes += record.length;
    }
    this.records.length = 0;
    this.records.push(...kept);
  }

  clear(): void {
    this.bytes = 0;
    this.records.length = 0;
  }
}

/**
 * Appends records to a file durably, for many writers at once: they share writes and syncs ("group commit"). Made by
 * `RingFile.appender`.
 *
 * All records that were given since the last write began, or in the same tick, become one write with one sync. Their
 * order in the file is the order of the calls. Each promise resolves once its record, and so every record before it, is
 * on stable storage.
 *
 * **After an error** the appender writes nothing any more: nobody can tell which bytes a failed sync has left in the
 * file. Exactly the records that are not known to be durable reject, and so does every later one. Those that the failed
 * write contained reject with its error; the file may contain all, some or none of their bytes, from `end` on. Those
 * that waited, and all later ones, reject with ECANCELED; the file contains nothing of them. The appender repeats
 * nothing by itself, so no record is in the file twice. To go on, close the appender, truncate the file to `end`, and
 * make another one; after EIO, open the file again and check its content first.
 *
 * **After a crash** the file contains every record whose promise had resolved, and after these possibly a part of the
 * records that were being written. A reader must be able to recognise an incomplete last record, for example by a
 * length and a checksum.
 *
 * **Other writers.** If the file was opened for appending ("a"), the kernel puts each write at the end of the file, and
 * positions are right even if other processes append too. Otherwise the appender owns the file from `end` on: what
 * others write there is overwritten. Do not write the file by other methods of the same RingFile meanwhile.
 *
 * Closing the file or its ring rejects the records that are not being written yet.
 *
 * @example
 * ```ts
 * import { Ring } from "bun-uring";
 *
 * await using ring = new Ring();
 * await using file = await ring.open("journal", "a");
 * await using journal = await file.appender();
 * const positions = await Promise.all(["one\n", "two\n", "three\n"].map((line) => journal.append(line)));
 * console.log(positions); // [ 0, 4, 8 ], with one write and one sync
 * ```
 * @see io_uring_prep_write(3), RWF_DSYNC in pwritev2(2)
 */
export class Appender implements AsyncDisposable {
  readonly #file: AppendedFile;
  readonly #maxWaitingBytes: number;
  /** The records that the next write takes. */
  #gathering = new Group();
  /** Empty, and not in use by the kernel. */
  #spare: Group | undefined;
  #waitingBytes = 0;
  /** Resolves when no record waits. Never rejects. Undefined while nothing waits. */
  #running: Promise<void> | undefined;
  #end: number;
  #failure: { readonly reason: unknown } | undefined;
  #closing: Promise<void> | undefined;

  /** Called only by `RingFile.appender`. @internal */
  constructor(file: AppendedFile, endBytes: number, maxWaitingBytes: number) {
    this.#file = file;
    this.#end = endBytes;
    this.#maxWaitingBytes = maxWaitingBytes;
  }

  /**
   * The position after the last durable record, in bytes: at first the size that the file had when the appender was
   * made. After an error, truncate the file to this before you append again.
   */
  get end(): number {
    return this.#end;
  }

  /** How many bytes were given and are neither durable nor rejected. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Whether close() has been called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * Appends a record. The call copies it, so its memory can be reused at once.
   * @param data - text, which is encoded as UTF-8, or bytes
   * @param options.signal - rejects the promise when the signal aborts. If the record is not being written yet, it will
   * not be; otherwise it may be in the file.
   * @returns the position in the file where the record begins, in bytes, once the record is on stable storage
   * @throws TypeError: an argument has the wrong type or value, or the call is an operation of a chain
   * @throws UringError EBADF: the appender, the file or its ring is closed; ENOBUFS: `maxWaitingBytes` bytes wait
   * already, so nothing of this record was taken; EIO, ENOSPC, EDQUOT, EFBIG: the record could not be written or
   * synced; ECANCELED: an earlier record failed, see `cause`, and nothing of this one was written
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("journal", "a");
   * await using journal = await file.appender();
   * const position = await journal.append(`${JSON.stringify({ paid: 100 })}\n`);
   * console.log(position, journal.end); // 0 13
   * ```
   * @see io_uring_prep_write(3), RWF_DSYNC in pwritev2(2)
   */
  append(data: FileData, options: OperationOptions = noOptions): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const record = new Waiting(resolve, reject);
    try {
      if (options !== noOptions) {
        const { signal } = readOptions(options, ["signal"]);
        if (signal !== undefined) record.heed(signal);
      }
      this.#file.assertNotInChain("append");
      // From here on nothing runs the program's code.
      const content = bytesOfData(data, undefined);
      this.#assertTakes(content.length);
      this.#gathering.add(record, content);
      this.#waitingBytes += content.length;
      this.#running ??= this.#run();
    } catch (error) {
      record.fail(error);
    }
    return promise;
  }

  /**
   * Resolves when all records given so far are durable. A program that appends without awaiting every record can await
   * this when `waitingBytes` becomes too large.
   * @throws UringError: as for append, if one of them is not durable
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("journal", "a");
   * await using journal = await file.appender({ maxWaitingBytes: 2 ** 20 });
   * const records: Promise<number>[] = [];
   * for (let number = 0; number < 100_000; number++) {
   *   if (journal.waitingBytes > 2 ** 19) await journal.flush();
   *   records.push(journal.append(`${number}\n`));
   * }
   * await Promise.all(records);
   * ```
   * @see fdatasync(2)
   */
  async flush(): Promise<void> {
    await this.append(new Uint8Array());
  }

  /**
   * Refuses further records, and resolves when all records that were given have settled. Leaves the file open. Never
   * rejects: an error rejects the records that it concerns. Further calls return the same promise.
   * @example
   * ```ts
   * import { Ring } from "bun-uring";
   *
   * await using ring = new Ring();
   * await using file = await ring.open("journal", "a");
   * const journal = await file.appender();
   * void journal.append("last words\n");
   * await journal.close();
   * console.log(await Bun.file("journal").text()); // last words
   * ```
   * @see fdatasync(2)
   */
  close(): Promise<void> {
    this.#closing ??= (this.#running ?? Promise.resolve()).then(() => this.#file.release());
    return this.#closing;
  }

  /** Calls close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertTakes(bytes: number): void {
    const { path } = this.#file.open;
    if (this.closed) throw new UringError("EBADF", "append", { message: "the appender is closed", path });
    if (this.#failure !== undefined) throw this.#notWritten(this.#failure.reason);
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > this.#maxWaitingBytes)
      throw new UringError("ENOBUFS", "append", {
        message: `${this.#waitingBytes} bytes wait already, and ${bytes} more would exceed maxWaitingBytes, ${this.#maxWaitingBytes}`,
        hint: "Await earlier records, or flush().",
        path,
      });
  }

  /** Writes group after group until no record waits. */
  async #run(): Promise<void> {
    do {
      await this.#gather();
      await this.#writeGroup();
    } while (this.#gathering.records.length > 0);
    this.#running = undefined;
  }

  /** Waits until no more records come within a few microtasks. */
  async #gather(): Promise<void> {
    const { records } = this.#gathering;
    for (let found = 0; found !== records.length; ) {
      found = records.length;
      for (let microtask = 0; microtask < quietMicrotasks; microtask++) await undefined;
    }
  }

  /** Never rejects. */
  async #writeGroup(): Promise<void> {
    const group = this.#gathering;
    this.#gathering = this.#spare ?? new Group();
    this.#spare = undefined;
    const givenBytes = group.bytes;
    group.removeAborted();
    this.#waitingBytes -= givenBytes - group.bytes;
    try {
      await this.#write(group);
    } catch (reason) {
      this.#fail(group, reason);
      return;
    }
    group.clear();
    if (group.memory.length <= mostKeptBytes) this.#spare = group;
  }

  /** Writes and syncs a group. Takes the records that are durable out of it, and resolves them. */
  async #write(group: Group): Promise<void> {
    const { memory, bytes, records } = group;
    const { open, durable } = this.#file;
    /** Where the parts that were written are in the memory, and in the file. There is one, unless a write is short. */
    const parts: Part[] = [];
    let next = this.#end;
    for (let written = 0; written < bytes; ) {
      const offset = written;
      const expected = next;
      const part = memory.subarray(offset, Math.min(bytes, offset + largestTransferBytes));
      const { bytesWritten, isDurable } = await durable.append(part, open.appends ? undefined : expected, (count) => {
        const position = open.appends ? this.#appendedAt(count, part.length, expected) : expected;
        parts.push({ offset, position });
        next = position + count;
      });
      if (bytesWritten === 0) throw noMoreTaken(written, bytes);
      written += bytesWritten;
      if (isDurable) this.#succeed(records, written, parts);
    }
    if (bytes === 0) this.#succeed(records, 0, parts); // empty records: there is nothing to write
  }

  /**
   * Where the kernel has put a write to the end of the file. It has moved the file's own position to the end of the
   * write, unless the write was short: io_uring then tries to write the rest at once, and an error of that, also one of
   * its sync, is not reported. The file's size tells whether there is more in it than was reported.
   */
  #appendedAt(count: number, length: number, expected: number): number {
    const { fd, path } = this.#file.open;
    if (count === length) return Number(native().fileSeek(fd, 0, SEEK_CUR)) - count;
    if (Number(knownSizeOf(fd)) === expected + count) return expected;
    throw new UringError("EIO", "append", {
      message: `${count} of ${length} bytes were written, and others have written to the file, so that it is not known where`,
      path,
    });
  }

  /** Resolves the records that lie within the first `durableBytes` of their group. */
  #succeed(records: Waiting[], durableBytes: number, parts: readonly Part[]): void {
    const after = records.findIndex(({ offset, length }) => offset + length > durableBytes);
    for (const record of records.splice(0, after === -1 ? records.length : after)) {
      const part = parts.findLast(({ offset }) => offset <= record.offset);
      const position = part === undefined ? this.#end : part.position + record.offset - part.offset;
      this.#end = position + record.length;
      this.#waitingBytes -= record.length;
      record.succeed(position);
    }
  }

  /** Rejects the records that are left of a group, and all that wait. Their memory is not used again. */
  #fail(group: Group, reason: unknown): void {
    this.#failure = { reason };
    const waiting = this.#gathering;
    this.#gathering = new Group();
    this.#waitingBytes = 0;
    for (const record of group.records) record.fail(reason);
    for (const record of waiting.records) record.fail(this.#notWritten(reason));
  }

  #notWritten(cause: unknown): UringError {
    return new UringError("ECANCELED", "append", {
      message: "the record was not written, because an earlier one failed",
      hint: "Close the appender, truncate the file to its `end`, and make another one.",
      path: this.#file.open.path,
      cause,
    });
  }
}

/**
 * Makes an appender. It syncs the file first: what an earlier process has left unsynced must not be lost when records
 * after it are durable. That also fails for a file without storage, where RWF_DSYNC would be ignored.
 */
export async function appenderOf(file: AppendedFile, options: AppenderOptions): Promise<Appender> {
  const { maxWaitingBytes = defaultWaitingBytes } = readOptions(options, ["maxWaitingBytes"]);
  checkInteger("options.maxWaitingBytes", maxWaitingBytes, 1, mostWaitingBytes);
  const { open } = file;
  const { path } = open;
  if ((open.flags & O_ACCMODE) === O_RDONLY)
    throw new UringError("EBADF", "appender", { message: "the file is not open for writing", path });
  open.assertSeekable("appender");
  if (open.isDirect)
    throw new UringError("EINVAL", "appender", {
      message: "the file was opened with O_DIRECT, which does not take records of any length",
      hint: "Open the file without `direct`.",
      path,
    });
  await file.datasync();
  const stats = await file.stat();
  if (!stats.isFile())
    throw new UringError("EINVAL", "appender", { message: "only a regular file has an end to append to", path });
  return new Appender(file, stats.size, maxWaitingBytes);
}
