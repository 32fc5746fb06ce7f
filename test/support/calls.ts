/**
 * Random calls of the public API as data: which call, on which object, with which arguments. test/workers/caller.ts
 * makes them.
 */
import { fc } from "./properties.ts";

export interface Step {
  /** Selects one of the calls. */
  readonly call: number;
  /** Select the object to call it on and the arguments, each from those that exist. */
  readonly picks: readonly number[];
  /** A bit for each argument: 1 replaces its value by one that the call may not accept. */
  readonly wild: number;
  /** What happens before the next step: 0 nothing, 1 microtasks, 2 a turn of the event loop. */
  readonly yields: number;
}

const largest = 2 ** 16 - 1;

const step = fc.record<Step>({
  call: fc.nat(largest),
  picks: fc.tuple(
    fc.nat(largest),
    fc.nat(largest),
    fc.nat(largest),
    fc.nat(largest),
    fc.nat(largest),
    fc.nat(largest),
    fc.nat(largest),
  ),
  wild: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(63) }),
  yields: fc.nat(2),
});

/** A sequence of calls for each of `threads` threads. */
export function sequences(threads: number, longest: number): fc.Arbitrary<Step[][]> {
  return fc.array(fc.array(step, { maxLength: longest, size: "max" }), { minLength: threads, maxLength: threads });
}
