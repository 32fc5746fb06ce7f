import { Bun } from "../base/globals.ts";
import { keepAlive, later, letEnd, soon } from "../base/timers.ts";

/** How long a turn of the event loop settles before others, timers and sockets, have theirs: transfers that complete at once would never let them. */
const shareNs = 500_000;
/** And how much it settles: the clock of tests may stand still. */
const completionsPerTurn = 1024;

/**
 * When a queue goes on: in the microtask after something was started, in the turn that it is woken in, or later; and how much it does before the event loop has others go on.
 * A turn's share begins when the queue is woken: a turn that others begin, with their timers and sockets, goes on with what is left.
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

  /** Nothing is to be done before the pause is over. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Goes on in a microtask; once, however often it is asked for. */
  soon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    soon(() => {
      this.#scheduled = false;
      this.#advance();
    });
  }

  /** Goes on now, in a turn of its own. */
  wake(): void {
    this.#settled = 0;
    this.#turnEndNs = Bun.nanoseconds() + shareNs;
    this.#advance();
  }

  /** Goes on `ms` later, 0: in the next turn of the event loop, and not before. Nothing else may be there to keep the process alive until then. */
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

  /** Takes so many completions of the turn's share. Returns whether it is used up. */
  spend(completions: number): boolean {
    this.#settled += completions;
    return this.#settled >= completionsPerTurn || Bun.nanoseconds() >= this.#turnEndNs;
  }
}
