/**
 * What the parts of `npm run test:stress` share: a seed to repeat a run, programs in processes of their own, and a line
 * of figures for each part.
 */

/** The seed of everything random in a run: BUN_URING_TEST_SEED, or a new one each time. */
export const seed = Number(process.env["BUN_URING_TEST_SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);
if (!Number.isInteger(seed))
  throw new Error(`BUN_URING_TEST_SEED must be an integer, not ${process.env["BUN_URING_TEST_SEED"]}`);

/** Prints what a part has measured, with the seed. */
export function report(part: string, figures: string): void {
  console.log(`stress ${part}: ${figures}; seed ${seed}`);
}

/**
 * Runs a program of test/programs/ to its end, but for `seconds` at most, so that a wait for ever is a failure. The
 * program gets the seed as its first argument, and prints its result as JSON in its last line. The lines before are
 * shown.
 */
export async function measure<Result>(
  name: string,
  seconds: number,
  ...args: readonly (string | number)[]
): Promise<Result> {
  const path = new URL(`../programs/${name}.ts`, import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, path, String(seed), ...args.map(String)], {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: seconds * 1000,
    killSignal: "SIGKILL",
  });
  let last = "";
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of child.stdout) {
    const lines = `${rest}${decoder.decode(bytes, { stream: true })}`.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (last !== "") console.log(last);
      last = line;
    }
  }
  await child.exited;
  if (child.exitCode !== 0)
    throw new Error(
      `${name} ${args.join(" ")} ended with ${child.signalCode ?? child.exitCode}: repeat it with BUN_URING_TEST_SEED=${seed}\n${last}\n${rest}`,
    );
  return JSON.parse(last);
}
