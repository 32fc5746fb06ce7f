/**
 * `test` and `needs` for files of tests that take too long on an emulated processor, where starting a program or a
 * Worker takes a second and more.
 */
import { type Capability, needs as needsOf } from "./capabilities.ts";

const real = "a processor that is not emulated";

export const test = needsOf(real);

/** As `needs` of capabilities.ts. */
export function needs(...needed: readonly Capability[]): ReturnType<typeof needsOf> {
  return needsOf(real, ...needed);
}
