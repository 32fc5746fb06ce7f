/** What the library is to reach, as ratios of medians of one run, and what it reached. */
import type { Comparison, Figures } from "./measure.ts";
import { digits } from "./report.ts";

export interface Outcome {
  readonly target: string;
  readonly limit: string;
  readonly measured: number;
  readonly unit: string;
  readonly met: boolean;
  /** What stands in the way, where it was missed and that is known. */
  readonly obstacle?: string;
}

type Find = (id: string, contender: string) => Figures;
type Comparisons = ReadonlyMap<string, Comparison>;

interface Target {
  readonly target: string;
  readonly least?: number;
  readonly most?: number;
  readonly unit?: string;
  readonly measure: (figures: Find) => number;
  /** What a profile shows to be in the way, and can't be removed here. */
  readonly obstacle?: (figures: Find) => string;
}

const c = "C with liburing";
const wall = ({ wallNs }: Figures) => wallNs.median;
const processor = ({ processorNs }: Figures) => processorNs?.median ?? Number.NaN;
const more = ({ more: figures }: Figures, name: string) => figures[name]?.median ?? Number.NaN;
/** Milliseconds that a program takes longer than another. */
const over = (figures: Find, program: string, other: string) => (wall(figures("start", program)) - wall(figures("start", other))) / 1e6;
/** How many times as fast two are as one. */
const gain = (figures: Find, one: string, two: string) => wall(figures("workers-cached", one)) / wall(figures("workers-cached", two));
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
  {
    target: "RawRing, page cache, depth 64: operations per second of C's",
    least: 0.97,
    measure: (f) => wall(f("random-read-cached-64", c)) / wall(f("random-read-cached-64", "RawRing")),
  },
  {
    target: "Ring, page cache, depth 64: operations per second of C's",
    least: 0.85,
    measure: (f) => wall(f("random-read-cached-64", c)) / wall(f("random-read-cached-64", "Ring")),
    obstacle: (f) =>
      `"bare promises" is RawRing with a promise for each read and nothing else, no check, no file, no lifetime: that is ${digits(wall(f("random-read-cached-64", c)) / wall(f("random-read-cached-64", "bare promises")))} × of C. ` +
      "A read takes the engine's own code for promises and microtasks some 110 ns with either (perf, with JavaScriptCore's jitdump). Compiled JavaScript takes 57 ns of RawRing's read, 155 of that with bare promises, " +
      "and 225 of Ring's: the 70 between are spread over its checks, its record of the request and its lifetimes, and of those that were left out for a try none changed what a run measures. " +
      "Twenty starts of each on another machine had Ring at 0.825 (95 %: 0.80 to 0.87) and bare promises at 0.831 (0.83 to 0.89) of C. " +
      "There a Ring that checks no options, looks at nothing twice and keeps each request's place was 1.00 × as fast (95 %: 0.98 to 1.04; 14 starts), " +
      "one that also leaves timers and sockets no turn of their own 1.03 × (0.99 to 1.06), and bare promises 1.01 × (0.99 to 1.02).",
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
    obstacle: (f) =>
      `RawRing waits in a system call, as C does, and takes ${digits(wall(f("random-read-direct-1", "RawRing")) / wall(f("random-read-direct-1", c)))} × C's time here; ` +
      "Ring waits where all of the program does, in the event loop, and then enters the kernel once more for what has completed.",
  },
  {
    target: "Ring over node:fs/promises, page cache, depth 64",
    least: 2.7,
    measure: (f) => wall(f("random-read-cached-64", "node:fs/promises")) / wall(f("random-read-cached-64", "Ring")),
    obstacle: (f) =>
      `C itself is ${digits(wall(f("random-read-cached-64", "node:fs/promises")) / wall(f("random-read-cached-64", c)))} × as fast as node:fs/promises here: what is in the page cache is copied, and copying takes most of the time.`,
  },
  {
    target: "Ring over node:fs/promises, O_DIRECT, depth 64",
    least: 4,
    measure: (f) => wall(f("random-read-direct-64", "node:fs/promises")) / wall(f("random-read-direct-64", "Ring")),
    obstacle: (f) =>
      `C itself is ${digits(wall(f("random-read-direct-64", "node:fs/promises")) / wall(f("random-read-direct-64", c)))} × as fast as node:fs/promises here, on the same disk.`,
  },
  {
    target: "Ring, O_DIRECT, depth 64: processor time of node:fs/promises'",
    most: 1 / 8,
    measure: (f) => processor(f("random-read-direct-64", "Ring")) / processor(f("random-read-direct-64", "node:fs/promises")),
    obstacle: (f) =>
      `C itself takes ${digits(processor(f("random-read-direct-64", c)) / processor(f("random-read-direct-64", "node:fs/promises")))} × of node:fs/promises' here.`,
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
  { target: "copyFile of 1 GiB: speed of cp's, both with fsync", least: 0.95, measure: (f) => wall(f("copy", "cp and sync")) / wall(f("copy", "copyFile")) },
  {
    target: "2 Workers over 1, page cache: what C gains with 2 threads",
    least: 0.95,
    measure: (f) => gain(f, "Ring, 1 Worker", "Ring, 2 Workers") / gain(f, "C, 1 thread", "C, 2 threads"),
    obstacle: (f) =>
      `Two Workers take ${digits(processor(f("workers-cached", "Ring, 2 Workers")) / processor(f("workers-cached", "Ring, 1 Worker")))} × the processor time of one for each read, ` +
      `and C's two threads ${digits(processor(f("workers-cached", "C, 2 threads")) / processor(f("workers-cached", "C, 1 thread")))} × that of one: they do not stand in each other's way. ` +
      "But on 2 processors they have 95 % of each (/proc/PID/task/TID/schedstat), C's threads 98.5 %: for 2.5 % of the time a Worker waits while the engine's own threads, which collect and compile, have its processor. " +
      "A single Worker leaves them the other one, and runs for 99.6 %. " +
      `Sharing a process and a pool is not what it takes: two processes that share nothing gain ${digits(gain(f, "Ring, 1 Worker", "Ring, 2 processes"))} with Ring, where two Workers gain ${digits(gain(f, "Ring, 1 Worker", "Ring, 2 Workers"))}; ` +
      `with C ${digits(gain(f, "C, 1 thread", "C, 2 processes"))}, where two threads gain ${digits(gain(f, "C, 1 thread", "C, 2 threads"))}. ` +
      "Which of C's two gains more is chance: on another machine 20 starts gave its threads 1.95 and its processes 2.11, and 15 more 1.94 and 1.98. " +
      "There two Workers reached 0.965 and 0.956 of what C's threads gained, the latter with a 95 % interval from 0.84 to 1.00: from one start to the next it differs more than what is missing.",
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
    obstacle: (f) =>
      "Where a process's memory happens to lie, registering takes it from 91 to 119 ms, and cloning from 0.9 to 1.09 µs: six runs gave 95 758 to 119 893. " +
      `The call alone takes C ${digits(wall(f("clone-call-4", c)))} ns for as many buffers, of which a ring that joins can take nothing away.`,
  },
  {
    target: "Clones of Workers 17 to 32 over those of Workers 1 to 16",
    most: 1.25,
    measure: (f) => {
      const worker = f("join-workers", "Worker");
      const sum = (first: number) => Array.from({ length: 16 }, (_, index) => more(worker, `Worker ${first + index}`)).reduce((one, other) => one + other);
      return sum(17) / sum(1);
    },
  },
  {
    target: "Import and first ring, over an empty program",
    most: 15,
    unit: "ms",
    measure: (f) => over(f, "import and first ring", "empty"),
    obstacle: (f) =>
      `An empty function takes bun:ffi's cc() ${digits(over(f, "cc() of an empty function", "empty"))} ms, most of it in a process's first call, which writes headers of Bun to the folder for temporary files. ` +
      `The engine's parsing and compiling is half of the rest: with bytecode (bun build --compile --bytecode) the same program takes ${digits(over(f, "import and first ring, compiled with bytecode", "empty, compiled with bytecode"))} ms over an empty one. ` +
      "Of what npm packs JavaScriptCore parses 3.4 ms for the module's imports and exports, 1.2 once more, and compiles its outermost level for 1.7, and each function when it is first called (BUN_JSC_reportParseTimes=1, BUN_JSC_reportBytecodeCompileTimes=1); evaluating the module takes 1.2, the shim and its bindings 1, what the kernel can do and the ring 1.7. " +
      "npm's package cannot have the bytecode: it is of one version of Bun, and 480 kB, where all that is installed is to be less than 400. " +
      "Shortened names, a third less text, take 0.4 ms away. To leave out altogether what a first ring does not use (copies, hashes, streams, 23 of 163 kB) changes 0 to 0.6 ms: " +
      "parts that are loaded late would not reach it, and fail where a process has no descriptor left or has dropped the right to read them. " +
      "On another machine importing a module of one line takes 0.6 to 1.0 ms, bun:ffi 0.5 to 0.7, 249 constants 0.4 to 0.6, compiling the shim 0.9. There the import alone took 10.6 ms with what only the doctor says in it, and 9.7 without, as it is now (60 rounds in turns).",
  },
  { target: "RawRing, bytes allocated per operation", most: 0, unit: "bytes", measure: (f) => more(f("allocations", "RawRing"), "bytes allocated") },
  {
    target: "A timer of 1 ms under a flood, p99.9",
    most: 2,
    unit: "ms late",
    measure: (f) => Math.max(...["Ring, page cache", "Ring, O_DIRECT"].map((name) => more(f("loop", name), "timer, ms late p99.9"))),
    obstacle: (f) => `With nothing beside it the timer is ${digits(more(f("loop", "nothing"), "timer, ms late p99.9"))} ms late here.`,
  },
];

/** Of the targets whose workloads have run. */
export function outcomesOf(comparisons: Comparisons): Outcome[] {
  return targets.flatMap(({ target, least, most, unit = "×", measure, obstacle }) => {
    let complete = true;
    const none: Figures = { operationsARound: 0, wallNs: { median: 0, low: 0, high: 0 }, speed: { median: 0, low: 0, high: 0 }, more: {} };
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
        ...(!met && obstacle !== undefined && { obstacle: obstacle(find) }),
      },
    ];
  });
}
