/** Calls of the public API, as data: which, on what, with which arguments. test/workers/caller.ts makes them. */
import { fc } from "./properties.ts";

export interface Step {
  /** One of the calls, by its number among them. */
  readonly call: number;
  /** What it is called on, and its arguments, each by its number among what there is. */
  readonly picks: readonly number[];
  /** Of which arguments, bit by bit, the value is not one that the call takes. */
  readonly wild: number;
  /** What lets other things happen before the next step: nothing, microtasks, or a turn of the event loop. */
  readonly yields: number;
}

const largest = 2 ** 16 - 1;

const step = fc.record<Step>({
  call: fc.nat(largest),
  picks: fc.tuple(fc.nat(largest), fc.nat(largest), fc.nat(largest), fc.nat(largest), fc.nat(largest), fc.nat(largest), fc.nat(largest)),
  wild: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(63) }),
  yields: fc.nat(2),
});

/** For each of `threads`, what it calls. */
export function sequences(threads: number, longest: number): fc.Arbitrary<Step[][]> {
  return fc.array(fc.array(step, { maxLength: longest, size: "max" }), { minLength: threads, maxLength: threads });
}
