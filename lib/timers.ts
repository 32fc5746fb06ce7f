/** The event loop's own timers: a test that has put others in the place of the global ones, and moves them by hand, must not stop a ring. */
export const { setImmediate, setTimeout, clearTimeout } = globalThis;
