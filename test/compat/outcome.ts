/** Parses the output of session.sh. */
import type { Probe } from "bun-uring";

/** What one environment has, and the results of its tests. */
export interface Outcome {
  /** What print-probe.ts printed; undefined if it printed nothing. */
  readonly found: { readonly probe: Probe; readonly bun: string; readonly processor: string } | undefined;
  readonly passed: number;
  /** The number of skipped tests, by the capability that each needs. */
  readonly skipped: ReadonlyMap<string, number>;
  readonly total: number;
  /** Why the environment is not green; empty if it is. */
  readonly failures: readonly string[];
  /** The example's digests by path. */
  readonly digests: ReadonlyMap<string, string>;
}

/** The line of a test, as `bun test` prints it. The summary repeats some lines, so each name counts once. */
const testLine = /^\((pass|fail|skip)\) (.*?)(?: \[skipped: needs (.*)\])?(?: \[[\d.]+m?s\])?$/gm;

export function outcomeOf(output: string): Outcome {
  // Consoles and progress bars print escape sequences that move the cursor.
  const printed = Bun.stripANSI(output);
  const failures: string[] = [];
  const results = new Map<string, { result: string; needs: string | undefined }>();
  for (const [, result = "", name = "", needs] of printed.matchAll(testLine)) results.set(name, { result, needs });
  const skipped = new Map<string, number>();
  for (const [name, { result, needs }] of results) {
    if (result === "fail") failures.push(name);
    if (result !== "skip") continue;
    if (needs === undefined) failures.push(`${name}: skipped without a reason`);
    else skipped.set(needs, (skipped.get(needs) ?? 0) + 1);
  }
  const probeLine = /^@probe (\{.*\})$/m.exec(printed)?.[1];
  const exampleLine = /^@example (\{.*\})$/m.exec(printed)?.[1];
  const files: readonly { path: string; digest: string }[] =
    exampleLine === undefined ? [] : JSON.parse(exampleLine).files;
  const killed = /^@killed .*$/m.exec(printed)?.[0];
  const count = Number(/^Ran (\d+) tests? across/m.exec(printed)?.[1] ?? 0);
  if (killed !== undefined) failures.push(killed.slice(1));
  else if (!/^@end$/m.test(printed)) failures.push("the session ended early");
  if (probeLine === undefined) failures.push("the probe printed nothing");
  if (/^@tests failed$/m.test(printed) && failures.length === 0) failures.push("bun test failed");
  if (count !== results.size) failures.push(`${count} tests ran, but ${results.size} results were parsed`);
  return {
    found: probeLine === undefined ? undefined : JSON.parse(probeLine),
    passed: Array.from(results.values()).filter(({ result }) => result === "pass").length,
    skipped,
    total: results.size,
    failures,
    digests: new Map(files.map(({ path, digest }) => [path, digest])),
  };
}
