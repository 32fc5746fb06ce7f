/** Copies of small files without a promise for each request. */

import { onAbort } from "../base/abort.ts";
import { Buffer, Promise } from "../base/globals.ts";
import { requestKind } from "../engines/engine.ts";
import { EAGAIN, ECANCELED, EINVAL, ENOENT, ENOTDIR } from "../errors/errno.ts";
import { UringError } from "../errors/uring-error.ts";
import { type Descriptor, describe } from "../requests/descriptor.ts";
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_WRONLY } from "../requests/open-flags.ts";
import { Chain, Operation } from "../requests/operation.ts";
import { type PathJob, type PathLane, PathLanes } from "../requests/path-lanes.ts";
import { pathBytes, writePath } from "../requests/path-memory.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { kernel } from "../uring/kernel.ts";
import { addressOf } from "../uring/native.ts";
import {
  IORING_OP_CLOSE,
  IORING_OP_FTRUNCATE,
  IORING_OP_OPENAT,
  IORING_OP_OPENAT2,
  IORING_OP_READ,
  IORING_OP_WRITE,
  RESOLVE_CACHED,
} from "../uring/uapi.ts";
import { type FileStatus, isSame, knownStatus, narrowedTo, permissionsOf, setPermissionsNow } from "./status.ts";

const ownersPermissions = 0o700;
/** The size of struct open_how. */
const howBytes = 24;

/** The largest file that is copied with one read and one write, in bytes. */
export const smallBytes = 65535;
/** One byte longer, so that a read that fills it shows that the file has grown. */
const contentBytes = smallBytes + 1;

const mostCopiers = 64;

/** A descriptor that a copier has opened. */
export interface Held {
  readonly fd: number;
  readonly fileEntry: number;
  readonly descriptor: Descriptor;
}

/** Where a copier has stopped. The descriptors belong to the callee. */
export interface Unfinished {
  readonly source?: Held | undefined;
  readonly destination?: Held | undefined;
  /** The destination's metadata before the copy. */
  readonly old?: FileStatus | undefined;
  readonly created: boolean;
  /** Bytes of the destination's old content may have been replaced. */
  readonly replaced: boolean;
  /** Undefined: the copy can be made from here in the general way, which also finds out what is wrong. */
  readonly error?: UringError | undefined;
}

/**
 * A copy to make. One of `copied`, `read`, `unfinished` and `failed` is called, once. They must not run the program's
 * code.
 */
export interface SmallCopy extends PathJob {
  /** Neither path may be empty. */
  readonly destination: string;
  /** Instead of writing the destination, give the content to `read`. */
  readonly isRead: boolean;
  /** Fail if the destination exists. */
  readonly isExclusive: boolean;
  /** More flags for both opens. */
  readonly openFlags: number;
  /** The signal has aborted: the copy is left unfinished at the next step. */
  readonly isStopped: boolean;
  /** The copy is complete and both files are closed. `length` is -1 if both paths name the same file. */
  copied(length: number): void;
  /** The source has been read and closed. The copier keeps the content until `release` is called. */
  read(content: Buffer, status: FileStatus, release: () => void): void;
  unfinished(found: Unfinished): void;
}

/**
 * Copies small regular files of local file systems, one at a time, each with one read and one write. It gives up where
 * anything is unusual, and leaves the rest to the general way. Nothing is cancelled: each step is short, so an abort
 * waits for the current one.
 *
 * The copier and its memory stay in use until the kernel has completed all of its requests.
 */
class Copier implements PathLane<SmallCopy> {
  readonly #requests: RequestQueue;
  readonly #onFree: (copier: Copier) => void;
  readonly #content: Buffer;
  readonly #paths: readonly [source: Buffer, destination: Buffer];
  readonly #how: BigUint64Array;
  readonly #openSource: Operation;
  readonly #read: Operation;
  readonly #openCached: Operation;
  readonly #create: Operation;
  readonly #closeSource: Operation;
  readonly #write: Operation;
  readonly #truncate: Operation;
  readonly #closeDestination: Operation;
  /** A write, and the close that the kernel begins when everything has been written. */
  readonly #lastWrite: Operation;
  readonly #closeWritten: Operation;
  #job: SmallCopy | undefined;
  #source: Held | undefined;
  #destination: Held | undefined;
  #status: FileStatus | undefined;
  #old: FileStatus | undefined;
  #created = false;
  #replaced = false;
  /** How many requests of the current step have not completed. */
  #pending = 0;
  /** The step after the current one. */
  #next: () => void = () => undefined;
  /** The results of the current step's requests. */
  #opened = 0;
  #readBytes = 0;
  #written = 0;
  #closeResult = 0;

