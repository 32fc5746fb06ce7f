import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Called } from "../programs/calls.ts";
import type { Step } from "../support/calls.ts";
import { times } from "../support/effort.ts";
import { Folder } from "../support/files.ts";
import { measure, report, seed } from "../support/stress.ts";

const calls = times(100_000);
const program = new URL("../programs/calls.ts", import.meta.url).pathname;

/** Whether the sequences crash the process. A race does not show every time, so this tries three times. */
function crashes(note: string, steps: readonly (readonly Step[])[]): boolean {
  writeFileSync(note, JSON.stringify(steps));
  for (let attempt = 0; attempt < 3; attempt++)
    if (
      Bun.spawnSync([process.execPath, program, String(seed), "replay", note], {
        stdio: ["ignore", "ignore", "ignore"],
        timeout: 30_000,
      }).signalCode
    )
      return true;
  return false;
}

/** Returns shorter sequences that still crash: it leaves out smaller and smaller parts, for a minute at most. */
function shrunk(note: string, steps: readonly (readonly Step[])[]): readonly (readonly Step[])[] {
  const deadline = performance.now() + 60_000;
  let best = steps;
  for (let part = 128; part >= 1; part /= 2)
    for (let thread = 0; thread < best.length; thread++)
      for (let start = 0; start < (best[thread]?.length ?? 0) && performance.now() < deadline; ) {
        const fewer = best.map((one, index) => (index === thread ? one.toSpliced(start, part) : one));
        if (crashes(note, fewer)) best = fewer;
        else start += part;
      }
  return best;
}

test(`${calls} random calls of the whole API, valid and invalid, by four threads that share pools and slots fail only as documented, do not crash, and leave nothing`, async () => {
  using folder = new Folder();
  const note = `${folder.path}/steps`;
  try {
    const found = await measure<Called>("calls", 600, calls, note);
    const outcomes = Object.entries(found.outcomes);
    const succeeded = outcomes.reduce((sum, [outcome, count]) => sum + (outcome.endsWith(" ok") ? count : 0), 0);
    const kinds = new Set(outcomes.map(([outcome]) => outcome.slice(0, outcome.lastIndexOf(" "))));
    report(
      "calls",
      `${found.calls} calls of ${kinds.size} kinds in ${found.sequences} sequences, ${found.tokens} slots given away, ${succeeded} succeeded, ` +
        `${outcomes.length - kinds.size} ways to fail, all documented`,
    );
    expect(found.calls).toBeGreaterThanOrEqual(calls);
    // A call that never succeeded, or never failed, was not tested.
    const never = [...kinds].filter((kind) => found.outcomes[`${kind} ok`] === undefined);
    expect(never).toEqual([]);
    expect(found.tokens).toBeGreaterThan(0);
  } catch (error) {
    if (error instanceof Error && /ended with SIG/.test(error.message) && existsSync(note))
      console.error(
        `stress calls: crashed, seed ${seed}, at ${JSON.stringify(shrunk(note, JSON.parse(readFileSync(note, "utf8"))))}`,
      );
    throw error;
  }
}, 900_000);
