/**
 * Recognises requests that are started by the functions given to `chain`, even after such a function has awaited
 * something.
 */

import type { AsyncLocalStorage } from "node:async_hooks";
import { invalidValue } from "../base/arguments.ts";
import { Bun, Promise, process } from "../base/globals.ts";

/** One call of such a function. */
interface Start {
  /** What the function returned. Undefined while it runs. */
  outcome: unknown;
}

let starts: AsyncLocalStorage<Start> | undefined;

/** Runs a function that starts one operation of a chain. */
export function startAsOfChain<Started>(start: () => Started): Started {
  if (starts === undefined) {
    const { AsyncLocalStorage } = process.getBuiltinModule("node:async_hooks"); // loaded on first use
    starts = new AsyncLocalStorage<Start>();
  }
  const running: Start = { outcome: undefined };
  const started = starts.run(running, start);
  running.outcome = started;
  return started;
}

/**
 * Requires that the caller is not such a function whose promise is still pending. A request that it started now would
 * not be part of the chain.
 * @throws TypeError: the caller is such a function
 */
export function assertNotOfChain(syscall: string): void {
  const outcome = starts?.getStore()?.outcome;
  if (outcome instanceof Promise && Bun.peek.status(outcome) === "pending")
    throw invalidValue(
      `${syscall} would be a second request from one operation of a chain: start it when the promises of the chain have settled`,
    );
}
