/** How often tests repeat what has to go right every time: less often where the processor is emulated (BUN_URING_TEST_EFFORT, 0 to 1). */
const effort = Number(process.env["BUN_URING_TEST_EFFORT"] ?? 1);
if (!(effort > 0 && effort <= 1)) throw new Error(`BUN_URING_TEST_EFFORT must be more than 0 and at most 1, not ${process.env["BUN_URING_TEST_EFFORT"]}`);

/** So many of `count` repetitions, 1 or more. */
export function times(count: number): number {
  return Math.ceil(count * effort);
}
