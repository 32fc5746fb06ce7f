/** Writes whole files by their paths, as writeFile and appendFile of node:fs/promises do. */
import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { Promise } from "../base/globals.ts";
import { ECANCELED } from "../errors/errno.ts";
import { aborted } from "../errors/node.ts";
import { UringError } from "../errors/uring-error.ts";
import { type Descriptor, describe, isForeign, isSeekable, knownSizeOf } from "../requests/descriptor.ts";
import { OpenFile } from "../requests/open-file.ts";
import {
  O_ACCMODE,
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_EXCL,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_TRUNC,
  openFlags,
} from "../requests/open-flags.ts";
import { pathError } from "../requests/path-lanes.ts";
import { type PathWrite, writerBytes } from "../requests/path-writer.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { bytesOfData, type FileData, fileOptions, isIterable, modeOf } from "./file-arguments.ts";
import { changedData, flush as flushed, truncate, writeAll } from "./file-tasks.ts";
import { openFile } from "./opening.ts";
import { abortErrorOf, asIs, defaultMode, nodePath, type PathFiles } from "./path-files.ts";

type Data = FileData | Iterable<FileData> | AsyncIterable<FileData>;

/** What a writer does not do: an open that must create the file, and transfers of other kinds. */
const unusualFlags = O_EXCL | O_DIRECT | O_DIRECTORY | O_NONBLOCK | O_PATH;

/** A write whose arguments were checked. */
interface Write {
  readonly path: string;
  readonly flags: number;
  readonly mode: number;
  readonly encoding: BufferEncoding | undefined;
  readonly signal: AbortSignal | undefined;
  readonly flush: boolean;
}

/** Data that is not an iterable, with its length when the program gave it. */
class Whole {
  readonly totalBytes: number;

  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.totalBytes = bytes.length;
  }

  /** @throws Error ERR_INVALID_STATE: the memory was detached or resized */
  unchanged(): Uint8Array {
    if (this.#bytes.length !== this.totalBytes) throw changedData(0, this.totalBytes);
    return this.#bytes;
  }
}

type Parts = Iterable<FileData> | AsyncIterable<FileData>;

/** Writes a small file by a writer, and settles a promise. */
class WriteSmallFile implements PathWrite {
  lane: PathWrite["lane"] = undefined;
  isAborted = false;
  readonly path: string;
  readonly flags: number;
  readonly mode: number;
  readonly #requests: RequestQueue;
  readonly #write: Write;
  readonly #data: Whole;
  readonly #resolve: (value?: Promise<void>) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #forget: (() => void) | undefined;

  constructor(
    files: PathFiles,
    write: Write,
    data: Whole,
    resolve: (value?: Promise<void>) => void,
    reject: (reason: unknown) => void,
  ) {
    const { path, flags, mode, signal } = write;
    this.path = path;
    this.flags = flags;
    this.mode = mode;
    this.#requests = files.requests;
    this.#write = write;
    this.#data = data;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#forget =
      signal &&
      onAbort(signal, () => {
        files.writers.abort(this);
        reject(aborted(reasonOf(signal)));
      });
  }

  fill(memory: Uint8Array): number {
    const bytes = this.#data.unchanged();
    memory.set(bytes);
    return bytes.length;
  }

  written(): void {
    this.#forget?.();
    this.#resolve();
  }

  opened(fd: number, fileEntry: number, descriptor: Descriptor, written: number, rest: Buffer): void {
    this.#forget?.();
    const { path, flags } = this;
    if (descriptor.fifo && isForeign(describe(fd))) {
      this.#resolve(this.#writeOthersFifo(fd, fileEntry, new Whole(rest)));
      return;
    }
    const file = new OpenFile(fd, fileEntry, path, flags, undefined, isSeekable(fd, descriptor), descriptor);
    this.#resolve(
      this.#requests.task(() => writeAndClose(this.#requests, file, this.#write, new Whole(rest), written)),
    );
  }

  /** Opens it again as `open` does, and writes. Until then it stays open for its reader. */
  async #writeOthersFifo(fd: number, fileEntry: number, content: Whole): Promise<void> {
    try {
      await writeByDescriptor(this.#requests, this.#write, content);
    } finally {
      if (!this.#requests.gone) await this.#requests.closeFile(fd, fileEntry);
    }
  }

  failed(reason: unknown): void {
    this.#forget?.();
    // A FIFO without a reader: a worker has to open it.
    if (reason instanceof UringError && reason.code === "ENXIO")
      this.#resolve(writeByDescriptor(this.#requests, this.#write, this.#data));
    else this.#reject(reason);
  }
}

/**
 * See `Ring.writeFile` and `Ring.appendFile`. Every error rejects the promise; nothing is thrown.
 * @param errorOf - converts the errors
 */
export function writeFileBy(
  files: PathFiles,
  path: unknown,
  data: Data,
  options: unknown,
  defaultFlag: "w" | "a",
  errorOf = asIs,
): Promise<void> {
  const { requests } = files;
  const { promise, resolve: resolveWith, reject: rejectWith } = Promise.withResolvers<void>();
  const reject = (reason: unknown) => rejectWith(errorOf(reason));
  const resolve = (value?: Promise<void>) => {
    if (value === undefined) resolveWith();
    else value.then(resolveWith, reject);
  };
  try {
    requests.assertNotInChain("writeFile");
    const given = fileOptions(options, ["mode", "flush"]);
    const { encoding, signal, flag = defaultFlag, flush } = given;
    const mode = modeOf(given.mode, defaultMode);
    const write: Write = { path: nodePath(path), flags: openFlags(flag), mode, encoding, signal, flush };
    const content = isIterable(data) ? data : new Whole(bytesOfData(data, encoding));
    const isUsual = opensAsItIs(write) && (write.flags & unusualFlags) === 0 && !flush && files.writers.count > 0;
    if (signal?.aborted === true) reject(aborted(reasonOf(signal)));
    else if (isUsual && content instanceof Whole && content.totalBytes <= writerBytes)
      files.writers.start(new WriteSmallFile(files, write, content, resolve, reject));
    else resolve(writeByDescriptor(requests, write, content));
  } catch (error) {
    reject(error);
  }
  return promise;
}

