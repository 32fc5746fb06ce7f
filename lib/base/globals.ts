/**
 * What the library takes of the global object, as it was when the library was imported: programs put something else there later, test suites above all. Who needs one of these
 * imports it from here; time is in timers.ts, and what aborts in abort.ts.
 */

export const { Buffer, Bun, console, DOMException, FinalizationRegistry, MessageChannel, process, TextEncoder, WeakRef } = globalThis;

/** The engine's own, of which async functions' promises are: also where a program has put another there before. */
export const Promise = (async () => undefined)().constructor as PromiseConstructor;

/** How many processors there are, or the least: node:os would ask the global `navigator`, too. */
export const processors: number = globalThis.navigator?.hardwareConcurrency ?? 1;

/** Bun's web streams, also where others had their place before; loaded when they are needed. */
export const webStreams = () => process.getBuiltinModule("node:stream/web");
