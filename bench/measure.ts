/** Paired rounds: each contender's next stands beside the others' in time, so whatever else the machine does happens to all of them. */
import type { Contender, Round, Running } from "./contender.ts";
import { type Interval, intervalOf, relativeHalfWidth } from "./statistics.ts";

export interface Effort {
  readonly roundMs: number;
  /** Of a contender whose operations take long; others warm up until they have done many. */
  readonly warmUpMs: number;
  readonly leastRounds: number;
  readonly mostRounds: number;
  /** Then every contender starts anew: where a process happens to lie in memory makes it some percent faster or slower for as long as it lives. */
  readonly roundsAProcess: number;
  /** Rounds go on until every ratio is known so well. */
  readonly relativeHalfWidth: number;
}

export const thorough: Effort = { roundMs: 150, warmUpMs: 3000, leastRounds: 8, mostRounds: 40, roundsAProcess: 10, relativeHalfWidth: 0.02 };
export const quick: Effort = { roundMs: 50, warmUpMs: 1000, leastRounds: 3, mostRounds: 3, roundsAProcess: 3, relativeHalfWidth: 0.02 };

/** What a contender came to. */
export interface Figures {
  readonly operationsARound: number;
  /** Wall nanoseconds an operation. */
  readonly wallNs: Interval;
  /** Processor nanoseconds an operation. */
  readonly processorNs?: Interval;
  /** The baseline's wall time over this one's, of each round: above 1 this is faster. */
  readonly speed: Interval;
  /** This one's processor time over the baseline's. */
  readonly processor?: Interval;
  /** What else its rounds told. */
  readonly more: Readonly<Record<string, Interval>>;
}

/** What contenders of one workload came to, the first of which is the baseline. */
export interface Comparison {
  readonly id: string;
  readonly title: string;
  readonly rounds: number;
  readonly contenders: Readonly<Record<string, Figures>>;
}

/** A workload, before it runs. */
export interface Workload {
  readonly id: string;
  readonly title: string;
  readonly contenders: readonly Contender[];
  /** Part of a run of less than a minute. */
  readonly quick?: boolean;
  /** Runs before each round. */
  readonly prepare?: () => Promise<void>;
  readonly effort?: Partial<Effort>;
}

const warmUpRounds = 5;
const warmUpOperations = 50_000;

/** How many operations take a round's time, found by doing more and more. What took long has to do so twice: a disk may have stood still for a moment. */
async function calibrate(running: Running, roundMs: number): Promise<number> {
  const timeNs = async (count: number) => (await running.round(count)).wallNs;
  const enoughNs = (roundMs * 1e6) / 4;
  let count = 1;
  for (;;) {
    const firstNs = await timeNs(count);
    const ns = firstNs > enoughNs ? Math.min(firstNs, await timeNs(count)) : firstNs;
    if (ns > enoughNs) return Math.max(1, Math.round((count * roundMs * 1e6) / ns));
    count = Math.ceil(count * Math.min(64, Math.max(2, (roundMs * 1e6) / 2 / Math.max(1, ns))));
  }
}

/** A contender, with what its rounds were so far. */
interface Lane {
  readonly contender: Contender;
  /** Of each round; undefined until it is known. */
  operations: number | undefined;
  readonly rounds: Round[];
}

/** An engine compiles what has been called often enough: on a slow disk few rounds are too few calls. */
async function warmUp(running: Running, operations: number, mostMs: number): Promise<void> {
  let ms = 0;
  for (let rounds = 0; rounds < warmUpRounds || (rounds * operations < warmUpOperations && ms < mostMs); rounds++)
    ms += (await running.round(operations)).wallNs / 1e6;
}

/** Starts a lane's contender, and has it warm. Returns what does a round more. */
async function begin(lane: Lane, { roundMs, warmUpMs }: Effort, processes: AsyncDisposableStack): Promise<() => Promise<void>> {
  const running = processes.use(await lane.contender.start());
  const operations = lane.operations ?? (await calibrate(running, roundMs));
  lane.operations = operations;
  const isFixed = lane.contender.operations !== undefined;
  if (!isFixed && operations > 1) await warmUp(running, operations, warmUpMs);
  return async () => void lane.rounds.push(await running.round(operations));
}

const perOperation = (round: Round, ns: number) => ns / round.operations;

function figuresOf(rounds: readonly Round[], baseline: readonly Round[]): Figures {
  const pairs = rounds.flatMap((round, index) => {
    const other = baseline[index];
    return other === undefined ? [] : [{ round, other }];
  });
  const processorNs = rounds.flatMap((round) => (round.processorNs === undefined ? [] : [perOperation(round, round.processorNs)]));
  const processor = pairs.flatMap(({ round, other }) =>
    round.processorNs === undefined || !other.processorNs ? [] : [perOperation(round, round.processorNs) / perOperation(other, other.processorNs)],
  );
  const names = Object.keys(rounds[0] ?? {}).filter((name) => !["operations", "wallNs", "processorNs"].includes(name));
  return {
    operationsARound: rounds[0]?.operations ?? 0,
    wallNs: intervalOf(rounds.map((round) => perOperation(round, round.wallNs))),
    ...(processorNs.length === 0 ? {} : { processorNs: intervalOf(processorNs) }),
    speed: intervalOf(pairs.map(({ round, other }) => perOperation(other, other.wallNs) / perOperation(round, round.wallNs))),
    ...(processor.length === 0 ? {} : { processor: intervalOf(processor) }),
    more: Object.fromEntries(names.map((name) => [name, intervalOf(rounds.map((round) => round[name] ?? 0))])),
  };
}

/** Runs a workload: A B C A B C …, each in its own process, until the ratios are known well enough. */
export async function measure(workload: Workload, effort: Effort, limit: number, onRound: (round: number) => void): Promise<Comparison> {
  const { contenders, prepare } = workload;
  const effective: Effort = { ...effort, ...(effort === quick ? {} : workload.effort) };
  const { leastRounds, mostRounds, roundsAProcess, relativeHalfWidth: wanted } = effective;
  const lanes = contenders.map((contender): Lane => ({ contender, operations: contender.operations, rounds: [] }));
  const baseline = lanes[0]?.rounds ?? [];
  const figures = () => lanes.map(({ contender: { name }, rounds }) => [name, figuresOf(rounds, baseline)] as const);
  const isKnown = () => baseline.length >= leastRounds && figures().every(([, { speed }]) => relativeHalfWidth(speed) <= wanted);
  const isDone = () => baseline.length >= Math.min(mostRounds, limit) || isKnown();
  while (!isDone()) {
    await using processes = new AsyncDisposableStack();
    const turns: (() => Promise<void>)[] = [];
    for (const lane of lanes) turns.push(await begin(lane, effective, processes));
    do {
      for (const turn of turns) {
        await prepare?.();
        await turn();
      }
      onRound(baseline.length);
    } while (baseline.length % roundsAProcess !== 0 && !isDone());
  }
  return { id: workload.id, title: workload.title, rounds: baseline.length, contenders: Object.fromEntries(figures()) };
}
