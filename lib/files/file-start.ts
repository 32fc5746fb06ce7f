/** The start of a file, read by its path with one chain of requests. */
import { onAbort, reasonOf } from "../base/abort.ts";
import { Promise } from "../base/globals.ts";
import { describe, isSeekable } from "../requests/descriptor.ts";
import { OpenFile } from "../requests/open-file.ts";
import { O_RDONLY } from "../requests/open-flags.ts";
import type { PathRead, PathReader } from "../requests/path-reader.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { copyOf, type PathFiles } from "../ring/path-files.ts";

/** What has been read of a file. */
export interface FileStart {
  /** Valid until `release` is called. */
  readonly content: Buffer;
  /** If there is more: the file, open at the position after the content. It belongs to the callee. */
  readonly file: OpenFile | undefined;
  /** Gives the content's memory back. */
  release(): void;
}

/** Settles a promise. */
class StartRead implements PathRead {
  lane: PathRead["lane"] = undefined;
  isAborted = false;
  readonly path: string;
  readonly flags: number;
  readonly mode = 0;
  readonly #files: PathFiles;
  readonly #resolve: (start: FileStart) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #forget: (() => void) | undefined;

  constructor(
    files: PathFiles,
    path: string,
    flags: number,
    signal: AbortSignal | undefined,
    resolve: (start: FileStart) => void,
    reject: (reason: unknown) => void,
  ) {
    this.path = path;
    this.flags = O_RDONLY | flags;
    this.#files = files;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#forget =
      signal &&
      onAbort(signal, () => {
        files.readers.abort(this);
        reject(reasonOf(signal));
      });
  }

  /** Keeps the reader if it may, so that the content need not be copied. */
  whole(reader: PathReader, length: number): boolean {
    this.#forget?.();
    const { readers } = this.#files;
    const isKept = readers.keep();
    const content = isKept ? reader.content.subarray(0, length) : copyOf(reader.content, length);
    this.#resolve({ content, file: undefined, release: () => isKept && readers.free(reader) });
    return isKept;
  }

  beginning({ content }: PathReader, length: number, fd: number, fileEntry: number): void {
    this.#forget?.();
    const descriptor = describe(fd);
    const isSeekableFile = isSeekable(fd, descriptor);
    const file = new OpenFile(fd, fileEntry, this.path, this.flags, undefined, isSeekableFile, descriptor);
    this.#resolve({ content: copyOf(content, length), file, release: () => undefined });
  }

  failed(reason: unknown): void {
    this.#forget?.();
    this.#reject(reason);
  }
}

/**
 * Reads the start of a file: up to 64 KiB, and most often all of it. The caller must call `release`, and close the file
 * if there is one. The ring must have readers.
 * @param flags - more flags for open(2)
 */
export function readStart(
  files: PathFiles,
  path: string,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<FileStart> {
  const { promise, resolve, reject } = Promise.withResolvers<FileStart>();
  const read = new StartRead(files, path, flags, signal, resolve, reject);
  if (signal?.aborted === true) read.failed(reasonOf(signal));
  else files.readers.start(read);
  return promise;
}

/**
 * Closes a file when no request uses it any more. If the ring is closed by then, the ring has closed the file. Works
 * within a task of the ring.
 */
export async function closeWhenIdle(requests: RequestQueue, file: OpenFile): Promise<void> {
  file.closing = true;
  const { promise, resolve } = Promise.withResolvers<void>();
  file.whenIdle(resolve);
  await promise;
  if (!requests.gone) await requests.closeFile(file.fd, file.entry);
}
