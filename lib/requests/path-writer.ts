import { assert } from "../base/assert.ts";
import { Buffer } from "../base/globals.ts";
import { requestKind } from "../engines/engine.ts";
import { ECANCELED, EEXIST, ENOENT, ENOTDIR } from "../errors/errno.ts";
import { kernel } from "../uring/kernel.ts";
import { addressOf } from "../uring/native.ts";
import {
  IORING_OP_CLOSE,
  IORING_OP_FTRUNCATE,
  IORING_OP_OPENAT,
  IORING_OP_WRITE,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
} from "../uring/uapi.ts";
import { type Descriptor, describe, isForeign } from "./descriptor.ts";
import { AT_FDCWD, O_APPEND, O_CLOEXEC, O_CREAT, O_EXCL, O_TRUNC } from "./open-flags.ts";
import { Chain, Operation } from "./operation.ts";
import { type PathJob, type PathLane, PathLanes, pathError, writersSlots } from "./path-lanes.ts";
import { pathBytes, writePath } from "./path-memory.ts";
import type { RequestQueue } from "./queue.ts";
import { isServed } from "./served-mounts.ts";

/** The requests of the longest chain. */
const chainLength = 3;
/** The most writers of a ring. */
const mostWriters = 64;
/** The most that a writer writes. */
export const writerBytes = 65536;

/** A file to write by its path. One of `written`, `opened` and `failed` is called, once, unless it was aborted. */
export interface PathWrite extends PathJob {
  /** Flags for open(2), with O_CREAT and without O_EXCL: an existing file is opened without O_CREAT and O_TRUNC. */
  readonly flags: number;
  readonly mode: number;
  /** Puts the data into memory of `writerBytes`, and returns its length. */
  fill(memory: Buffer): number;
  /** Everything was written, and the file is closed. */
  written(): void;
  /**
   * The writer leaves the file to the callee, which now owns the descriptor: it is no regular file of a local file
   * system, or the write was short.
   * @param written - how many bytes have been written
   * @param rest - a copy of the others
   */
  opened(fd: number, fileEntry: number, descriptor: Descriptor, written: number, rest: Buffer): void;
}

/**
 * Whether the next file is probably new: as the last one was. Opening a file that is not there and creating one that is
 * there both cost a worker thread's time in vain.
 */
interface Guess {
  isNew: boolean;
}

/**
 * Writes small regular files by their paths, one at a time: it opens the file as it is, writes it and closes it, and if
 * the file was longer, cuts off the rest. If there is no file, it is created, written and closed by one chain, in a
 * worker thread of the kernel.
 *
 * The writer and its memory stay in use until the kernel has completed all of its requests, also if the write was
 * aborted. A descriptor that an open has returned is closed, or handed over.
 */
export class PathWriter implements PathLane<PathWrite> {
  readonly #requests: RequestQueue;
  readonly #onFree: (writer: PathWriter) => void;
  readonly #content: Buffer;
  readonly #path: Buffer;
  readonly #open: Operation;
  /** The write, and the close that the kernel begins when everything has been written. */
  readonly #write: Operation;
  readonly #close: Operation;
  /** The same requests apart, for a file that has to be cut in between. */
  readonly #writeFirst: Operation;
  readonly #truncate: Operation;
  readonly #closeLast: Operation;
  /** A chain that creates a file, writes and closes it; undefined if the writer has no entry to open it into. */
  readonly #create: Operation | undefined;
  readonly #writeNew: Operation;
  readonly #closeNew: Operation;
  readonly #guess: Guess;
  /** The chain has been tried, or the open without O_CREAT. */
  #hasTriedToCreate = false;
  #hasTriedToOpen = false;
  /** How many requests of that chain have not completed, and their results, in order. */
  #pending = 0;
  readonly #results: [opened: number, written: number, closed: number] = [0, 0, 0];
  /** Undefined if there is none, or it was aborted. */
  #job: PathWrite | undefined;
  #length = 0;
  /** The file is being closed in order to open it with O_CREAT. */
  #opensAgain = false;
  /** The open has O_CREAT and O_TRUNC, if they were asked for. */
  #creates = false;
  #descriptor: Descriptor | undefined;
  #fd = -1;
  #fileEntry = -1;
  /** The result of the write. */
  #written = 0;
  /** What went wrong first. */
  #error: { readonly errno: number; readonly syscall: string } | undefined;

