/** The machine's clock. Tests may set it only on a machine of their own: see test/compat/machine.ts. */
import { dlopen } from "bun:ffi";

export const ownsMachine = process.env["BUN_URING_TEST_OWN_MACHINE"] === "1";

const CLOCK_REALTIME = 0;

/** Sets the machine's clock wrong, and right again at the end of the scope. */
export class WrongClock implements Disposable {
  readonly #setTime = dlopen("libc.so.6", { clock_settime: { args: ["i32", "ptr"], returns: "i32" } }).symbols
    .clock_settime;
  #wrongHours = 0;

  constructor() {
    if (!ownsMachine) throw new Error("this is not the test's own machine");
  }

  /** Sets the clock this many hours ahead, or behind if the number is negative. */
  set wrongHours(hours: number) {
    const ms = Date.now() + (hours - this.#wrongHours) * 3_600_000;
    this.#wrongHours = hours;
    const time = new BigInt64Array(new SharedArrayBuffer(16));
    time[0] = BigInt(Math.floor(ms / 1000));
    time[1] = BigInt(Math.floor(ms % 1000)) * 1_000_000n;
    if (this.#setTime(CLOCK_REALTIME, time) !== 0) throw new Error("the clock could not be set");
  }

  [Symbol.dispose](): void {
    this.wrongHours = 0;
  }
}
