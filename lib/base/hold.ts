/**
 * The rule about memory that the kernel may write, and the one place that keeps it.
 *
 * **Whatever owns a registration, a clone of one, or requests in flight is held from its creation until the kernel has said that it is done: until the
 * last completion is in and the buffers are unregistered.** All memory that the kernel may reach is referred to by such an owner:
 * RawRing by its `ReachableMemory`, Ring by its `RequestQueue`, BufferPool by its `Participant` (every thread that has the pool holds all of its memory).
 *
 * The root is referred to by the shim, natively, so no garbage collection and no reload of modules reaches it. A thread's end does, but not before the
 * teardown (c/teardown.c) has come to the same point for each of the thread's rings; where it cannot, the thread does not end.
 */

/** Also the library object of bun:ffi, which owns the compiled code. */
export const root: { library: unknown; readonly held: Set<object> } = { library: undefined, held: new Set() };

/** Keeps an object, and all that it refers to, out of the garbage collector's reach until `letGo`. */
export function hold(owner: object): void {
  root.held.add(owner);
}

/** Ends `hold`: the kernel is done with the memory. */
export function letGo(owner: object): void {
  root.held.delete(owner);
}
