import { DOMException, FinalizationRegistry, Promise, WeakRef } from "./globals.ts";
import { hold } from "./hold.ts";

interface Listening {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/**
 * The listener that the library has on each signal, and the callbacks it runs. A signal gets one listener, however many
 * operations use it: adding a listener takes time proportional to the number it already has.
 */
const listeningBySignal = new WeakMap<AbortSignal, Listening>();

/** Calls `callback`. If it throws, the error becomes an unhandled rejection, so the remaining callbacks still run. */
function call(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    void Promise.reject(error);
  }
}

/** Adds the library's listener to a signal. The signal may abort, or throw, while it is added. */
function listen(signal: AbortSignal, callbacks: Set<() => void>): Listening {
  let isOver = false;
  const listener = () => {
    isOver = true;
    listeningBySignal.delete(signal);
    for (const callback of callbacks) call(callback);
  };
  const listening = { callbacks, listener };
  signal.addEventListener("abort", listener, { once: true }); // may be the program's own method
  if (!isOver) listeningBySignal.set(signal, listening);
  return listening;
}

/** Calls `callback` once when `signal` aborts. Returns a function that unregisters `callback`; it never throws. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const known = listeningBySignal.get(signal);
  known?.callbacks.add(callback);
  const listening = known ?? listen(signal, new Set([callback]));
  const { callbacks, listener } = listening;
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0) return;
    try {
      signal.removeEventListener("abort", listener);
    } catch {
      return; // the program's own method threw: the listener is still registered, and the next callback reuses it
    }
    if (listeningBySignal.get(signal) === listening) listeningBySignal.delete(signal);
  };
}

/**
 * Throws the signal's reason if it has aborted. Does not call `signal.throwIfAborted()`: a signal of the program's own
 * class may lack it.
 */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw signal.reason;
}

/** Returns the signal's reason. If the program's own getter throws, returns the value that it threw. */
export function reasonOf(signal: AbortSignal): unknown {
  try {
    return signal.reason;
  } catch (error) {
    return error;
  }
}

const forgetters = new FinalizationRegistry<() => void>((forget) => forget());
hold(forgetters); // on a reload `bun --hot` drops this module, but objects registered here may still be alive

/**
 * Like `onAbort`, but holds `callback` weakly: the caller has to keep it alive. Otherwise a signal that outlives
 * thousands of streams would keep every stream that the program dropped.
 */
export function onAbortWhileKept(signal: AbortSignal, callback: () => void): () => void {
  const kept = new WeakRef(callback);
  const forget = onAbort(signal, () => kept.deref()?.());
  forgetters.register(callback, forget);
  return forget;
}

/** The signal of a `Stop`. */
class StopSignal implements AbortSignal {
  aborted = false;
  reason: unknown;
  onabort = null;
  readonly #listeners = new Set<() => void>();

  throwIfAborted(): void {
    throwIfAborted(this);
  }

  addEventListener(_type: string, listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: string, listener: () => void): void {
    this.#listeners.delete(listener);
  }

  dispatchEvent(): boolean {
    for (const listener of this.#listeners) listener();
    return true;
  }
}

/**
 * An AbortController for what the library itself has started. It works whatever the program has put in the place of the
 * global AbortController.
 */
export class Stop {
  readonly signal = new StopSignal();

  abort(reason: unknown = new DOMException("The operation was aborted.", "AbortError")): void {
    const { signal } = this;
    if (signal.aborted) return;
    signal.aborted = true;
    signal.reason = reason;
    signal.dispatchEvent();
  }
}
