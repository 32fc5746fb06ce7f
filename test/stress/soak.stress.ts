import { expect, test } from "bun:test";
import type { Soaked } from "../programs/soak.ts";
import type { Terminated } from "../programs/terminate.ts";
import { times } from "../support/effort.ts";
import { measure, report } from "../support/stress.ts";

const isCi = process.env["CI"] !== undefined && process.env["CI"] !== "";
const seconds = Number(process.env["BUN_URING_SOAK_SECONDS"] ?? (isCi ? 60 : 600));
/**
 * How many kB the medians of two thirds may differ by without a leak: allocators keep more memory at one time than at
 * another.
 */
const noiseKb = 16 * 1024;
/**
 * A Worker of this test loads more modules than one that only compiles the shim, so it leaves more memory: at most this
 * many times as much.
 */
const mostOfBaseline = 1.5;

/** The median, or the upper one of the two middle values. */
function medianOf(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;
}

test(
  `while everything runs at once for ${seconds} s, data stays right, and memory, descriptors and pinned pages stay flat`,
  async () => {
    const compiled = await measure<Terminated>("terminate", 200, times(150), "compiled");
    const { looks, faults, done } = await measure<Soaked>("soak", seconds + 60, seconds);
    // The first sixth is the warm-up, in which code is compiled and allocators grow.
    const steady = looks.slice(Math.ceil(looks.length / 6));
    const third = Math.floor(steady.length / 3);
    const [early, late] = [steady.slice(0, third), steady.slice(-third)];
    const grownKb =
      medianOf(late.map(({ residentKb }) => residentKb)) - medianOf(early.map(({ residentKb }) => residentKb));
    const workers = medianOf(late.map((look) => look.workers)) - medianOf(early.map((look) => look.workers));
    // Medians of thirds ignore a single high measurement, but show any leak, and the more clearly the longer the run
    // is.
    const allowedKb = noiseKb + mostOfBaseline * Math.max(0, compiled.growthKbPerWorker) * workers;
    report(
      "soak",
      `${seconds} s, ${looks.at(-1)?.workers} Workers, ${Object.entries(done)
        .map(([what, count]) => `${count} ${what}`)
        .join(", ")}; RSS ${grownKb} kB more over ${workers} Workers, ${Math.round(allowedKb)} allowed`,
    );
    expect(faults).toEqual([]);
    expect(third, "looks in a third: too few seconds").toBeGreaterThan(1);
    const [first] = steady;
    for (const { descriptors, rings, pinnedKb } of steady)
      expect({ descriptors, rings, pinnedKb }).toEqual({
        descriptors: first?.descriptors ?? 0,
        rings: 1, // the thread's, which stays open
        pinnedKb: first?.pinnedKb ?? 0,
      });
    expect(grownKb).toBeLessThan(allowedKb);
  },
  (seconds + 300) * 1000,
);