async function writeByDescriptor(requests: RequestQueue, write: Write, content: Whole | Parts): Promise<void> {
  await requests.task(async () => {
    const file = await open(requests, write).catch((error: unknown) => {
      throw abortErrorOf(error, write.signal);
    });
    await writeAndClose(requests, file, write, content, 0);
  });
}

/** @param written - how many bytes precede the content, and are written */
async function writeAndClose(
  requests: RequestQueue,
  file: OpenFile,
  write: Write,
  content: Whole | Parts,
  written: number,
): Promise<void> {
  try {
    throwIfAborted(write.signal);
    await writeContent(requests, file, write, content, written);
    if (write.flush) await flushed(requests, file);
  } catch (error) {
    throw abortErrorOf(error, write.signal);
  } finally {
    if (!requests.gone) await requests.closeFile(file.fd, file.entry);
  }
}

/** Whether the file is opened without O_TRUNC, and cut off after its new content was written from its beginning on. */
function cutsLater(flags: number): boolean {
  return (flags & O_TRUNC) !== 0 && (flags & O_APPEND) === 0 && (flags & O_ACCMODE) !== O_RDONLY;
}

/** Whether an existing file is opened without O_CREAT. A folder, and a slash at the path's end, have other errors then. */
function opensAsItIs({ path, flags }: Write): boolean {
  if ((flags & O_CREAT) === 0 || (flags & (O_EXCL | O_DIRECTORY)) !== 0 || path.endsWith("/")) return false;
  return (flags & O_ACCMODE) !== O_RDONLY && ((flags & O_TRUNC) === 0 || cutsLater(flags));
}

/**
 * Opens the file as it is if there is one. With O_CREAT or O_TRUNC, a worker thread would have to open it, and on ext4
 * closing a file that was truncated starts writing it back.
 */
async function open(requests: RequestQueue, write: Write): Promise<OpenFile> {
  const { path, flags, mode, signal } = write;
  const openWith = (some: number) =>
    openFile(requests, () => ({ path, flags: some, mode, direct: false, signal }), "open");
  if (!opensAsItIs(write)) return await openWith(cutsLater(flags) ? flags & ~O_TRUNC : flags);
  const existing = await openWith(flags & ~(O_CREAT | O_TRUNC)).catch((error: unknown) => {
    // ENOTDIR: for a file's name with a slash at its end, O_CREAT has another error.
    if (!(error instanceof UringError && (error.code === "ENOENT" || error.code === "ENOTDIR"))) throw error;
  });
  if (existing === undefined) return await openWith(flags);
  if (!isForeign(describe(existing.fd))) return existing;
  // Only an open with O_CREAT is refused where fs.protected_regular and fs.protected_fifos protect other users' files.
  // Meanwhile the file stays open: a reader of a FIFO without a writer would see the end.
  try {
    return await openWith(flags);
  } finally {
    if (!requests.gone) await requests.closeFile(existing.fd, existing.entry);
  }
}

/** Writes the content. With O_TRUNC, it then cuts off what is left of a longer old content. */
async function writeContent(
  requests: RequestQueue,
  file: OpenFile,
  { flags, encoding, signal }: Write,
  content: Whole | Parts,
  writtenBefore: number,
): Promise<void> {
  const isCut = cutsLater(flags) && file.regular;
  const sizeBytes = isCut ? Number(knownSizeOf(file.fd)) : 0;
  const isPositional = file.regular && !file.appends; // the bytes before may not have moved the file's own position
  let written = writtenBefore;
  const writePart = (bytes: Uint8Array) =>
    writeAll(requests, file, bytes, signal, isPositional ? written : undefined, (count) => {
      written += count;
    });
  if (isCut && file.fuse) await truncate(requests, file, 0); // its server may know another size than the kernel
  try {
    if (!(content instanceof Whole))
      await forEachPart(requests, file, content, async (part) => await writePart(bytesOfData(part, encoding)));
    else await writePart(content.unchanged());
  } catch (error) {
    // New content must not be left with the rest of the old. The error above matters more than one of the truncation.
    if (isCut && written > 0 && !requests.closed) await truncate(requests, file, written).catch(() => undefined);
    throw error;
  }
  if (isCut && !file.fuse && (sizeBytes > written || written === 0)) await truncate(requests, file, written);
}

async function* partsOf(parts: Parts): AsyncGenerator<FileData, void> {
  yield* parts;
}

/**
 * Like `for await`, except that it stops when the ring is closed. The program may take any time to give the next part.
 */
async function forEachPart(
  requests: RequestQueue,
  { path }: OpenFile,
  parts: Parts,
  act: (part: FileData) => Promise<void>,
): Promise<void> {
  const iterator = partsOf(parts);
  try {
    for (;;) {
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<FileData, void>>();
      const forget = requests.onClosing(() => reject(pathError(ECANCELED, "write", path, requests)));
      iterator.next().then(resolve, reject);
      const step = await promise.finally(forget);
      if (step.done === true) return;
      await act(step.value);
    }
  } catch (error) {
    const returned = iterator.return().catch(() => undefined); // as `for await` does
    if (!requests.closed) await returned;
    throw error;
  }
}
