/** Contenders: programs that run rounds of operations on request, each in its own process. */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { bun } from "./machine.ts";

/** Result of a round. Other properties are figures specific to the workload. */
export interface Round {
  readonly operations: number;
  readonly wallNs: number;
  /** Processor time of all threads of the process, and of no other process. */
  readonly processorNs?: number;
  readonly [figure: string]: number | undefined;
}

export interface Running extends AsyncDisposable {
  round(operations: number): Promise<Round>;
}

/** How a contender's rounds are run. */
export interface RoundOptions {
  /** Operations per round. Default: calibrated to the duration of a round. */
  readonly operations?: number;
  /** Rounds of warm-up, if `operations` is given. Default 0. */
  readonly warmUpRounds?: number;
}

export interface Contender extends RoundOptions {
  readonly name: string;
  start(): Promise<Running>;
  /** The same program, run from another checkout with that checkout's library. */
  readonly from?: (checkout: string) => Contender;
}

/** A contender that exceeds this limit is killed, and the run fails with the contender's name. */
const roundLimitMs = 300_000;

/** Options for running a program. */
export interface ProgramOptions extends RoundOptions {
  readonly env?: Record<string, string>;
  /** Path of the file that receives standard error. */
  readonly errors?: string;
}

async function launch(
  name: string,
  command: readonly string[],
  { env = {}, errors }: ProgramOptions,
): Promise<Running> {
  const child = Bun.spawn([...command], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: errors === undefined ? "inherit" : Bun.file(errors),
    env: { ...process.env, NODE_ENV: "production", ...env },
  });
  const lines = createInterface({ input: Readable.from(child.stdout) })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done === true)
      throw new Error(`${name} exited with ${child.signalCode ?? (await child.exited)}: ${command.join(" ")}`);
    return value;
  };
  if ((await line()) !== "ready") throw new Error(`${name} did not print "ready"`);
  return {
    async round(operations) {
      const limit = setTimeout(() => child.kill("SIGKILL"), roundLimitMs);
      try {
        child.stdin.write(`${operations}\n`);
        await child.stdin.flush();
        return JSON.parse(await line());
      } finally {
        clearTimeout(limit);
      }
    },
    async [Symbol.asyncDispose]() {
      await child.stdin.end();
      child.kill();
      await child.exited;
    },
  };
}

/** A program that serves many rounds. It reads requests for rounds from standard input: see programs/rounds.ts. */
export function lasting(
  name: string,
  command: () => readonly (string | number)[],
  options: ProgramOptions = {},
): Contender {
  const { env, errors, ...rounds } = options;
  return {
    name,
    ...rounds,
    start: () => launch(name, command().map(String), options),
  };
}

/** A program in programs/ that serves many rounds. */
export function program(
  name: string,
  file: string,
  args: readonly (string | number)[],
  options?: ProgramOptions,
): Contender {
  const from = (checkout: string) =>
    lasting(name, () => [bun, join(checkout, "bench/programs", `${file}.ts`), ...args], options);
  return { ...from(join(import.meta.dir, "..")), from };
}

/** Contenders that run at the same time. Each runs its part of a round; the round ends when all are done. */
export function together(name: string, contenders: readonly Contender[], options: RoundOptions = {}): Contender {
  return {
    name,
    ...options,
    async start() {
      await using starting = new AsyncDisposableStack();
      const running: Running[] = [];
      for (const contender of contenders) running.push(starting.use(await contender.start()));
      const processes = starting.move();
      return {
        async round(operations) {
          const started = Bun.nanoseconds();
          const rounds = await Promise.all(running.map((one) => one.round(Math.ceil(operations / running.length))));
          const wallNs = Bun.nanoseconds() - started;
          return {
            operations,
            wallNs,
            processorNs: rounds.reduce((sum, { processorNs = Number.NaN }) => sum + processorNs, 0),
          };
        },
        [Symbol.asyncDispose]: () => processes.disposeAsync(),
      };
    },
  };
}

/** A contender that runs each round by calling a function. */
export function each(name: string, operations: number, round: (operations: number) => Promise<Round>): Contender {
  return { name, operations, start: async () => ({ round, async [Symbol.asyncDispose]() {} }) };
}

/** Runs a command until it exits. */
export async function timed(command: readonly string[], operations: number): Promise<Round> {
  const started = Bun.nanoseconds();
  const child = Bun.spawn([...command], { stdout: "ignore", stderr: "inherit" });
  const exitCode = await child.exited;
  const wallNs = Bun.nanoseconds() - started;
  if (exitCode !== 0) throw new Error(`${command.join(" ")} exited with ${exitCode}`);
  const usage = child.resourceUsage();
  return { operations, wallNs, processorNs: usage === undefined ? 0 : Number(usage.cpuTime.total) * 1000 };
}
