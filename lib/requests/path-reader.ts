import { Buffer } from "../base/globals.ts";
import { requestKind } from "../engines/engine.ts";
import { EINVAL } from "../errors/errno.ts";
import type { UringError } from "../errors/uring-error.ts";
import { kernel } from "../uring/kernel.ts";
import { addressOf } from "../uring/native.ts";
import {
  IORING_OP_CLOSE,
  IORING_OP_FIXED_FD_INSTALL,
  IORING_OP_OPENAT,
  IORING_OP_READ,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_HARDLINK,
} from "../uring/uapi.ts";
import { AT_FDCWD, O_CLOEXEC } from "./open-flags.ts";
import { Chain, Operation } from "./operation.ts";
import { type PathJob, type PathLane, PathLanes, pathError, readersSlots } from "./path-lanes.ts";
import { pathBytes, writePath } from "./path-memory.ts";
import type { RequestQueue } from "./queue.ts";
import { isServed } from "./served-mounts.ts";

/** The most readers of a ring. More would need more memory, and read no faster. */
const mostReaders = 128;
/** The requests of a reader's chain. */
const chainLength = 3;

/** How much of a file the chain reads. Longer files are read on through a descriptor of the process. */
export const contentBytes = 65536;

/**
 * A file to read by its path. One of `whole`, `beginning` and `failed` is called, once, unless it was aborted. They must
 * not run the program's code.
 */
export interface PathRead extends PathJob {
  /** Flags for open(2). */
  readonly flags: number;
  readonly mode: number;
  /**
   * The whole content has been read: the first `length` bytes of `reader.content`. The file is closed. Returns whether
   * to keep the reader, and so the content, see `PathLanes.keep`.
   */
  whole(reader: PathReader, length: number): boolean;
  /**
   * The beginning has been read, the first `length` bytes of `reader.content`, and there is more. The file is open as
   * `fd`, at the position after these bytes, and now belongs to the callee.
   */
  beginning(reader: PathReader, length: number, fd: number, fileEntry: number): void;
}

/**
 * Whether the file may have more than was read: the read of one byte more has read it, or the file refuses reads of one
 * byte, as /proc/self/pagemap and /proc/kpagecount do.
 */
function mayGoOn(bytes: number, more: number): boolean {
  return more > 0 || (more === EINVAL && bytes > 0);
}

/**
 * Reads files by their paths, one at a time, each with one chain of requests: it opens the file into an entry of the
 * ring's registered table, reads its beginning, and then tries to read one byte more. Only a read of 0 bytes says that
 * the file has ended: a file of /proc and a FIFO return less than was asked for before their end. Then the entry is
 * closed, and the read is reported. If there is more, the file is installed as a descriptor of the process before the
 * entry is closed, and somebody else reads on.
 *
 * The reader and its memory stay in use until the kernel has completed all of its requests, also if the read was
 * aborted. Each open that succeeds is followed by the close of the entry.
 */
export class PathReader implements PathLane<PathRead> {
  /** Where the content is. One byte longer than `contentBytes`, for the byte that says that there is more. */
  readonly content: Buffer;
  readonly #requests: RequestQueue;
  readonly #onFree: (reader: PathReader) => void;
  readonly #path: Buffer;
  readonly #open: Operation;
  /** The chain's two reads. */
  readonly #beginning: Operation;
  readonly #oneMore: Operation;
  readonly #close: Operation;
  readonly #install: Operation;
  /** Undefined if there is none, or it was aborted. */
  #read: PathRead | undefined;
  /** How many requests of the chain have not completed. */
  #pending = 0;
  /** The results of the chain's requests, in order. */
  readonly #results: [opened: number, bytes: number, more: number] = [0, 0, 0];
  /** What `#install` has returned, or -1. */
  #fd = -1;
  #fileEntry = -1;

