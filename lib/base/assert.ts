/** Checks an invariant. It fails only if the library has a bug. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`bun-uring: broken invariant: ${message}. Please report this.`);
}
