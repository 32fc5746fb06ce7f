import { Bun } from "../base/globals.ts";
import { keepAlive, later, letEnd, soon } from "../base/timers.ts";

/**
 * After a batch of completions the queue pauses if it has used this much of the turn. Without a limit, transfers that
 * complete at once would keep timers and sockets from running. A batch itself is not divided.
 */
const shareNs = 500_000;
/** The same in completions: a second limit, because a test's fake clock may stand still. */
const completionsPerTurn = 1024;

/**
 * Decides when a queue advances: in the microtask after a request was started, in the turn in which the engine wakes
 * it, or after a pause. Also limits how much the queue does before the rest of the event loop runs.
 *
 * A new share begins when the queue is woken. A turn that began with something else, such as a timer or a socket, uses
 * what is left of the last share.
 */
export class Loop {
  readonly #advance: () => void;
  #scheduled = false;
  #paused = false;
  #settled = 0;
  #turnEndNs = 0;

  constructor(advance: () => void) {
    this.#advance = advance;
  }

  /** Whether the queue must do nothing until the pause ends. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Advances in a microtask. Several calls before it runs count as one. */
  soon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    soon(() => {
      this.#scheduled = false;
      this.#advance();
    });
  }

  /** Advances now, with a new share. */
  wake(): void {
    this.#settled = 0;
    this.#turnEndNs = Bun.nanoseconds() + shareNs;
    this.#advance();
  }

  /**
   * Advances after `ms` milliseconds and not before; 0 is the next turn of the event loop. Keeps the process alive
   * meanwhile, since nothing else may.
   */
  pause(ms: number): void {
    if (this.#paused) return;
    this.#paused = true;
    keepAlive();
    later(ms, () => {
      letEnd();
      this.#paused = false;
      this.wake();
    });
  }

  /** Takes `completions` from the turn's share. Returns whether the share is used up. */
  spend(completions: number): boolean {
    this.#settled += completions;
    return this.#settled >= completionsPerTurn || Bun.nanoseconds() >= this.#turnEndNs;
  }
}
