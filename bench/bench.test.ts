/** Tests how the benchmarks evaluate measurements; measures nothing itself. Run by test/bench.test.ts. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Folder } from "../test/support/files.ts";
import { fc } from "../test/support/properties.ts";
import { chartsOf } from "./charts.ts";
import { Workplace } from "./files.ts";
import type { Comparison, Figures } from "./measure.ts";
import { measure, quick, type Workload } from "./measure.ts";
import { outcomeTable, tableOf } from "./report.ts";
import { intervalOf, relativeHalfWidth } from "./statistics.ts";
import { outcomesOf } from "./targets.ts";
import { listFiles, makeFiles, makeTree } from "./tree.ts";
import { against, allWorkloads } from "./workloads.ts";

const numbers = fc.array(fc.double({ min: 1, max: 1000, noNaN: true }), { minLength: 1, maxLength: 60 });

test("an interval contains the median, has observed values as bounds, and spans all of fewer than six values", () => {
  fc.assert(
    fc.property(numbers, (values) => {
      const { median, low, high } = intervalOf(values);
      const sorted = values.toSorted((one, other) => one - other);
      expect(low).toBeLessThanOrEqual(median);
      expect(high).toBeGreaterThanOrEqual(median);
      expect(values).toContain(low);
      expect(values).toContain(high);
      if (values.length < 6) expect([low, high]).toEqual([sorted[0] ?? 0, sorted.at(-1) ?? 0]);
    }),
  );
  // The exact binomial interval of 40 values is the 14th to the 27th. The normal approximation rounds outwards.
  expect(intervalOf(Array.from({ length: 40 }, (_, index) => index + 1))).toEqual({ median: 20.5, low: 14, high: 28 });
  expect(relativeHalfWidth({ median: 10, low: 9, high: 11 })).toBe(0.1);
});

/** Creates a contender whose rounds take the listed times, in nanoseconds per operation. */
function scripted(name: string, wallNs: readonly number[], log: string[]) {
  let next = 0;
  return {
    name,
    operations: 10,
    start: async () => ({
      async round(operations: number) {
        log.push(name);
        const ns = wallNs[next++ % wallNs.length] ?? 0;
        return { operations, wallNs: ns * operations, processorNs: 2 * ns * operations, figure: ns };
      },
      async [Symbol.asyncDispose]() {
        log.push(`${name} ended`);
      },
    }),
  };
}

test("contenders alternate and restart, ratios are per round, and rounds stop once ratios are precise", async () => {
  const log: string[] = [];
  // The machine's speed varies between rounds, but B is twice as fast as A in each round.
  const workload: Workload = {
    id: "w",
    title: "W",
    contenders: [scripted("A", [100, 400, 200], log), scripted("B", [50, 200, 100], log)],
  };
  const effort = {
    roundMs: 1,
    warmUpMs: 10,
    leastRounds: 6,
    mostRounds: 40,
    roundsAProcess: 4,
    relativeHalfWidth: 0.02,
  };
  const { rounds, contenders } = await measure(workload, effort, 40, () => undefined);
  expect(rounds).toBe(6);
  const turns = (count: number) => [...Array.from({ length: count }, () => ["A", "B"]).flat(), "B ended", "A ended"];
  expect(log).toEqual([...turns(4), ...turns(2)]);
  expect(contenders["B"]?.speed).toEqual({ median: 2, low: 2, high: 2 });
  expect(contenders["B"]?.processor?.median).toBe(0.5);
  expect(contenders["A"]?.wallNs).toEqual({ median: 200, low: 100, high: 400 });
  expect(contenders["A"]?.more["figure"]?.median).toBe(200);

  const unsteady: Workload = {
    id: "w",
    title: "W",
    contenders: [scripted("A", [100], []), scripted("B", [50, 100, 200], [])],
  };
  expect((await measure(unsteady, effort, 40, () => undefined)).rounds).toBe(40);
  expect((await measure(unsteady, effort, 7, () => undefined)).rounds).toBe(7);
  expect((await measure(unsteady, quick, 40, () => undefined)).rounds).toBe(3);
});

