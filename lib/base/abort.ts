import { DOMException, FinalizationRegistry, Promise, WeakRef } from "./globals.ts";
import { hold } from "./hold.ts";

interface Listening {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/** What to do when a signal aborts. A signal has one listener, however many operations it stands for: adding one costs time in their number. */
const listeningBySignal = new WeakMap<AbortSignal, Listening>();

/** One that throws is reported as a rejection that nobody handles, and the others are called all the same. */
function call(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    void Promise.reject(error);
  }
}

function listen(signal: AbortSignal): Listening {
  const callbacks = new Set<() => void>();
  const listener = () => {
    listeningBySignal.delete(signal);
    for (const callback of callbacks) call(callback);
  };
  signal.addEventListener("abort", listener, { once: true }); // the program's own may throw
  const listening = { callbacks, listener };
  listeningBySignal.set(signal, listening);
  return listening;
}

/** Calls `callback` once when `signal` aborts; returns what takes that back, which never throws. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const listening = listeningBySignal.get(signal) ?? listen(signal);
  const { callbacks, listener } = listening;
  callbacks.add(callback);
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0) return;
    try {
      signal.removeEventListener("abort", listener);
    } catch {
      return; // the program's own threw, and the listener is there for the next
    }
    if (listeningBySignal.get(signal) === listening) listeningBySignal.delete(signal);
  };
}

/** Throws the signal's reason if it has aborted: a signal of a program's own class may not know how to. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw signal.reason;
}

/** The signal's reason; where the program's own getter throws, what it throws. */
export function reasonOf(signal: AbortSignal): unknown {
  try {
    return signal.reason;
  } catch (error) {
    return error;
  }
}

const forgetters = new FinalizationRegistry<() => void>((forget) => forget());
hold(forgetters); // `bun --hot` drops modules whose objects are still there

/** The same for a callback that somebody else has to keep: a signal may outlive a thousand streams, and would keep each that was dropped. */
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

/** Aborts what the library has started itself, as an AbortController does, whatever a program has put in the place of that. */
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
