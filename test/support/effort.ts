/**
 * The fraction of their repetitions that tests run: BUN_URING_TEST_EFFORT, more than 0 and at most 1. It is lower on an
 * emulated processor.
 */
const effort = Number(process.env["BUN_URING_TEST_EFFORT"] ?? 1);
if (!(effort > 0 && effort <= 1))
  throw new Error(
    `BUN_URING_TEST_EFFORT must be more than 0 and at most 1, not ${process.env["BUN_URING_TEST_EFFORT"]}`,
  );

/** How many of `count` repetitions to run: 1 or more. */
export function times(count: number): number {
  return Math.ceil(count * effort);
}
