import { assert } from "../base/assert.ts";
import { Bun } from "../base/globals.ts";
import { keepAlive, later, letEnd } from "../base/timers.ts";

const { file } = Bun;

const openReader = (fd: number) => file(fd).stream().getReader();
type Reader = ReturnType<typeof openReader>;

const longestLookMs = 16;

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
  #referenced = true;
  /** Where nothing wakes: looks now and then, less and less often, and soon again whenever something has been started. */
  #look: { readonly keepsAlive: boolean } | undefined;
  #lookMs = 1;
  #looking = false;

  /** @param fd - a nonblocking eventfd, still the caller's to close, after this wake-up's own close */
  constructor(fd: number, onWake: () => void) {
    this.#fd = fd;
    this.#onWake = onWake;
  }

  /** Whether listening keeps the process alive. Bun's stream cannot but keep it, so without that it is looked now and then. */
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
    const lookMs = this.#looking ? Math.min(2 * this.#lookMs, longestLookMs) : 1;
    if (this.#look !== undefined && this.#lookMs <= lookMs) return;
    this.#stopLooking();
    const look = { keepsAlive: this.#referenced };
    this.#look = look;
    this.#lookMs = lookMs;
    if (look.keepsAlive) keepAlive();
    later(lookMs, () => {
      if (this.#look !== look) return;
      this.#stopLooking();
      this.#looking = true;
      this.#onWake();
      if (this.#armed && this.#look === undefined) this.arm();
      this.#looking = false;
    });
  }

  /** Lets the process exit, once a turn of the event loop has passed without arm: to listen anew costs ten times what going on does. */
  disarm(): void {
    this.#armed = false;
    this.#stopLooking();
    if (this.#stopping || this.#reader === undefined) return;
    this.#stopping = true;
    later(0, () => {
      this.#stopping = false;
      if (!this.#armed) this.close();
    });
  }

  /** Stops at once. The descriptor may be closed from here on. */
  close(): void {
    this.#armed = false;
    this.#stopLooking();
    const reader = this.#reader;
    this.#reader = undefined;
    // Cancelling takes the descriptor out of epoll before it returns; only a stream that has failed already rejects, and `#listen` reports that.
    reader?.cancel().catch(() => undefined);
  }

  #stopLooking(): void {
    if (this.#look?.keepsAlive === true) letEnd();
    this.#look = undefined;
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
