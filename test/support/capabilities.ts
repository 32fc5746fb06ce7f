/** What this machine can, for tests: one that needs more is skipped, and its name says what for. */
import { test } from "bun:test";
import { probe } from "bun-uring";

const { available, clone, opcodes } = probe();

const capabilities = {
  "clone (Linux 6.12)": clone.whole,
  "clone of ranges (Linux 6.13)": clone.ranges,
  "replace that keeps the tail (Linux 6.18.44)": clone.replaceKeepsTail,
  "READV_FIXED (Linux 6.15)": opcodes.includes("READV_FIXED"),
} as const;

/** How a ring gets one pool, and how it gets several. */
export const bufferSource = { one: clone.whole ? "cloned" : "registered", several: clone.ranges ? "cloned" : "registered" } as const;

/** `test`, or a skip that names the capability that is missing. Where there is no io_uring at all the test runs, and fails with the reason. */
export function needs(capability: keyof typeof capabilities): (name: string, body: () => void | Promise<void>, timeoutMs?: number) => void {
  const missing = available && !capabilities[capability];
  return (name, body, timeoutMs) => test.skipIf(missing)(missing ? `${name} [skipped: needs ${capability}]` : name, body, timeoutMs);
}
