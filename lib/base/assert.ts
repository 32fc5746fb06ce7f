/** For what cannot happen. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`bun-uring: broken invariant: ${message}. Please report this.`);
}
