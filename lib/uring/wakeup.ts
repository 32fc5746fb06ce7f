import { assert } from "../base/assert.ts";
import { Bun } from "../base/globals.ts";
import { keepAlive, later, letEnd } from "../base/timers.ts";

const { file } = Bun;

const openReader = (fd: number) => file(fd).stream().getReader();
type Reader = ReturnType<typeof openReader>;

/** The longest interval between polls, in milliseconds. */
const longestLookMs = 16;

/**
 * Delivers an eventfd's signals to Bun's event loop. While armed it waits in the loop's own epoll, without a thread and
 * without using the CPU, and keeps the process alive.
 *
 * A wake-up is only a hint: several signals may be delivered as one, and one may come for nothing.
 */
export class Wakeup {
  readonly #fd: number;
  readonly #onWake: () => void;
  #reader: Reader | undefined;
  #armed = false;
  #stopping = false;
  #referenced = true;
  /**
   * The pending poll, if there is one. Polling replaces epoll where that is not possible: less and less often while
   * nothing happens, and soon again after something was started.
   */
  #look: { readonly keepsAlive: boolean } | undefined;
  #lookMs = 1;
  #looking = false;

  /** @param fd - a nonblocking eventfd. The caller closes it, after closing this wake-up. */
  constructor(fd: number, onWake: () => void) {
    this.#fd = fd;
    this.#onWake = onWake;
  }

  /**
   * Whether listening keeps the process alive. Bun's stream always does, so if this is false, `onWake` is called now
   * and then instead.
   */
  set referenced(referenced: boolean) {
    if (this.#referenced === referenced) return;
    this.#referenced = referenced;
    const armed = this.#armed;
    this.close();
    if (armed) this.arm();
  }

  /** Begins to listen, and keeps the process alive until `disarm`. Does nothing if it is listening already. */
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
      // Bun duplicates the descriptor, and there was none left. Poll until there is one.
      this.#lookLater();
    }
  }

  /**
   * Schedules a poll. A shorter interval replaces a longer one. The interval doubles as long as polls follow each
   * other.
   */
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

  /**
   * Lets the process exit, unless `arm` is called within a turn of the event loop. Waits for that turn because
   * beginning to listen is much more expensive than going on.
   */
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

  /** Stops at once. The caller may close the descriptor afterwards. */
  close(): void {
    this.#armed = false;
    this.#stopLooking();
    const reader = this.#reader;
    this.#reader = undefined;
    // `cancel` removes the descriptor from epoll before it returns. It rejects only if the stream has already failed,
    // and `#listen` reports that.
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