  /** @param onFree - called when the copier can copy another file */
  constructor(requests: RequestQueue, onFree: (copier: Copier) => void) {
    this.#requests = requests;
    this.#onFree = onFree;
    const memory = new SharedArrayBuffer(contentBytes + 2 * pathBytes + howBytes);
    this.#content = Buffer.from(memory, 0, contentBytes);
    this.#paths = [
      Buffer.from(memory, contentBytes, pathBytes),
      Buffer.from(memory, contentBytes + pathBytes, pathBytes),
    ];
    this.#how = new BigUint64Array(memory, contentBytes + 2 * pathBytes, howBytes / 8);
    const content = addressOf(memory);
    const source = content + contentBytes;
    const destination = source + pathBytes;
    const how = destination + pathBytes;
    const operation = (fields: Partial<Operation>): Operation =>
      Object.assign(new Operation(), { memory, reject: this.#broken, ...fields });
    const open = { opcode: IORING_OP_OPENAT, fd: AT_FDCWD, kind: requestKind.open };
    this.#openSource = operation({
      ...open,
      addr: source,
      complete: (res, fileEntry) => {
        if (res >= 0) this.#source = { fd: res, fileEntry, descriptor: describe(res) };
        this.#completed();
      },
    });
    const openDestination = {
      ...open,
      addr: destination,
      complete: (res: number, fileEntry: number) => {
        this.#opened = res;
        if (res >= 0) this.#destination = { fd: res, fileEntry, descriptor: describe(res) };
        this.#completed();
      },
    };
    this.#openCached = operation({
      ...openDestination,
      opcode: IORING_OP_OPENAT2,
      off: how, // sqe->addr2
      len: howBytes,
    });
    this.#create = operation(openDestination);
    this.#read = operation({
      opcode: IORING_OP_READ,
      addr: content,
      complete: (res) => {
        this.#readBytes = res;
        this.#completed();
      },
    });
    const close = { opcode: IORING_OP_CLOSE, kind: requestKind.close };
    this.#closeSource = operation({ ...close, complete: () => this.#completed() });
    const write = {
      opcode: IORING_OP_WRITE,
      addr: content,
      complete: (res: number) => {
        this.#written = res;
        this.#completed();
      },
    };
    this.#write = operation(write);
    this.#truncate = operation({ opcode: IORING_OP_FTRUNCATE, complete: (res) => this.#truncated(res) });
    const closeDestination = {
      ...close,
      complete: (res: number) => {
        this.#closeResult = res;
        this.#completed();
      },
    };
    this.#closeDestination = operation(closeDestination);
    this.#lastWrite = operation(write);
    this.#closeWritten = operation(closeDestination);
    const chain = new Chain();
    chain.add(this.#lastWrite);
    chain.add(this.#closeWritten);
  }

  start(job: SmallCopy): void {
    this.#requests.assertOpen("open");
    const [source, destination] = this.#paths;
    writePath(source, job.path);
    writePath(destination, job.destination);
    this.#job = job;
    this.#source = this.#destination = this.#status = this.#old = undefined;
    this.#created = this.#replaced = false;
    const flags = O_NONBLOCK | O_CLOEXEC | job.openFlags;
    this.#openSource.opFlags = O_RDONLY | flags;
    this.#how[0] = BigInt(O_WRONLY | flags);
    this.#how[2] = BigInt(RESOLVE_CACHED);
    this.#create.opFlags = O_WRONLY | O_CREAT | O_EXCL | flags;
    this.#opened = ENOENT;
    if (job.isExclusive || job.isRead) this.#step(this.#bothOpened, this.#openSource);
    else this.#step(this.#bothOpened, this.#openSource, this.#openCached);
  }

  abort(): void {}

  /** Starts requests, or the chains that they are the first of, and goes on with `next` when all have completed. */
  #step(next: () => void, ...operations: readonly Operation[]): void {
    this.#next = next;
    this.#pending = 0;
    for (const { next: second } of operations) this.#pending += second === undefined ? 1 : 2;
    for (const operation of operations) this.#requests.startAgain(operation);
  }

  #completed(): void {
    this.#pending--;
    if (this.#pending === 0) this.#next();
  }

  readonly #bothOpened = (): void => {
    const [job, source] = [this.#job, this.#source];
    const status = source?.descriptor.regular === true ? knownStatus(source.fd, source.descriptor) : undefined;
    const isUsual = status?.isLocal === true && status.sizeBytes <= smallBytes && !isSparse(status);
    const isMissing = [EAGAIN, ENOENT, ENOTDIR, EINVAL].includes(this.#opened);
    if (!isUsual || source === undefined || job?.isStopped !== false || (this.#opened < 0 && !isMissing)) {
      this.#leave();
      return;
    }
    this.#status = status;
    this.#read.fd = source.fd;
    // One byte more than expected: a read that returns less marks the end.
    this.#read.len = status.sizeBytes + 1;
    if (!isMissing || job.isRead) {
      this.#step(job.isRead ? this.#wasRead : this.#ready, this.#read);
      return;
    }
    // There is no file, or the kernel would have to look for it: then it is quicker to try to create it. A new file is
    // accessible only to its owner until the copy is complete.
    this.#create.len = permissionsOf(status) & ownersPermissions;
    this.#step(this.#hasTriedToCreate, this.#read, this.#create);
  };

  readonly #wasRead = (): void => {
    if (this.#readBytes === this.#status?.sizeBytes) this.#step(this.#handOver, this.#sourceClose());
    else this.#leave();
  };

  readonly #handOver = (): void => {
    const [job, status] = [this.#take(), this.#status];
    if (job !== undefined && status !== undefined)
      job.read(this.#content.subarray(0, status.sizeBytes), status, () => this.#onFree(this));
  };

  readonly #hasTriedToCreate = (): void => {
    this.#created = this.#destination !== undefined;
    this.#ready();
  };

  /** The content has been read, and the destination is open. */
  readonly #ready = (): void => {
    const [status, destination] = [this.#status, this.#destination];
    const isRegular = destination?.descriptor.regular === true;
    const old = isRegular ? knownStatus(destination.fd, destination.descriptor) : undefined;
    this.#old = old;
    const canGoOn = status !== undefined && this.#readBytes === status.sizeBytes && this.#job?.isStopped === false;
    if (destination === undefined || old?.isLocal !== true || !canGoOn) this.#leave();
    else if (isSame(old, status)) this.#startCloses(this.#sourceClose());
    else this.#begin(destination, old, status);
  };

  #begin(destination: Held, old: FileStatus, status: FileStatus): void {
    const { fd, fileEntry } = destination;
    const narrowed = narrowedTo(old, status);
    // Narrow the permissions before the first byte is written: a user who may not read the source must not be able to
    // open the copy.
    if (setPermissionsNow(fd, old.mode, narrowed) !== undefined) {
      this.#leave();
      return;
    }
    this.#replaced = true;
    this.#written = 0;
    const { sizeBytes } = status;
    const isLast = sizeBytes > 0 && old.sizeBytes <= sizeBytes && narrowed === permissionsOf(status);
    const write = isLast ? this.#lastWrite : this.#write;
    write.fd = this.#closeWritten.fd = this.#truncate.fd = fd;
    this.#closeWritten.fileEntry = fileEntry;
    write.len = this.#truncate.off = sizeBytes;
    if (isLast) this.#step(this.#wroteLast, write, this.#sourceClose());
    else if (sizeBytes > 0) this.#step(this.#wrote, write, this.#sourceClose());
    else this.#step(this.#wrote, this.#sourceClose());
  }

  /** From here on the source counts as closed: a copy that is left unfinished opens it again. */
  #sourceClose(): Operation {
    this.#closeSource.fd = this.#source?.fd ?? -1;
    this.#closeSource.fileEntry = this.#source?.fileEntry ?? -1;
    this.#source = undefined;
    return this.#closeSource;
  }

  readonly #wroteLast = (): void => {
    if (this.#written === this.#status?.sizeBytes) this.#closed();
    else this.#leave(); // the close was cancelled, so the file is still open
  };

  /** The old content has been written over. The rest of it is cut off. */
  readonly #wrote = (): void => {
    const [status, old] = [this.#status, this.#old];
    if (status === undefined || old === undefined || this.#written !== status.sizeBytes) this.#leave();
    else if (old.sizeBytes > status.sizeBytes) this.#requests.startAgain(this.#truncate);
    else this.#complete();
  };

  #truncated(res: number): void {
    if (res < 0) this.#leave();
    else this.#complete();
  }

  #complete(): void {
    const [status, old, destination] = [this.#status, this.#old, this.#destination];
    const isDone =
      this.#job?.isStopped === false &&
      status !== undefined &&
      old !== undefined &&
      destination !== undefined &&
      setPermissionsNow(destination.fd, narrowedTo(old, status), permissionsOf(status)) === undefined;
    if (isDone) this.#startCloses();
    else this.#leave();
  }

  #startCloses(...others: readonly Operation[]): void {
    this.#closeDestination.fd = this.#destination?.fd ?? -1;
    this.#closeDestination.fileEntry = this.#destination?.fileEntry ?? -1;
    this.#step(this.#closed, this.#closeDestination, ...others);
  }

  readonly #closed = (): void => {
    const result = this.#closeResult;
    this.#destination = undefined;
    // Cancelled because the ring is closing, which closes the file.
    if (result < 0 && result !== ECANCELED) this.#leave(new UringError(result, "close"));
    else {
      this.#take()?.copied(this.#replaced ? (this.#status?.sizeBytes ?? 0) : -1);
      this.#onFree(this);
    }
  };

  #take(): SmallCopy | undefined {
    const job = this.#job;
    this.#job = undefined;
    return job;
  }

  #leave(error?: UringError): void {
    this.#take()?.unfinished({
      source: this.#source,
      destination: this.#destination,
      old: this.#old,
      created: this.#created,
      replaced: this.#replaced,
      error,
    });
    this.#onFree(this);
  }

  /** The ring is broken: nothing completes any more. */
  readonly #broken = (error: unknown): void => {
    const job = this.#take();
    if (job === undefined) return;
    job.failed(error);
    this.#onFree(this);
  };
}

