/** Performance targets of the library, and their outcomes. */
import { everydayTargets } from "./everyday-targets.ts";
import type { Comparison, Figures } from "./measure.ts";
import { type Find, more, processor, type Target, wall } from "./target.ts";

export interface Outcome {
  readonly target: string;
  readonly limit: string;
  readonly measured: number;
  readonly unit: string;
  readonly met: boolean;
}

type Comparisons = ReadonlyMap<string, Comparison>;

const c = "C with liburing";
/** How many milliseconds longer `program` takes than `other`. */
const over = (figures: Find, program: string, other: string) =>
  (wall(figures("start", program)) - wall(figures("start", other))) / 1e6;
/** Speedup of `two` over `one`. */
const gain = (figures: Find, one: string, two: string) =>
  wall(figures("workers-cached", one)) / wall(figures("workers-cached", two));
const join = (slots: number, slotBytes: number, pages: string) => `join-${slots}x${slotBytes}-${pages}`;
const joins = [
  join(1, 2 ** 20, "huge"),
  join(64, 2 ** 20, "huge"),
  join(1024, 2 ** 20, "huge"),
  join(4096, 2 ** 20, "huge"),
  join(4096, 2 ** 20, "small"),
  join(2 ** 20, 4096, "huge"),
];

const targets: readonly Target[] = [
  ...everydayTargets,
  {
    target: "RawRing, page cache, depth 64: operations per second of C's",
    least: 0.97,
    measure: (f) => wall(f("random-read-cached-64", c)) / wall(f("random-read-cached-64", "RawRing")),
  },
  {
    target: "Ring, page cache, depth 64: operations per second of C's",
    least: 0.85,
    measure: (f) => wall(f("random-read-cached-64", c)) / wall(f("random-read-cached-64", "Ring")),
  },
  {
    target: "Ring.pump, page cache, depth 64: operations per second of C's",
    least: 0.9,
    measure: (f) => wall(f("random-read-cached-64", c)) / wall(f("random-read-cached-64", "Ring.pump")),
  },
  {
    target: "Ring.batch of 64, page cache: operations per second of C's",
    least: 0.88,
    measure: (f) => wall(f("random-read-cached-64", c)) / wall(f("random-read-cached-64", "Ring.batch")),
  },
  {
    target: "Ring.pump, page cache, depth 64: speed relative to node:fs/promises",
    least: 2,
    measure: (f) =>
      wall(f("random-read-cached-64", "node:fs/promises")) / wall(f("random-read-cached-64", "Ring.pump")),
  },
  {
    target: "Ring.pump, O_DIRECT, depth 64: operations per second of C's",
    least: 0.97,
    measure: (f) => wall(f("random-read-direct-64", c)) / wall(f("random-read-direct-64", "Ring.pump")),
  },
  {
    target: "Ring.pump, O_DIRECT, depth 64: processor time of C's",
    most: 1.1,
    measure: (f) => processor(f("random-read-direct-64", "Ring.pump")) / processor(f("random-read-direct-64", c)),
  },
  {
    target: "Ring.pump, O_DIRECT, depth 64: speed relative to node:fs/promises",
    least: 5,
    measure: (f) =>
      wall(f("random-read-direct-64", "node:fs/promises")) / wall(f("random-read-direct-64", "Ring.pump")),
  },
  {
    target: "Ring, O_DIRECT, depth 64: operations per second of C's",
    least: 0.95,
    measure: (f) => wall(f("random-read-direct-64", c)) / wall(f("random-read-direct-64", "Ring")),
  },
  {
    target: "Ring, O_DIRECT, depth 64: processor time of C's",
    most: 1.5,
    measure: (f) => processor(f("random-read-direct-64", "Ring")) / processor(f("random-read-direct-64", c)),
  },
  {
    target: "Ring, O_DIRECT, depth 1: latency of C's",
    most: 1.15,
    measure: (f) => wall(f("random-read-direct-1", "Ring")) / wall(f("random-read-direct-1", c)),
  },
  {
    target: "Ring over node:fs/promises, page cache, depth 64",
    least: 2.7,
    measure: (f) => wall(f("random-read-cached-64", "node:fs/promises")) / wall(f("random-read-cached-64", "Ring")),
  },
  {
    target: "Ring over node:fs/promises, O_DIRECT, depth 64",
    least: 4,
    measure: (f) => wall(f("random-read-direct-64", "node:fs/promises")) / wall(f("random-read-direct-64", "Ring")),
  },
  {
    target: "Ring, O_DIRECT, depth 64: processor time of node:fs/promises'",
    most: 1 / 8,
    measure: (f) =>
      processor(f("random-read-direct-64", "Ring")) / processor(f("random-read-direct-64", "node:fs/promises")),
  },
  {
    target: "Ring, sequential 1 MiB O_DIRECT: bytes per second of fio's",
    least: 0.98,
    measure: (f) => wall(f("sequential-read", "fio")) / wall(f("sequential-read", "Ring")),
  },
  {
    target: "Ring, sequential 1 MiB O_DIRECT: processor time of fio's",
    most: 1.5,
    measure: (f) => processor(f("sequential-read", "Ring")) / processor(f("sequential-read", "fio")),
  },
  {
    target: "copyFile of 1 GiB: speed of cp's, both with fsync",
    least: 0.95,
    measure: (f) => wall(f("copy", "cp and sync")) / wall(f("copy", "copyFile")),
  },
  {
    target: "2 Workers over 1, page cache: what C gains with 2 threads",
    least: 0.95,
    measure: (f) => gain(f, "Ring, 1 Worker", "Ring, 2 Workers") / gain(f, "C, 1 thread", "C, 2 threads"),
  },
  {
    target: "The clone call, time of the same call from C",
    most: 1.5,
    measure: (f) => wall(f("clone-call-1", "RawRing.cloneBuffers")) / wall(f("clone-call-1", c)),
  },
  {
    target: "A ring joins a pool of any size and slot count",
    most: 5,
    unit: "µs",
    measure: (f) => Math.max(...joins.map((id) => wall(f(id, "clone")))) / 1000,
  },
  {
    target: "Cloning over registering 4 GiB with huge pages",
    least: 5000,
    measure: (f) => wall(f(join(4096, 2 ** 20, "huge"), "register")) / wall(f(join(4096, 2 ** 20, "huge"), "clone")),
  },
  {
    target: "Cloning over registering 4 GiB with small pages",
    least: 100_000,
    measure: (f) => wall(f(join(4096, 2 ** 20, "small"), "register")) / wall(f(join(4096, 2 ** 20, "small"), "clone")),
  },
  {
    target: "Clones of Workers 17 to 32 over those of Workers 1 to 16",
    most: 1.25,
    measure: (f) => {
      const worker = f("join-workers", "Worker");
      const sum = (first: number) =>
        Array.from({ length: 16 }, (_, index) => more(worker, `Worker ${first + index}`)).reduce(
          (one, other) => one + other,
        );
      return sum(17) / sum(1);
    },
  },
  {
    target: "Import and first ring, over an empty program",
    most: 15,
    unit: "ms",
    measure: (f) => over(f, "import and first ring", "empty"),
  },
  {
    target: "RawRing, bytes allocated per operation",
    most: 0,
    unit: "bytes",
    measure: (f) => more(f("allocations", "RawRing"), "bytes allocated"),
  },
  {
    target: "A timer of 1 ms under a flood, p99.9",
    most: 2,
    unit: "ms late",
    measure: (f) =>
      Math.max(...["Ring, page cache", "Ring, O_DIRECT"].map((name) => more(f("loop", name), "timer, ms late p99.9"))),
  },
];

/** Returns the outcomes of the targets whose workloads have run. */
export function outcomesOf(comparisons: Comparisons): Outcome[] {
  return targets.flatMap(({ target, least, most, unit = "×", measure }) => {
    let complete = true;
    const none: Figures = {
      operationsARound: 0,
      wallNs: { median: 0, low: 0, high: 0 },
      speed: { median: 0, low: 0, high: 0 },
      more: {},
    };
    const find: Find = (id, contender) => {
      const found = comparisons.get(id)?.contenders[contender];
      complete &&= found !== undefined;
      return found ?? none;
    };
    const measured = measure(find);
    if (!complete) return [];
    const met = (least === undefined || measured >= least) && (most === undefined || measured <= most);
    return [
      {
        target,
        limit: least === undefined ? `≤ ${most}` : `≥ ${least}`,
        measured,
        unit,
        met,
      },
    ];
  });
}
