import { UringError } from "./errors.ts";
import type { RequestQueue } from "./request-queue.ts";

/** What a ring needs of a file: its descriptor, where it is open and that ring's. */
export let descriptorOf: (file: RingFile, requests: RequestQueue, syscall: string) => number;

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
   * Closes the file; requests in flight go on with it. Again: the same promise.
   * @throws UringError EIO, ENOSPC, EDQUOT: what the file system reports on close; the descriptor is gone all the same
   * @see io_uring_prep_close(3)
   */
  close(): Promise<void> {
    this.#closing ??= this.#requests.closed ? this.#requests.close() : this.#requests.closeFile(this.#fd, this.#entry);
    return this.#closing;
  }

  /** close() */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  static {
    descriptorOf = (file, requests, syscall) => {
      if (file.#requests !== requests)
        throw new UringError("EXDEV", syscall, { message: "the file belongs to another ring", hint: "Use the ring that opened it." });
      if (file.closed) throw new UringError("EBADF", syscall, { message: "the file is closed" });
      return file.#fd;
    };
  }
}