export function isSparse({ blocks, sizeBytes }: FileStatus): boolean {
  return blocks * 512 < sizeBytes;
}

const copiersOfRings = new WeakMap<RequestQueue, PathLanes<SmallCopy, Copier>>();

/** A ring's copiers. There are none if the kernel cannot truncate a file by a request, as before Linux 6.9. */
export function copiersOf(requests: RequestQueue): PathLanes<SmallCopy, Copier> {
  let copiers = copiersOfRings.get(requests);
  if (copiers === undefined) {
    const count = kernel().opcodes.has(IORING_OP_FTRUNCATE) ? mostCopiers : 0;
    copiers = new PathLanes(requests, count, (_index, onFree) => new Copier(requests, onFree));
    copiersOfRings.set(requests, copiers);
  }
  return copiers;
}

/** What a copier is to do. */
export interface SmallJob {
  readonly path: string;
  readonly destination: string;
  readonly isExclusive?: boolean;
  readonly openFlags: number;
  readonly signal: AbortSignal | undefined;
}

/** The content of a small file. The copier that has read it keeps it until `release` is called. */
export interface SmallContent {
  readonly content: Buffer;
  readonly status: FileStatus;
  release(): void;
}

function run<Result>(
  requests: RequestQueue,
  { path, destination, isExclusive = false, openFlags, signal }: SmallJob,
  isRead: boolean,
  results: (resolve: (result: Result | Unfinished) => void) => Pick<SmallCopy, "copied" | "read">,
): Promise<Result | Unfinished> {
  const { promise, resolve, reject } = Promise.withResolvers<Result | Unfinished>();
  const job = {
    path,
    destination,
    isRead,
    isExclusive,
    openFlags,
    lane: undefined,
    isAborted: false,
    isStopped: false,
    unfinished: resolve,
    failed: reject,
    ...results(resolve),
  };
  const forget =
    signal &&
    onAbort(signal, () => {
      job.isStopped = true;
    });
  copiersOf(requests).start(job);
  return forget === undefined ? promise : promise.finally(forget);
}

const nothing = () => undefined;

/** Has a copier make a copy. Resolves to the length of the copy, -1 for a copy onto itself, or what is left to do. */
export function copySmall(requests: RequestQueue, job: SmallJob): Promise<number | Unfinished> {
  return run<number>(requests, job, false, (copied) => ({ copied, read: nothing }));
}

/** Has a copier read the source. Resolves to its content, or to what the copier has opened. */
export function readSmall(requests: RequestQueue, job: SmallJob): Promise<SmallContent | Unfinished> {
  return run<SmallContent>(requests, job, true, (resolve) => ({
    copied: nothing,
    read: (content, status, release) => resolve({ content, status, release }),
  }));
}
