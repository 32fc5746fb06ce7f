/** Writes whole files by their paths, as writeFile and appendFile of node:fs/promises do. */
import { onAbort, reasonOf, throwIfAborted } from "../base/abort.ts";
import { Promise } from "../base/globals.ts";
import { aborted } from "../errors/node.ts";
import { UringError } from "../errors/uring-error.ts";
import { type Descriptor, isSeekable, knownSizeOf } from "../requests/descriptor.ts";
import { OpenFile } from "../requests/open-file.ts";
import { O_CREAT, O_DIRECT, O_EXCL, O_NONBLOCK, O_PATH, O_TRUNC, openFlags } from "../requests/open-flags.ts";
import { type PathWrite, writerBytes } from "../requests/path-writer.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { bytesOfData, type FileData, fileOptions, isIterable, modeOf } from "./file-arguments.ts";
import { changedData, flush as flushed, truncate, writeAll } from "./file-tasks.ts";
import { openFile } from "./opening.ts";
import { abortErrorOf, asIs, nodePath, type PathFiles } from "./path-files.ts";

/** Permissions of a new file, before the umask is applied. */
const defaultMode = 0o666;

export type Data = FileData | Iterable<FileData> | AsyncIterable<FileData>;

/** What a writer does not do: an open that must create the file, and transfers of other kinds. */
const unusualFlags = O_EXCL | O_DIRECT | O_NONBLOCK | O_PATH;

/** A write whose arguments were checked. */
interface Write {
  readonly path: string;
  readonly flags: number;
  readonly mode: number;
  readonly encoding: BufferEncoding | undefined;
  readonly signal: AbortSignal | undefined;
  readonly flush: boolean;
}

/** Writes a small file by a writer, and settles a promise. */
class WriteSmallFile implements PathWrite {
  lane: PathWrite["lane"] = undefined;
  isAborted = false;
  readonly path: string;
  readonly flags: number;
  readonly mode: number;
  readonly #requests: RequestQueue;
  readonly #write: Write;
  readonly #data: Uint8Array;
  /** The data's length when the program gave it. */
  readonly #length: number;
  readonly #resolve: (value?: Promise<void>) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #forget: (() => void) | undefined;

  constructor(
    files: PathFiles,
    write: Write,
    data: Uint8Array,
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
    this.#length = data.length;
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
    const { length } = this.#data;
    if (length !== this.#length) throw changedData(0, this.#length);
    memory.set(this.#data);
    return length;
  }

  written(): void {
    this.#forget?.();
    this.#resolve();
  }

  opened(fd: number, fileEntry: number, descriptor: Descriptor, written: number): void {
    this.#forget?.();
    const { path, flags } = this;
    const file = new OpenFile(fd, fileEntry, path, flags, undefined, isSeekable(fd, descriptor), descriptor);
    this.#resolve(
      this.#requests.task(() =>
        writeAndClose(this.#requests, file, this.#write, [this.#data.subarray(written)], written),
      ),
    );
  }

  failed(reason: unknown): void {
    this.#forget?.();
    // A FIFO without a reader: a worker has to open it.
    if (reason instanceof UringError && reason.code === "ENXIO")
      this.#resolve(writeByDescriptor(this.#requests, this.#write, [this.#data]));
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
    const bytes = isIterable(data) ? undefined : bytesOfData(data, encoding);
    const isSmall = bytes !== undefined && bytes.length <= writerBytes && files.writers.count > 0;
    const isUsual = (write.flags & O_CREAT) !== 0 && (write.flags & unusualFlags) === 0 && !flush;
    if (signal?.aborted === true) reject(aborted(reasonOf(signal)));
    else if (isSmall && isUsual) files.writers.start(new WriteSmallFile(files, write, bytes, resolve, reject));
    else resolve(writeByDescriptor(requests, write, isIterable(data) ? data : [data]));
  } catch (error) {
    reject(error);
  }
  return promise;
}

async function writeByDescriptor(
  requests: RequestQueue,
  write: Write,
  parts: Iterable<FileData> | AsyncIterable<FileData>,
): Promise<void> {
  const { path, flags, mode, signal } = write;
  await requests.task(async () => {
    const file = await open(requests, path, flags, mode, signal).catch((error: unknown) => {
      throw abortErrorOf(error, signal);
    });
    await writeAndClose(requests, file, write, parts, 0);
  });
}

/** @param written - how much of the content precedes the parts, and is written */
async function writeAndClose(
  requests: RequestQueue,
  file: OpenFile,
  { flags, encoding, signal, flush }: Write,
  parts: Iterable<FileData> | AsyncIterable<FileData>,
  written: number,
): Promise<void> {
  try {
    throwIfAborted(signal);
    await writeParts(requests, file, parts, encoding, signal, (flags & O_TRUNC) !== 0, written);
    if (flush) await flushed(requests, file);
  } catch (error) {
    throw abortErrorOf(error, signal);
  } finally {
    if (!requests.gone) await requests.closeFile(file.fd, file.entry);
  }
}

/**
 * Opens the file as it is if there is one. With O_CREAT or O_TRUNC, a worker thread would have to open it, and on ext4
 * closing a file that was truncated starts writing it back.
 */
async function open(
  requests: RequestQueue,
  path: string,
  flags: number,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<OpenFile> {
  const openWith = (some: number) =>
    openFile(requests, () => ({ path, flags: some, mode, direct: false, signal }), "open");
  if ((flags & O_CREAT) === 0 || (flags & O_EXCL) !== 0) return await openWith(flags & ~O_TRUNC);
  try {
    return await openWith(flags & ~(O_CREAT | O_TRUNC));
  } catch (error) {
    // ENOTDIR: for a file's name with a slash at its end, O_CREAT has another error.
    if (!(error instanceof UringError && (error.code === "ENOENT" || error.code === "ENOTDIR"))) throw error;
    return await openWith(flags);
  }
}

async function writeParts(
  requests: RequestQueue,
  file: OpenFile,
  parts: Iterable<FileData> | AsyncIterable<FileData>,
  encoding: BufferEncoding | undefined,
  signal: AbortSignal | undefined,
  truncates: boolean,
  writtenBefore: number,
): Promise<void> {
  const isCut = truncates && file.regular;
  const sizeBytes = isCut ? Number(knownSizeOf(file.fd)) : 0;
  let written = writtenBefore;
  if (isCut && file.fuse) await truncate(requests, file, 0); // its server may know another size than the kernel
  for await (const part of parts) {
    const bytes = bytesOfData(part, encoding);
    await writeAll(requests, file, bytes, signal, isCut ? written : undefined);
    written += bytes.length;
  }
  if (isCut && !file.fuse && (sizeBytes > written || written === 0)) await truncate(requests, file, written);
}
