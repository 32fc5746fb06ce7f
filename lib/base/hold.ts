/**
 * The rule about memory that the kernel may write, and the one module that enforces it.
 *
 * **Every owner of a registration, of a clone of one, or of requests in flight is held from its creation until the
 * kernel is done with it: until the last completion has arrived and the buffers are unregistered.** All memory that the
 * kernel may reach is referenced by such an owner: for a RawRing by its `RawRingLife`, for a Ring by its
 * `RequestQueue`, for a BufferPool by its `Participant`. Each thread attached to a pool holds all of the pool's memory.
 *
 * The C shim keeps a native reference to `root`, so neither garbage collection nor a reload of modules frees what is
 * held. Only the end of the thread releases that reference, and before it does, the teardown (c/teardown.c) drains and
 * closes every ring of the thread. If a Worker's ring cannot be drained, its thread does not end. The end of the main
 * thread is the end of the process: nothing is freed before it.
 */

/** The root of everything that is held. It also holds the library object of bun:ffi, which owns the compiled code. */
export const root: { library: unknown; readonly held: Set<object> } = { library: undefined, held: new Set() };

/** Keeps `owner`, and everything that it refers to, from being garbage-collected until `letGo`. */
export function hold(owner: object): void {
  root.held.add(owner);
}

/** Ends `hold`. Call it only once the kernel is done with the memory. */
export function letGo(owner: object): void {
  root.held.delete(owner);
}