test("calibration fits a round's operations to its duration, even if the first call stalls", async () => {
  const effort = { roundMs: 1, warmUpMs: 1, leastRounds: 2, mostRounds: 2, roundsAProcess: 2, relativeHalfWidth: 0.02 };
  async function operationsARoundOf(...wallNs: number[]): Promise<number | undefined> {
    const { operations: _, ...contender } = scripted("A", wallNs, []);
    const { contenders } = await measure({ id: "w", title: "W", contenders: [contender] }, effort, 40, () => undefined);
    return contenders["A"]?.operationsARound;
  }
  expect(await operationsARoundOf(1000)).toBe(1000);
  expect(await operationsARoundOf(2_000_000)).toBe(1);
  expect(await operationsARoundOf(900_000_000, ...Array<number>(30).fill(1000))).toBe(1000);
});

test("a contender whose operations are fixed warms up for its own number of rounds, after its set-up", async () => {
  const log: string[] = [];
  const workload: Workload = {
    id: "w",
    title: "W",
    setUp: () => void log.push("set up"),
    contenders: [{ ...scripted("A", [100], log), warmUpRounds: 2 }, scripted("B", [100], log)],
  };
  await measure(workload, quick, 1, () => undefined);
  expect(log).toEqual(["set up", "A", "A", "A", "B", "B ended", "A ended"]);
});

test("a tree's files are listed with their sizes, and are the same in every run", () => {
  using folder = new Folder();
  const at = (name: string) => join(folder.path, name);
  for (const name of ["one", "two"]) {
    makeTree(at(name), 300);
    listFiles(at(name), at(`${name}.list`));
  }
  makeFiles(at("even"), 3, 4096);
  listFiles(at("even"), at("even.list"));
  const lines = (name: string) => readFileSync(at(name), "utf8").trimEnd().split("\n");
  expect(lines("even.list")).toEqual([0, 1, 2].map((index) => `4096 ${at(`even/0/file-${index}.txt`)}`));
  const one = lines("one.list");
  expect(one.length).toBe(300);
  expect(one.map((line) => line.replace(at("one"), ""))).toEqual(
    lines("two.list").map((line) => line.replace(at("two"), "")),
  );
  const sizes = one.map((line) => Number(line.split(" ", 1)[0]));
  const { median } = intervalOf(sizes);
  expect(median).toBeGreaterThan(2000);
  expect(median).toBeLessThan(3000);
  expect(Math.min(...sizes)).toBeGreaterThanOrEqual(64);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(65536);
});

test("warm-up ends after enough operations or enough time, but runs a minimum number of rounds", async () => {
  const effort = {
    roundMs: 1,
    warmUpMs: 10,
    leastRounds: 2,
    mostRounds: 2,
    roundsAProcess: 2,
    relativeHalfWidth: 0.02,
  };
  const measured = 2;
  async function warmUpRoundsOf(nsAnOperation: number, warmUpMs: number): Promise<number> {
    const { operations: _, ...contender } = scripted("A", [nsAnOperation], []);
    const rounds: number[] = [];
    const start = async () => {
      const running = await contender.start();
      const round = (operations: number) => {
        rounds.push(operations);
        return running.round(operations);
      };
      return { ...running, round };
    };
    await measure(
      { id: "w", title: "W", contenders: [{ ...contender, start }] },
      { ...effort, warmUpMs },
      40,
      () => undefined,
    );
    return rounds.filter((operations) => operations === rounds.at(-1)).length - measured;
  }
  expect(await warmUpRoundsOf(1000, 1000)).toBe(50);
  expect(await warmUpRoundsOf(1000, 10)).toBe(10);
  expect(await warmUpRoundsOf(1000, 1)).toBe(3);
  expect(await warmUpRoundsOf(10, 1000)).toBe(3);
});

