/**
 * The globals that the library uses, captured when it is imported: programs replace globals later, test suites above
 * all. Code that needs one of these imports it from here. Timers are in timers.ts, and abort signals in abort.ts.
 */

export const {
  Buffer,
  Bun,
  console,
  DOMException,
  FinalizationRegistry,
  MessageChannel,
  process,
  TextEncoder,
  WeakRef,
} = globalThis;

/**
 * The engine's own Promise, the class of the promises that async functions return, even if the program replaced the
 * global Promise before it imported the library.
 */
export const Promise = (async () => undefined)().constructor as PromiseConstructor;

/**
 * The number of processors, or 1 if that is unknown. node:os would be no safer: it reads the global `navigator` too.
 */
export const processors: number = globalThis.navigator?.hardwareConcurrency ?? 1;

/**
 * Bun's own web streams, even if the program replaced the globals before it imported the library. Loaded on first use.
 */
export const webStreams = () => process.getBuiltinModule("node:stream/web");
