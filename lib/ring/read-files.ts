/** Many whole files by their paths, as an async iterable. */
import { onAbortWhileKept, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { checkBoolean, checkInteger, checkSignal, invalidType, readOptions } from "../base/arguments.ts";
import { FinalizationRegistry, Promise } from "../base/globals.ts";
import { hold } from "../base/hold.ts";
import { ItemQueue } from "../base/item-queue.ts";
import { soon } from "../base/timers.ts";
import { fileTooLarge } from "../errors/node.ts";
import { knownSizeOf } from "../requests/descriptor.ts";
import { O_RDONLY } from "../requests/open-flags.ts";
import type { PathReader } from "../requests/path-reader.ts";
import { ContentRead, copyOf, nodePath, type PathFiles } from "./path-files.ts";

/** A file that `Ring.readFiles` has read, or why it could not be. */
export type ReadFileResult<Path extends string | URL = string | URL> =
  | { readonly path: Path; readonly bytes: Buffer; readonly error?: undefined }
  | { readonly path: Path; readonly bytes?: undefined; readonly error: NodeJS.ErrnoException };

/** Options of `Ring.readFiles`. */
export interface ReadFilesOptions {
  /** The most files that are open or waiting for the program at a time, 1 to 64. Default 64. */
  readonly concurrency?: number;
  /** Yield the files in the order of their paths. Otherwise a file that is ready overtakes slower ones. Default true. */
  readonly ordered?: boolean;
  /**
   * A file larger than this is yielded with an error, ERR_FS_FILE_TOO_LARGE. Files up to 64 KiB are read into memory
   * that is used again, larger ones into memory of their own, so the iteration needs up to `concurrency` × `maxBytes`.
   * Default 16 MiB.
   */
  readonly maxBytes?: number;
  /** Ends the iteration with the signal's reason when the signal aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** One file of the iteration: from the moment it is started until the program asks for the file after it. */
class Entry extends ContentRead {
  readonly given: string | URL;
  readonly #iteration: Iteration;
  result: ReadFileResult | undefined;
  /** The reader that holds the content. */
  #kept: PathReader | undefined;

  constructor(files: PathFiles, path: string, given: string | URL, iteration: Iteration) {
    super(files, path, O_RDONLY | iteration.flags, iteration.stop.signal);
    this.given = given;
    this.#iteration = iteration;
  }

  override get mostBytes(): number {
    return this.#iteration.maxBytes;
  }

  override beginning(reader: PathReader, length: number, fd: number, fileEntry: number): void {
    if (length <= this.mostBytes) {
      super.beginning(reader, length, fd, fileEntry);
      return;
    }
    const sizeBytes = Math.max(length, Number(knownSizeOf(fd)));
    this.#iteration.files.requests.closeUnseen(fd, fileEntry);
    this.failed(fileTooLarge(sizeBytes, this.mostBytes, "options.maxBytes"));
  }

  whole(reader: PathReader, length: number): boolean {
    const { content } = reader;
    if (length > this.mostBytes) this.failed(fileTooLarge(length, this.mostBytes, "options.maxBytes"));
    else if (!this.#iteration.files.readers.keep()) this.read(copyOf(content, length));
    else {
      this.#kept = reader;
      this.#iteration.kept.add(reader);
      this.read(content.subarray(0, length));
      return true;
    }
    return false;
  }

  read(bytes: Buffer): void {
    this.#settle({ path: this.given, bytes });
  }

  failed(reason: unknown): void {
    this.#settle({ path: this.given, error: reason instanceof Error ? reason : new Error(String(reason)) });
  }

  /** Gives the content's memory back. */
  release(): void {
    const reader = this.#kept;
    this.#kept = undefined;
    if (reader === undefined) return;
    this.#iteration.kept.delete(reader);
    this.#iteration.files.readers.free(reader);
  }

  #settle(result: ReadFileResult): void {
    this.result = result;
    this.#iteration.settled(this);
  }
}

/** The paths, as the program gave them. */
type Paths = Iterable<string | URL> | AsyncIterable<string | URL>;
type Source = Iterator<string | URL> | AsyncIterator<string | URL>;

function isAsync(paths: Paths): paths is AsyncIterable<string | URL> {
  return Symbol.asyncIterator in paths;
}

/** A call of `next` that has not settled. */
interface Next {
  resolve(result: IteratorResult<ReadFileResult, undefined>): void;
  reject(reason: unknown): void;
}

const finished = { done: true, value: undefined } as const;

/** Gives back what a dropped iteration still keeps. */
const dropped = new FinalizationRegistry<{
  readonly lanes: PathFiles["readers"];
  readonly readers: ReadonlySet<PathReader>;
}>(({ lanes, readers }) => {
  for (const reader of readers) lanes.free(reader);
});
hold(dropped); // on a reload `bun --hot` drops this module, but iterations may still be alive

/**
 * Reads files ahead of the program, up to `concurrency` of them. An entry counts from its start until the program asks
 * for the one after it. New ones are started when half of them are done with: started together, they share a system
 * call.
 *
 * The paths' iterator is the program's code, which may do anything, so it runs only in `next`, or in a microtask.
 */
class Iteration implements AsyncIterableIterator<ReadFileResult, undefined>, AsyncDisposable {
  readonly files: PathFiles;
  readonly maxBytes: number;
  /** More flags for the opens. */
  readonly flags: number;
  readonly stop = new Stop();
  /** Referenced so that the ring is not closed as dropped. */
  readonly ring: object;
  readonly #source: Source;
  readonly #isAsync: boolean;
  readonly #concurrency: number;
  readonly #ordered: boolean;
  readonly #forget: (() => void) | undefined;
  readonly #abort: () => void;
  /** The readers that hold the content of entries. */
  readonly kept = new Set<PathReader>();
  /** The entries that count. */
  readonly #open = new Set<Entry>();
  /** The entries to yield: in order, if `#ordered`, otherwise those that have settled. */
  readonly #queue = new ItemQueue<Entry>();
  readonly #nexts = new ItemQueue<Next>();
  /** The entry that was yielded last. */
  #current: Entry | undefined;
  #isFilling = false;
  /** The source has no more paths. */
  #exhausted = false;
  /** What to throw when all entries have been yielded. */
  #failure: { readonly reason: unknown } | undefined;
  #ended = false;
  #serving = false;

  constructor(ring: object, files: PathFiles, paths: Paths, options: ReadFilesOptions, flags: number) {
    const given = readOptions(options, ["concurrency", "ordered", "maxBytes", "signal"]);
    const { concurrency = 64, ordered = true, maxBytes = 2 ** 24, signal } = given;
    checkInteger("options.concurrency", concurrency, 1, 64);
    checkBoolean("options.ordered", ordered);
    checkInteger("options.maxBytes", maxBytes, 0, Number.MAX_SAFE_INTEGER);
    if (signal !== undefined) checkSignal(signal);
    if (typeof paths !== "object" || paths === null || !(Symbol.iterator in paths || Symbol.asyncIterator in paths))
      throw invalidType("paths", "an iterable of paths", paths);
    throwIfAborted(signal);
    this.ring = ring;
    this.flags = flags;
    this.files = files;
    this.maxBytes = maxBytes;
    this.#concurrency = concurrency;
    this.#ordered = ordered;
    this.#isAsync = isAsync(paths);
    this.#source = isAsync(paths) ? paths[Symbol.asyncIterator]() : paths[Symbol.iterator]();
    this.#abort = () => this.#abandon(signal && reasonOf(signal));
    this.#forget = signal && onAbortWhileKept(signal, this.#abort);
    dropped.register(this, { lanes: files.readers, readers: this.kept });
  }

  next(): Promise<IteratorResult<ReadFileResult, undefined>> {
    const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<ReadFileResult, undefined>>();
    if (this.#nexts.size === 0) this.#releaseCurrent();
    this.#nexts.push({ resolve, reject });
    this.#serveSoon(); // not now: the program may call `next` again, see `#yield`
    return promise;
  }

  async return(): Promise<IteratorResult<ReadFileResult, undefined>> {
    if (!this.#ended) {
      this.#end();
      // If the source still owes a path, it may take any time, and nobody waits for that path any more.
      if (!this.#exhausted && this.#isFilling) void this.#returnSource();
      else if (!this.#exhausted) await this.#returnSource();
    }
    return finished;
  }

  async #returnSource(): Promise<void> {
    await this.#source.return?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Called by an entry when it has a result. May run while completions are settled. */
  settled(entry: Entry): void {
    if (this.#ended) {
      entry.release();
      return;
    }
    if (!this.#ordered) this.#queue.push(entry);
    if (this.#nexts.size > 0 && this.#queue.peek()?.result !== undefined) this.#serveSoon();
  }

  #serveSoon(): void {
    if (this.#serving) return;
    this.#serving = true;
    soon(() => {
      this.#serving = false;
      this.#serve();
    });
  }

  /** Answers calls of `next` as long as there is something to answer with. */
  #serve(): void {
    while (this.#nexts.size > 0) {
      this.#fill(); // runs the program's code, which may call `next`
      const next = this.#nexts.peek();
      const entry = this.#queue.peek();
      const isLast = entry === undefined && this.#open.size === 0 && this.#exhausted;
      if (next === undefined || (!this.#ended && !isLast && entry?.result === undefined)) return;
      this.#nexts.shift();
      if (this.#ended || entry?.result === undefined) this.#finish(next);
      else this.#yield(next, entry, entry.result);
    }
  }

  #yield(next: Next, entry: Entry, result: ReadFileResult): void {
    this.#queue.shift();
    this.#current = entry;
    if (this.#nexts.size === 0) {
      next.resolve({ done: false, value: result });
      return;
    }
    // The program has asked for more already, which ends the time for which the content is good.
    const { path, bytes } = result;
    next.resolve({ done: false, value: bytes === undefined ? result : { path, bytes: copyOf(bytes, bytes.length) } });
    this.#releaseCurrent();
  }

  #finish(next: Next): void {
    const failure = this.#failure;
    this.#failure = undefined;
    this.#end();
    if (failure === undefined) next.resolve(finished);
    else next.reject(failure.reason);
  }

  #releaseCurrent(): void {
    const entry = this.#current;
    this.#current = undefined;
    if (entry === undefined) return;
    this.#open.delete(entry);
    entry.release();
  }

  /** Starts entries, if enough others are done with. */
  #fill(): void {
    if (this.#isFilling || this.#ended || this.#exhausted || this.#open.size > this.#concurrency / 2) return;
    this.#isFilling = true;
    if (this.#isAsync) {
      void this.#pull();
      return;
    }
    try {
      while (!this.#ended && !this.#exhausted && this.#open.size < this.#concurrency) this.#start(this.#source.next());
    } catch (error) {
      this.#fail(error);
    }
    this.#isFilling = false;
  }

  /** The same for paths that come one by one. */
  async #pull(): Promise<void> {
    try {
      while (!this.#ended && !this.#exhausted && this.#open.size < this.#concurrency)
        this.#start(await this.#source.next());
    } catch (error) {
      this.#fail(error);
    }
    this.#isFilling = false;
    this.#serve();
  }

  #start(step: IteratorResult<string | URL> | Promise<IteratorResult<string | URL>>): void {
    if (!("done" in step || "value" in step)) throw invalidType("a step of paths", "an object with `done`", step);
    if (this.#ended) return;
    if (step.done === true) {
      this.#exhausted = true;
      return;
    }
    const given = step.value;
    try {
      const entry = new Entry(this.files, nodePath(given), given, this);
      this.#add(entry);
      entry.start();
    } catch (error) {
      const entry = new Entry(this.files, "", given, this);
      this.#add(entry);
      entry.failed(error);
    }
  }

  #add(entry: Entry): void {
    this.#open.add(entry);
    if (this.#ordered) this.#queue.push(entry);
  }

  /** Notes an error of the paths' iterator. It is thrown after the files before it. */
  #fail(reason: unknown): void {
    this.#failure = { reason };
    this.#exhausted = true;
  }

  /** Ends the iteration with an error, because the signal aborted. */
  #abandon(reason: unknown): void {
    if (this.#ended) return;
    this.#failure = { reason };
    const returns = !this.#exhausted;
    this.#end();
    if (returns) soon(() => void this.#returnSource().catch(() => undefined)); // the abort is what the program hears of
  }

  /** Aborts what is not read, and gives all memory back. */
  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#forget?.();
    this.stop.abort();
    this.#releaseCurrent();
    for (const entry of this.#open) {
      if (entry.result === undefined) this.files.readers.abort(entry);
      entry.release();
    }
    this.#open.clear();
    this.#serveSoon();
  }
}

/**
 * See `Ring.readFiles`.
 * @param flags - more flags for the opens
 */
export function readFilesOf<Path extends string | URL>(
  ring: object,
  files: PathFiles,
  paths: Iterable<Path> | AsyncIterable<Path>,
  options: ReadFilesOptions,
  flags?: number,
): AsyncIterableIterator<ReadFileResult<Path>, undefined> & AsyncDisposable;
export function readFilesOf(
  ring: object,
  files: PathFiles,
  paths: Paths,
  options: ReadFilesOptions,
  flags = 0,
): AsyncIterableIterator<ReadFileResult, undefined> & AsyncDisposable {
  return new Iteration(ring, files, paths, options, flags);
}
