import { assert } from "./errors.ts";

const openReader = (fd: number) => Bun.file(fd).stream().getReader();
type Reader = ReturnType<typeof openReader>;

/**
 * Brings an eventfd's signals to Bun's event loop. While armed it waits in the loop's own epoll: no thread, no CPU, and the process stays alive.
 * A wake-up is a hint: signals coalesce, and one may come for nothing.
 */
export class Wakeup {
  readonly #fd: number;
  readonly #onWake: () => void;
  #reader: Reader | undefined;
  #armed = false;
  #stopping = false;
  #poll: ReturnType<typeof setTimeout> | undefined;
  #referenced = true;

  /** @param fd - a nonblocking eventfd, still the caller's to close, after this wake-up's own close */
  constructor(fd: number, onWake: () => void) {
    this.#fd = fd;
    this.#onWake = onWake;
  }

  /** Whether listening keeps the process alive. Bun's stream cannot but keep it, so without that the descriptor is looked at every millisecond. */
  set referenced(referenced: boolean) {
    if (this.#referenced === referenced) return;
    this.#referenced = referenced;
    const armed = this.#armed;
    this.close();
    if (armed) this.arm();
  }

  /** Listens, and keeps the process alive, until disarm. */
  arm(): void {
    this.#armed = true;
    if (this.#reader !== undefined) return;
    if (!this.#referenced) {
      this.#lookLater();
      return;
    }
    try {
      this.#reader = openReader(this.#fd);
      this.#listen(this.#reader);
    } catch {
      // No descriptor was left for Bun's own duplicate: look, until there is one.
      this.#lookLater();
    }
  }

  #lookLater(): void {
    this.#poll ??= setTimeout(() => {
      this.#poll = undefined;
      if (!this.#armed) return;
      this.#onWake();
      if (this.#armed) this.arm();
    }, 1);
    if (!this.#referenced) this.#poll.unref();
  }

  /** Lets the process exit, once a turn of the event loop has passed without arm: to listen anew costs ten times what going on does. */
  disarm(): void {
    this.#armed = false;
    if (this.#stopping || this.#reader === undefined) return;
    this.#stopping = true;
    setImmediate(() => {
      this.#stopping = false;
      if (!this.#armed) this.close();
    });
  }

  /** Stops at once. The descriptor may be closed from here on. */
  close(): void {
    this.#armed = false;
    clearTimeout(this.#poll);
    this.#poll = undefined;
    const reader = this.#reader;
    this.#reader = undefined;
    // Cancelling takes the descriptor out of epoll before it returns; only a stream that has failed already rejects, and `#listen` reports that.
    reader?.cancel().catch(() => undefined);
  }

  #listen(reader: Reader): void {
    void reader.read().then(({ done }) => {
      if (this.#reader !== reader) return;
      assert(!done, "the eventfd's stream ended");
      this.#listen(reader);
      this.#onWake();
    });
  }
}
