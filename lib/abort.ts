import { hold } from "./hold.ts";

/** What to do when a signal aborts. A signal has one listener, however many operations it stands for: adding one costs time in their number. */
const callbacksBySignal = new WeakMap<AbortSignal, { readonly callbacks: Set<() => void>; readonly listener: () => void }>();

/** Calls `callback` once when `signal` aborts; returns what takes that back. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let entry = callbacksBySignal.get(signal);
  if (entry === undefined) {
    const callbacks = new Set<() => void>();
    const listener = () => {
      callbacksBySignal.delete(signal);
      for (const one of callbacks) one();
    };
    entry = { callbacks, listener };
    callbacksBySignal.set(signal, entry);
    signal.addEventListener("abort", listener, { once: true });
  }
  const { callbacks, listener } = entry;
  callbacks.add(callback);
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0) return;
    signal.removeEventListener("abort", listener);
    if (callbacksBySignal.get(signal)?.callbacks === callbacks) callbacksBySignal.delete(signal);
  };
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