const figures: Figures = {
  operationsARound: 1,
  wallNs: { median: 1000, low: 900, high: 1100 },
  processorNs: { median: 1000, low: 900, high: 1100 },
  speed: { median: 1, low: 0.9, high: 1.1 },
  processor: { median: 1, low: 0.9, high: 1.1 },
  more: { "bytes allocated": { median: 0, low: 0, high: 0 }, "timer, ms late p99.9": { median: 1, low: 1, high: 1 } },
};

/** Returns a comparison of every workload, in which all contenders have the same figures. */
function allAlike(): Map<string, Comparison> {
  using folder = new Folder();
  using place = new Workplace(folder.path);
  return new Map(
    allWorkloads(place).map(({ id, title, contenders }) => [
      id,
      { id, title, rounds: 8, contenders: Object.fromEntries(contenders.map(({ name }) => [name, figures])) },
    ]),
  );
}

test("each target refers to existing workloads and contenders, and is omitted if they have not run", () => {
  const comparisons = allAlike();
  const outcomes = outcomesOf(comparisons);
  expect(outcomes.length).toBe(52);
  const reached = outcomes.filter(({ met }) => met).map(({ target }) => target);
  expect(reached).toContain("Ring, page cache, depth 64: operations per second of C's");
  expect(reached).not.toContain("Ring over node:fs/promises, O_DIRECT, depth 64");
  expect(outcomesOf(new Map())).toEqual([]);
  comparisons.delete("copy");
  expect(outcomesOf(comparisons).length).toBe(51);
  const missed = outcomes.filter(({ met }) => !met);
  expect(missed.length).toBeGreaterThan(0);
  for (const { target } of outcomes) expect(outcomeTable(outcomes)).toContain(target);
});

test("each workload's table lists its contenders, and all three charts can be drawn from the workloads", () => {
  const comparisons = allAlike();
  for (const comparison of comparisons.values())
    for (const name of Object.keys(comparison.contenders)) expect(tableOf(comparison)).toContain(name);
  const charts = chartsOf(comparisons, "a machine");
  expect([...charts.keys()]).toEqual(["reads-page-cache.svg", "reads-o-direct.svg", "join.svg"]);
  for (const svg of charts.values()) {
    expect(svg).toStartWith("<svg");
    expect(svg).toContain("a machine");
  }
  expect(chartsOf(new Map(), "").size).toBe(0);
});

test("every program file that a workload names exists", () => {
  const folder = new URL("./workloads/", import.meta.url);
  const source = readdirSync(folder)
    .map((name) => readFileSync(new URL(name, folder), "utf8"))
    .join("\n");
  const functions = "program|reader|single|ofModules|workers?|writer|copiers?|served";
  const calls = new RegExp(`(?:${functions})\\(\\s*(?:"[^"]+"|\\w+),\\s*"([\\w-]+)"`, "g");
  const names = Array.from(source.matchAll(calls), ([, name]) => name ?? "");
  expect(names.length).toBeGreaterThan(40);
  for (const name of names)
    expect([name, existsSync(new URL(`./programs/${name}.ts`, import.meta.url))]).toEqual([name, true]);
});

test("against another checkout, each program is compared with its own file there, and nothing else is", () => {
  using folder = new Folder();
  using place = new Workplace(folder.path);
  const read = allWorkloads(place).filter(({ id }) => id === "random-read-direct-1");
  const compared = against("/elsewhere", read);
  expect(compared.map(({ contenders }) => contenders.map(({ name }) => name))).toEqual(
    ["RawRing", "Ring", "Ring.pump", "node:fs/promises", "node:fs sync"].map((name) => ["/elsewhere", name]),
  );
  expect(compared[1]?.id).toBe("random-read-direct-1: Ring");
});