  /**
   * @param slot - an entry of the registered table that only this reader uses
   * @param onFree - called when the reader can read another file
   */
  constructor(requests: RequestQueue, slot: number, onFree: (reader: PathReader) => void) {
    this.#requests = requests;
    this.#onFree = onFree;
    const memory = new SharedArrayBuffer(contentBytes + pathBytes + 1);
    this.content = Buffer.from(memory, 0, contentBytes + 1);
    this.#path = Buffer.from(memory, contentBytes + 1, pathBytes);
    const address = addressOf(memory);
    const chain = new Chain();
    const operation = (fields: Partial<Operation>): Operation =>
      Object.assign(new Operation(), { memory, reject: this.#broken, ...fields });
    const add = (index: number, fields: Partial<Operation>): Operation => {
      const added = operation({ complete: (res) => this.#completed(index, res), ...fields });
      chain.add(added);
      return added;
    };
    this.#open = add(0, {
      opcode: IORING_OP_OPENAT,
      fd: AT_FDCWD,
      addr: address + contentBytes + 1,
      spliceFdIn: slot + 1,
    });
    const read = { opcode: IORING_OP_READ, fd: slot, off: -1 };
    this.#beginning = add(1, { ...read, addr: address, len: contentBytes });
    this.#oneMore = add(2, { ...read, addr: address + contentBytes, len: 1 });
    this.#install = operation({
      opcode: IORING_OP_FIXED_FD_INSTALL,
      flags: IOSQE_FIXED_FILE,
      fd: slot,
      kind: requestKind.open,
      complete: (res, fileEntry) => this.#installed(res, fileEntry),
    });
    this.#close = operation({
      opcode: IORING_OP_CLOSE,
      fd: 0,
      spliceFdIn: slot + 1,
      // Whatever the result is: a close reports errors of writes only, and is cancelled only if the ring is closing.
      complete: () => this.#report(),
    });
  }

  start(read: PathRead): void {
    const { path, flags, mode } = read;
    this.#requests.assertOpen("open");
    writePath(this.#path, path);
    const async = isServed(path) ? IOSQE_ASYNC : 0;
    this.#open.flags = async;
    this.#beginning.flags = IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK | async; // a short read breaks an ordinary link
    this.#oneMore.flags = IOSQE_FIXED_FILE | async;
    this.#open.opFlags = flags & ~O_CLOEXEC; // a direct descriptor does not outlive exec in any case
    this.#open.len = mode;
    this.#read = read;
    this.#pending = 3;
    this.#fd = -1;
    this.#requests.startAgain(this.#open);
  }

  abort(read: PathJob): void {
    if (this.#read !== read) return;
    this.#read = undefined;
    this.#cancel();
  }

  #cancel(): void {
    for (let operation: Operation | undefined = this.#open; operation !== undefined; operation = operation.next)
      this.#requests.cancelAgain(operation);
  }

  #completed(index: number, res: number): void {
    this.#results[index] = res;
    this.#pending--;
    if (this.#pending === 0) this.#chainEnded();
    // The kernel has begun the next request. A cancellation from before that moment did not find it, so repeat it.
    else if (this.#read === undefined || this.#requests.closed) this.#cancel();
  }

  #chainEnded(): void {
    const [opened, bytes, more] = this.#results;
    if (opened < 0) this.#report();
    else if (this.#read !== undefined && bytes >= 0 && mayGoOn(bytes, more)) this.#requests.startAgain(this.#install);
    else this.#requests.startAgain(this.#close);
  }

  #installed(res: number, fileEntry: number): void {
    this.#fd = res;
    this.#fileEntry = fileEntry;
    this.#requests.startAgain(this.#close);
  }

  /** The kernel is done with the memory, and the entry is closed, or the open failed. */
  #report(): void {
    const read = this.#read;
    this.#read = undefined;
    let isKept = false;
    if (read === undefined) {
      if (this.#fd >= 0) this.#requests.closeUnseen(this.#fd, this.#fileEntry);
    } else {
      try {
        isKept = this.#deliver(read);
      } catch (error) {
        read.failed(error); // for example no memory
      }
    }
    if (!isKept) this.#onFree(this);
  }

  #deliver(read: PathRead): boolean {
    const [opened, bytes, more] = this.#results;
    if (opened < 0) read.failed(this.#error(opened, "open", read));
    else if (bytes < 0 || (more < 0 && !mayGoOn(bytes, more)))
      read.failed(this.#error(bytes < 0 ? bytes : more, "read", read));
    else if (more === 0) return read.whole(this, bytes);
    else if (this.#fd < 0) read.failed(this.#error(this.#fd, "open", read));
    else {
      if (more > 0) this.content[bytes] = this.content[contentBytes] ?? 0;
      read.beginning(this, bytes + Math.max(0, more), this.#fd, this.#fileEntry);
    }
    return false;
  }

  #error(errno: number, syscall: string, { path }: PathRead): UringError {
    return pathError(errno, syscall, path, this.#requests);
  }

  /** The ring is broken: nothing completes any more. */
  readonly #broken = (error: unknown): void => {
    const read = this.#read;
    this.#read = undefined;
    read?.failed(error);
    this.#onFree(this);
  };
}

/** A ring's readers. There are none if the engine has no entries for direct descriptors, or the kernel is too old. */
export function pathReaders(requests: RequestQueue): PathLanes<PathRead, PathReader> {
  const { engine } = requests;
  const canChain = engine.longestChain >= chainLength && kernel().opcodes.has(IORING_OP_FIXED_FD_INSTALL);
  const { first, count } = canChain ? readersSlots(engine.files.directSlots) : { first: 0, count: 0 };
  return new PathLanes(
    requests,
    Math.min(mostReaders, count),
    (index, onFree) => new PathReader(requests, first + index, onFree),
  );
}
