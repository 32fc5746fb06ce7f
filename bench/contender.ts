/** What is measured: something that does a round of operations when it is asked to, in a process of its own. */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { bun } from "./machine.ts";

/** What a round came to. Figures of its own, besides these, are the workload's. */
export interface Round {
  readonly operations: number;
  readonly wallNs: number;
  /** Of all threads of the process; of the machine's other work nothing. */
  readonly processorNs?: number;
  readonly [figure: string]: number | undefined;
}

export interface Running extends AsyncDisposable {
  round(operations: number): Promise<Round>;
}

export interface Contender {
  readonly name: string;
  start(): Promise<Running>;
  /** Operations of each round; without it as many as fill the round's time. */
  readonly operations?: number;
}

/** A contender that hangs ends the run, with its name. */
const roundLimitMs = 300_000;

/** How a program is run. */
export interface ProgramOptions {
  readonly operations?: number;
  readonly env?: Record<string, string>;
  /** A path that its standard error goes to. */
  readonly errors?: string;
}

async function launch(name: string, command: readonly string[], { env = {}, errors }: ProgramOptions): Promise<Running> {
  const child = Bun.spawn([...command], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: errors === undefined ? "inherit" : Bun.file(errors),
    env: { ...process.env, NODE_ENV: "production", ...env },
  });
  const lines = createInterface({ input: Readable.from(child.stdout) })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${name} ended with ${child.signalCode ?? (await child.exited)}: ${command.join(" ")}`);
    return value;
  };
  if ((await line()) !== "ready") throw new Error(`${name} did not say that it is ready`);
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

/** A program that lives through all rounds, and is asked for each on its standard input: see programs/rounds.ts. */
export function lasting(name: string, command: () => readonly (string | number)[], options: ProgramOptions = {}): Contender {
  const { operations } = options;
  return { name, ...(operations === undefined ? {} : { operations }), start: () => launch(name, command().map(String), options) };
}

/** A program of programs/ that lives through all rounds. */
export function program(name: string, file: string, args: readonly (string | number)[], options?: ProgramOptions): Contender {
  return lasting(name, () => [bun, new URL(`./programs/${file}.ts`, import.meta.url).pathname, ...args], options);
}

/** Two processes of a contender at once: a round's operations are theirs together, and it lasts until both have done their half. */
export function twice(name: string, contender: Contender): Contender {
  return {
    name,
    async start() {
      await using starting = new AsyncDisposableStack();
      const running = [starting.use(await contender.start()), starting.use(await contender.start())];
      const processes = starting.move();
      return {
        async round(operations) {
          const started = Bun.nanoseconds();
          const rounds = await Promise.all(running.map((one) => one.round(Math.ceil(operations / running.length))));
          const wallNs = Bun.nanoseconds() - started;
          return { operations, wallNs, processorNs: rounds.reduce((sum, { processorNs = Number.NaN }) => sum + processorNs, 0) };
        },
        [Symbol.asyncDispose]: () => processes.disposeAsync(),
      };
    },
  };
}

/** Something else that can do a round. */
export function each(name: string, operations: number, round: (operations: number) => Promise<Round>): Contender {
  return { name, operations, start: async () => ({ round, async [Symbol.asyncDispose]() {} }) };
}

/** Runs a command to its end. */
export async function timed(command: readonly string[], operations: number): Promise<Round> {
  const started = Bun.nanoseconds();
  const child = Bun.spawn([...command], { stdout: "ignore", stderr: "inherit" });
  const exitCode = await child.exited;
  const wallNs = Bun.nanoseconds() - started;
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}`);
  const usage = child.resourceUsage();
  return { operations, wallNs, processorNs: usage === undefined ? 0 : Number(usage.cpuTime.total) * 1000 };
}
