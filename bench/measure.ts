/** Measures contenders in paired rounds. Their rounds alternate, so that other load on the machine affects them all. */
import type { Contender, Round, Running } from "./contender.ts";
import { type Interval, intervalOf, relativeHalfWidth } from "./statistics.ts";

export interface Effort {
  readonly roundMs: number;
  /** Limits the warm-up if operations are slow. Otherwise it ends after `warmUpOperations`. */
  readonly warmUpMs: number;
  readonly leastRounds: number;
  readonly mostRounds: number;
  /**
   * Rounds before all contenders restart. Memory layout makes a process a few percent faster or slower for its
   * lifetime.
   */
  readonly roundsAProcess: number;
  /** Rounds continue until the relative half-width of every `speed` interval is at most this. */
  readonly relativeHalfWidth: number;
}

export const thorough: Effort = {
  roundMs: 100,
  warmUpMs: 700,
  leastRounds: 8,
  mostRounds: 12,
  roundsAProcess: 4,
  relativeHalfWidth: 0.02,
};
export const quick: Effort = {
  roundMs: 50,
  warmUpMs: 500,
  leastRounds: 3,
  mostRounds: 3,
  roundsAProcess: 3,
  relativeHalfWidth: 0.02,
};

/** Measurements of a contender. */
export interface Figures {
  readonly operationsARound: number;
  /** Wall-clock nanoseconds per operation. */
  readonly wallNs: Interval;
  /** Processor nanoseconds per operation. */
  readonly processorNs?: Interval;
  /** The baseline's wall-clock time divided by this contender's, per round. Above 1, this contender is faster. */
  readonly speed: Interval;
  /** This contender's processor time divided by the baseline's, per round. */
  readonly processor?: Interval;
  /** Figures specific to the workload. */
  readonly more: Readonly<Record<string, Interval>>;
}

/** Measurements of a workload's contenders. The first contender is the baseline. */
export interface Comparison {
  readonly id: string;
  readonly title: string;
  readonly rounds: number;
  readonly contenders: Readonly<Record<string, Figures>>;
}

/** Definition of a workload. */
export interface Workload {
  readonly id: string;
  readonly title: string;
  readonly contenders: readonly Contender[];
  /** Whether `--quick` includes the workload. */
  readonly quick?: boolean;
  /** Runs once, before the contenders start. Makes the files that they need. */
  readonly setUp?: () => void | Promise<void>;
  /** Runs before each round of each contender. */
  readonly prepare?: () => Promise<void>;
  readonly effort?: Partial<Effort>;
}

const warmUpRounds = 3;
const warmUpOperations = 50_000;

/**
 * Returns the number of operations that fill a round. Increases the count until a call takes long enough. Repeats a
 * long call and takes the shorter time, because the disk may have stalled.
 */
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

/** A contender and the results of its rounds so far. */
interface Lane {
  readonly contender: Contender;
  /** Operations per round; undefined before calibration. */
  operations: number | undefined;
  readonly rounds: Round[];
}

/**
 * Runs rounds until the JIT compiler has seen enough calls. A number of rounds alone is not enough: on a slow disk, a
 * round has few operations.
 */
async function warmUp(running: Running, operations: number, mostMs: number): Promise<void> {
  let ms = 0;
  for (let rounds = 0; rounds < warmUpRounds || (rounds * operations < warmUpOperations && ms < mostMs); rounds++)
    ms += (await running.round(operations)).wallNs / 1e6;
}

/** Starts a lane's contender and warms it up. Returns a function that runs one more round. */
async function begin(
  lane: Lane,
  { roundMs, warmUpMs }: Effort,
  processes: AsyncDisposableStack,
): Promise<() => Promise<void>> {
  const running = processes.use(await lane.contender.start());
  const operations = lane.operations ?? (await calibrate(running, roundMs));
  lane.operations = operations;
  if (lane.contender.operations === undefined) {
    if (operations > 1) await warmUp(running, operations, warmUpMs);
  } else {
    for (let round = 0; round < (lane.contender.warmUpRounds ?? 0); round++) await running.round(operations);
  }
  return async () => void lane.rounds.push(await running.round(operations));
}

const perOperation = (round: Round, ns: number) => ns / round.operations;

function figuresOf(rounds: readonly Round[], baseline: readonly Round[]): Figures {
  const pairs = rounds.flatMap((round, index) => {
    const other = baseline[index];
    return other === undefined ? [] : [{ round, other }];
  });
  const processorNs = rounds.flatMap((round) =>
    round.processorNs === undefined ? [] : [perOperation(round, round.processorNs)],
  );
  const processor = pairs.flatMap(({ round, other }) =>
    round.processorNs === undefined || !other.processorNs
      ? []
      : [perOperation(round, round.processorNs) / perOperation(other, other.processorNs)],
  );
  const names = Object.keys(rounds[0] ?? {}).filter((name) => !["operations", "wallNs", "processorNs"].includes(name));
  return {
    operationsARound: rounds[0]?.operations ?? 0,
    wallNs: intervalOf(rounds.map((round) => perOperation(round, round.wallNs))),
    ...(processorNs.length === 0 ? {} : { processorNs: intervalOf(processorNs) }),
    speed: intervalOf(
      pairs.map(({ round, other }) => perOperation(other, other.wallNs) / perOperation(round, round.wallNs)),
    ),
    ...(processor.length === 0 ? {} : { processor: intervalOf(processor) }),
    more: Object.fromEntries(names.map((name) => [name, intervalOf(rounds.map((round) => round[name] ?? 0))])),
  };
}

/** Runs a workload's contenders alternately, A B C A B C …, until the ratios are precise enough. */
export async function measure(
  workload: Workload,
  effort: Effort,
  limit: number,
  onRound: (round: number) => void,
): Promise<Comparison> {
  const { contenders, setUp, prepare } = workload;
  const effective: Effort = { ...effort, ...(effort === quick ? {} : workload.effort) };
  const { leastRounds, mostRounds, roundsAProcess, relativeHalfWidth: wanted } = effective;
  const lanes = contenders.map((contender): Lane => ({ contender, operations: contender.operations, rounds: [] }));
  const baseline = lanes[0]?.rounds ?? [];
  const figures = () => lanes.map(({ contender: { name }, rounds }) => [name, figuresOf(rounds, baseline)] as const);
  const isKnown = () =>
    baseline.length >= leastRounds && figures().every(([, { speed }]) => relativeHalfWidth(speed) <= wanted);
  const isDone = () => baseline.length >= Math.min(mostRounds, limit) || isKnown();
  await setUp?.();
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
