/** Whole files by their paths, for the methods of Ring that are named for those of node:fs/promises. */
import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { Buffer, Promise } from "../base/globals.ts";
import { pathText } from "../base/path.ts";
import { aborted, argumentValue } from "../errors/node.ts";
import { describe, isSeekable, knownSizeOf } from "../requests/descriptor.ts";
import { OpenFile } from "../requests/open-file.ts";
import { O_DIRECT, O_NONBLOCK, O_PATH, openFlags } from "../requests/open-flags.ts";
import { type PathRead, type PathReader, pathReaders } from "../requests/path-reader.ts";
import { pathWriters } from "../requests/path-writer.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { fileOptions } from "./file-arguments.ts";
import { openFile } from "./opening.ts";
import { largestBufferBytes, readWhole } from "./whole-file.ts";

/** Permissions of a new file, before the umask is applied. */
export const defaultMode = 0o666;

/** Converts a path as node:fs does. */
export function nodePath(path: unknown): string {
  const text = pathText(path);
  if (text.includes("\0")) throw argumentValue("path", "must be a string, Uint8Array, or URL without null bytes", path);
  return text;
}

/** The first bytes of a reader's content, as an ordinary Buffer of that size. */
export function copyOf(content: Buffer, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  content.copy(copy, 0, 0, length);
  return copy;
}

/** A read of a whole file, whatever its size. One of `whole`, `read` and `failed` is called, once, unless it is aborted. */
export abstract class ContentRead implements PathRead {
  lane: PathRead["lane"] = undefined;
  isAborted = false;
  readonly path: string;
  readonly flags: number;
  readonly mode = defaultMode;
  /** Aborts what comes after the beginning. */
  readonly signal: AbortSignal | undefined;
  readonly #files: PathFiles;

  constructor(files: PathFiles, path: string, flags: number, signal: AbortSignal | undefined) {
    this.#files = files;
    this.path = path;
    this.flags = flags;
    this.signal = signal;
  }

  /** Starts the read. Errors go to `failed`. */
  start(): void {
    this.#files.start(this);
  }

  beginning({ content }: PathReader, length: number, fd: number, fileEntry: number): void {
    this.#files.readOn(this, content.subarray(0, length), fd, fileEntry);
  }

  /** The content may not be larger. */
  get mostBytes(): number {
    return largestBufferBytes();
  }

  abstract whole(reader: PathReader, length: number): boolean;
  /** The whole content has been read into memory of its own. */
  abstract read(content: Buffer): void;
  abstract failed(reason: unknown): void;
}

/** Settles a promise. */
class ReadFile extends ContentRead {
  readonly #encoding: BufferEncoding | undefined;
  readonly #resolve: (content: Buffer | string) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #forget: (() => void) | undefined;

  constructor(
    files: PathFiles,
    path: string,
    flags: number,
    encoding: BufferEncoding | undefined,
    signal: AbortSignal | undefined,
    resolve: (content: Buffer | string) => void,
    reject: (reason: unknown) => void,
  ) {
    super(files, path, flags, signal);
    this.#encoding = encoding;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#forget =
      signal &&
      onAbort(signal, () => {
        files.readers.abort(this);
        reject(aborted(reasonOf(signal)));
      });
  }

  whole({ content }: PathReader, length: number): boolean {
    if (this.#encoding === undefined) this.read(copyOf(content, length));
    else this.#settle(content.toString(this.#encoding, 0, length));
    return false;
  }

  read(content: Buffer): void {
    this.#settle(this.#encoding === undefined ? content : content.toString(this.#encoding));
  }

  failed(reason: unknown): void {
    this.#forget?.();
    this.#reject(reason);
  }

  #settle(content: Buffer | string): void {
    this.#forget?.();
    this.#resolve(content);
  }
}

export function asIs(reason: unknown): unknown {
  return reason;
}

/** What a ring does with files by their paths. */
export class PathFiles {
  readonly requests: RequestQueue;
  readonly readers: ReturnType<typeof pathReaders>;
  readonly writers: ReturnType<typeof pathWriters>;

  constructor(requests: RequestQueue) {
    this.requests = requests;
    this.readers = pathReaders(requests);
    this.writers = pathWriters(requests);
  }

  /**
   * See `Ring.readFile`. Every error rejects the promise; nothing is thrown.
   * @param errorOf - converts the errors
   */
  readFile(path: unknown, options: unknown, errorOf = asIs): Promise<Buffer | string> {
    const { promise, resolve, reject: rejectWith } = Promise.withResolvers<Buffer | string>();
    const reject = errorOf === asIs ? rejectWith : (reason: unknown) => rejectWith(errorOf(reason));
    try {
      this.requests.assertNotInChain("readFile");
      const { encoding, signal, flag = "r" } = fileOptions(options, []);
      const read = new ReadFile(this, nodePath(path), openFlags(flag), encoding, signal, resolve, reject);
      if (signal?.aborted === true) reject(aborted(reasonOf(signal)));
      else read.start();
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /** Starts a read, by a reader if one can open the file with these flags and read it. */
  start(read: ContentRead): void {
    if (this.readers.count > 0 && (read.flags & (O_DIRECT | O_NONBLOCK | O_PATH)) === 0) this.readers.start(read);
    else this.#settle(read, this.#readByDescriptor(read));
  }

  /**
   * Reads the rest of a file that a reader has begun to read, and closes it.
   * @param head - what has been read. It is copied before this returns
   */
  readOn(read: ContentRead, head: Buffer, fd: number, fileEntry: number): void {
    const descriptor = describe(fd);
    const file = new OpenFile(fd, fileEntry, read.path, read.flags, undefined, isSeekable(fd, descriptor), descriptor);
    this.#settle(read, this.#readAndClose(read, file, head));
  }

  #settle(read: ContentRead, reading: Promise<Buffer>): void {
    reading.then((content) => read.read(content)).catch((error: unknown) => read.failed(error));
  }

  #readByDescriptor(read: ContentRead): Promise<Buffer> {
    return this.requests.task(async () => {
      const { path, flags, mode, signal } = read;
      const file = await openFile(this.requests, () => ({ path, flags, mode, direct: false, signal }), "open").catch(
        (error: unknown) => {
          throw abortErrorOf(error, signal);
        },
      );
      return await this.#readAndClose(read, file, Buffer.alloc(0));
    });
  }

  #readAndClose({ signal, mostBytes }: ContentRead, file: OpenFile, head: Buffer): Promise<Buffer> {
    const requests = this.requests;
    return requests.task(async () => {
      try {
        throwIfAborted(signal);
        const sizeBytes = Number(knownSizeOf(file.fd));
        // On FUSE, io_uring may read the same bytes twice, so the head counts for nothing.
        const startsAgain = file.fuse && file.seekable;
        // Other files are at that position themselves. But a request that names it needs no turn at the file's own, and
        // a file with a size has positions.
        const hasPosition = startsAgain || (file.regular && sizeBytes > 0);
        return await readWhole(requests, file, sizeBytes, {
          head: startsAgain ? undefined : head,
          position: hasPosition ? (startsAgain ? 0 : head.length) : undefined,
          largestBytes: mostBytes,
          signal,
        });
      } catch (error) {
        throw abortErrorOf(error, signal);
      } finally {
        if (!requests.gone) await requests.closeFile(file.fd, file.entry);
      }
    });
  }
}

/** The AbortError to reject with instead of the signal's reason. */
export function abortErrorOf(error: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted === true && error === reasonOf(signal) ? aborted(error) : error;
}
