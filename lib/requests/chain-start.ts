/** The functions that start the operations of a chain, told from the rest of the program also after they have awaited something. */

import type { AsyncLocalStorage } from "node:async_hooks";
import { invalidValue } from "../base/arguments.ts";
import { Bun, Promise, process } from "../base/globals.ts";

/** One such function. */
interface Start {
  /** What it returned. */
  outcome: unknown;
}

let starts: AsyncLocalStorage<Start> | undefined;

/** Runs a function that starts one operation of a chain. */
export function startAsOfChain<Started>(start: () => Started): Started {
  if (starts === undefined) {
    const { AsyncLocalStorage } = process.getBuiltinModule("node:async_hooks"); // loaded when it is needed
    starts = new AsyncLocalStorage<Start>();
  }
  const running: Start = { outcome: undefined };
  const started = starts.run(running, start);
  running.outcome = started;
  return started;
}

/**
 * Requires that it is not such a function, still running, that starts a further request: that would be none of the chain.
 * @throws TypeError: it is
 */
export function assertNotOfChain(syscall: string): void {
  const outcome = starts?.getStore()?.outcome;
  if (outcome instanceof Promise && Bun.peek.status(outcome) === "pending")
    throw invalidValue(`${syscall} would be a second request of an operation of a chain, after its first: start it when the chain's promise has settled`);
}