  /**
   * @param slot - an entry of the registered table that only this writer uses, if there is one
   * @param guess - shared by the ring's writers
   * @param onFree - called when the writer can write another file
   */
  constructor(requests: RequestQueue, slot: number | undefined, guess: Guess, onFree: (writer: PathWriter) => void) {
    this.#requests = requests;
    this.#guess = guess;
    this.#onFree = onFree;
    const memory = new SharedArrayBuffer(writerBytes + pathBytes);
    this.#content = Buffer.from(memory, 0, writerBytes);
    this.#path = Buffer.from(memory, writerBytes, pathBytes);
    const addr = addressOf(memory);
    const operation = (fields: Partial<Operation>): Operation =>
      Object.assign(new Operation(), { memory, reject: this.#broken, ...fields });
    this.#open = operation({
      opcode: IORING_OP_OPENAT,
      fd: AT_FDCWD,
      addr: addr + writerBytes,
      kind: requestKind.open,
      complete: (res, fileEntry) => this.#opened(res, fileEntry),
    });
    const write = { opcode: IORING_OP_WRITE, addr };
    const close = { opcode: IORING_OP_CLOSE, kind: requestKind.close, complete: (res: number) => this.#closed(res) };
    this.#write = operation({ ...write, complete: (res) => this.#wrote(res) });
    this.#close = operation(close);
    const chain = new Chain();
    chain.add(this.#write);
    chain.add(this.#close);
    this.#writeFirst = operation({ ...write, complete: (res) => this.#wroteFirst(res) });
    this.#truncate = operation({ opcode: IORING_OP_FTRUNCATE, complete: (res) => this.#truncated(res) });
    this.#closeLast = operation(close);
    const creation = new Chain();
    const add = (index: number, fields: Partial<Operation>): Operation => {
      const added = operation({ complete: (res) => this.#created(index, res), ...fields });
      creation.add(added);
      return added;
    };
    const fileIndex = (slot ?? 0) + 1;
    const create = add(0, { opcode: IORING_OP_OPENAT, fd: AT_FDCWD, addr: addr + writerBytes, spliceFdIn: fileIndex });
    this.#create = slot === undefined ? undefined : create;
    this.#writeNew = add(1, { ...write, fd: slot ?? 0, flags: IOSQE_FIXED_FILE });
    const closeNew = { opcode: IORING_OP_CLOSE, fd: 0, spliceFdIn: fileIndex };
    add(2, closeNew);
    this.#closeNew = operation({ ...closeNew, complete: () => this.#closedNew() });
  }

  start(job: PathWrite): void {
    this.#requests.assertOpen("open");
    writePath(this.#path, job.path);
    this.#length = job.fill(this.#content);
    this.#job = job;
    this.#open.len = job.mode;
    const flags = isServed(job.path) ? IOSQE_ASYNC : 0;
    this.#open.flags = this.#write.flags = this.#writeFirst.flags = flags; // creating always takes a worker
    this.#writeNew.flags = IOSQE_FIXED_FILE | flags;
    this.#fd = -1;
    this.#written = 0;
    this.#error = undefined;
    this.#hasTriedToCreate = this.#hasTriedToOpen = false;
    if (this.#guess.isNew && this.#canCreate(job)) this.#startCreation(job);
    else this.#openExisting(job);
  }

  abort(job: PathJob): void {
    if (this.#job !== job) return;
    this.#job = undefined;
    // Not the truncation: new content must not be left with the rest of the old.
    for (const operation of [this.#open, this.#write, this.#writeFirst, this.#writeNew])
      this.#requests.cancelAgain(operation);
    if (this.#create !== undefined) this.#requests.cancelAgain(this.#create);
  }

  #openWith(flags: number, creates: boolean): void {
    this.#creates = creates;
    this.#open.opFlags = flags;
    this.#requests.startAgain(this.#open);
  }

  #opened(res: number, fileEntry: number): void {
    const job = this.#job;
    if ((res === ENOENT || res === ENOTDIR) && !this.#creates && this.#goesOn(job)) {
      this.#guess.isNew = true;
      if (!this.#hasTriedToCreate && this.#canCreate(job)) this.#startCreation(job);
      else this.#openWith(job.flags, true);
      return;
    }
    if (res < 0) {
      this.#notOpened(res);
      return;
    }
    this.#guess.isNew = this.#creates;
    this.#fd = res;
    this.#fileEntry = fileEntry;
    if (job === undefined) {
      this.#startClose();
      return;
    }
    const described = describe(res);
    this.#descriptor = described;
    if (described.regular && !this.#creates && isForeign(described)) {
      // Only an open with O_CREAT is refused where fs.protected_regular protects other users' files.
      this.#opensAgain = true;
      this.#startClose();
      return;
    }
    // Only the server of a FUSE file system knows a file's size.
    if (!described.regular || described.fuse) this.#handOver(job, described);
    else this.#begin(job.flags, described.sizeBytes);
  }

  #openExisting(job: PathWrite): void {
    this.#hasTriedToOpen = true;
    this.#openWith(job.flags & ~(O_CREAT | O_TRUNC), false);
  }

  /** Whether the chain does what the job asks for. If a write to the end was short, it could not be repeated. */
  #canCreate({ flags }: PathWrite): boolean {
    return this.#create !== undefined && (flags & (O_TRUNC | O_APPEND)) === O_TRUNC;
  }

  /**
   * Creates the file. With O_EXCL it is a new regular file if that succeeds, of which nothing has to be found out: one
   * worker thread carries out the whole chain.
   */
  #startCreation(job: PathWrite): void {
    const create = this.#create;
    assert(create !== undefined, "checked by #canCreate");
    this.#hasTriedToCreate = true;
    create.opFlags = (job.flags & ~(O_TRUNC | O_CLOEXEC)) | O_EXCL;
    create.len = job.mode;
    this.#writeNew.len = this.#length;
    this.#pending = 3;
    this.#requests.startAgain(create);
  }

  #created(index: number, res: number): void {
    this.#results[index] = res;
    this.#pending--;
    if (this.#pending > 0) return;
    const [opened, written, closed] = this.#results;
    if (opened >= 0) {
      this.#guess.isNew = true;
      this.#written = written;
      if (closed === ECANCELED)
        this.#requests.startAgain(this.#closeNew); // the write did not write everything
      else this.#closed(closed);
    } else this.#createOtherwise(opened);
  }

  /** The entry is closed, after a write that did not write everything. */
  #closedNew(): void {
    if (this.#written < 0) this.#closed(0);
    else this.#createOtherwise(ECANCELED);
  }

  /**
   * There is a file, or a symbolic link that leads nowhere, or only a part was written. An ordinary open creates or
   * truncates the file, or has the error that the caller expects.
   */
  #createOtherwise(errno: number): void {
    this.#written = 0;
    const job = this.#job;
    if (this.#goesOn(job)) {
      if (errno === EEXIST && !this.#hasTriedToOpen) this.#openExisting(job);
      else this.#openWith(job.flags, true);
    } else this.#notOpened(errno);
  }

  /** Whether the file may be opened in another way. A ring that is closing makes no more files. */
  #goesOn(job: PathWrite | undefined): job is PathWrite {
    return job !== undefined && !this.#requests.closed;
  }

  #notOpened(errno: number): void {
    this.#error = { errno: this.#requests.closed ? ECANCELED : errno, syscall: "open" };
    this.#report();
  }

  #begin(flags: number, sizeBytes: number): void {
    const truncates = (flags & O_TRUNC) !== 0 && !this.#creates;
    // Truncating an empty file to 0 sets its times, as O_TRUNC does.
    if (truncates && (sizeBytes > this.#length || this.#length === 0)) this.#startWrite(this.#writeFirst, flags);
    else if (this.#length > 0) this.#startWrite(this.#write, flags);
    else this.#startClose();
  }

  #startWrite(write: Operation, flags: number): void {
    write.fd = this.#close.fd = this.#fd;
    write.len = this.#length;
    // Not the file's own position: the kernel may not move it if the write is short.
    write.off = (flags & O_APPEND) === 0 ? 0 : -1;
    this.#close.fileEntry = this.#fileEntry;
    this.#requests.startAgain(write);
  }

  /** The completion of the close comes next. */
  #wrote(res: number): void {
    this.#written = res;
  }

  #wroteFirst(res: number): void {
    this.#written = res;
    const isAborted = this.#job === undefined && res > 0;
    if (res < this.#length && !isAborted) {
      this.#closed(ECANCELED);
      return;
    }
    this.#truncate.fd = this.#fd;
    this.#truncate.off = res;
    this.#requests.startAgain(this.#truncate);
  }

  #truncated(res: number): void {
    if (res < 0) this.#error = { errno: res, syscall: "ftruncate" };
    this.#startClose();
  }

  #startClose(): void {
    this.#closeLast.fd = this.#fd;
    this.#closeLast.fileEntry = this.#fileEntry;
    this.#requests.startAgain(this.#closeLast);
  }

  /** The close has completed. -ECANCELED: the write did not write everything, and so the file is still open. */
  #closed(res: number): void {
    const job = this.#job;
    if (this.#opensAgain) {
      this.#opensAgain = false;
      if (this.#goesOn(job)) this.#openWith(job.flags, true);
      else this.#notOpened(ECANCELED);
      return;
    }
    const isShort = this.#written < this.#length && this.#error === undefined;
    if (isShort && this.#written < 0) this.#error = { errno: this.#written, syscall: "write" };
    // Closing the ring closes the file.
    if (res !== ECANCELED || this.#requests.closed) {
      if (res < 0 && res !== ECANCELED) this.#error ??= { errno: res, syscall: "close" };
      this.#report();
    } else if (isShort && this.#written >= 0 && job !== undefined && this.#descriptor !== undefined)
      this.#handOver(job, this.#descriptor);
    else this.#startClose();
  }

  #handOver(job: PathWrite, descriptor: Descriptor): void {
    this.#job = undefined;
    const rest = Buffer.from(this.#content.subarray(this.#written, this.#length));
    job.opened(this.#fd, this.#fileEntry, descriptor, this.#written, rest);
    this.#onFree(this);
  }

  /** The kernel is done with the memory, and the file is closed, or was never open. */
  #report(): void {
    const job = this.#job;
    this.#job = undefined;
    if (job !== undefined) {
      if (this.#error === undefined) job.written();
      else job.failed(pathError(this.#error.errno, this.#error.syscall, job.path, this.#requests));
    }
    this.#onFree(this);
  }

  /** The ring is broken: nothing completes any more. */
  readonly #broken = (error: unknown): void => {
    const job = this.#job;
    this.#job = undefined;
    job?.failed(error);
    this.#onFree(this);
  };
}

/** A ring's writers. There are none if the kernel cannot truncate a file by a request, as before Linux 6.9. */
export function pathWriters(requests: RequestQueue): PathLanes<PathWrite, PathWriter> {
  const { engine } = requests;
  const canWrite = engine.longestChain >= chainLength && kernel().opcodes.has(IORING_OP_FTRUNCATE);
  const { first, count } = writersSlots(engine.files.directSlots);
  const guess: Guess = { isNew: false };
  return new PathLanes(
    requests,
    canWrite ? mostWriters : 0,
    (index, onFree) => new PathWriter(requests, index < count ? first + index : undefined, guess, onFree),
  );
}
