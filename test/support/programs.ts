/** Programs of test/programs/, run by this Bun in processes of their own. */

export interface Outcome {
  readonly exitCode: number | null;
  readonly signal: string | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is added to this process's environment; undefined takes away. */
type Environment = Readonly<Record<string, string | undefined>>;

/** Runs a command to its end. */
export async function execute(command: readonly string[], options: { env?: Environment; stdin?: string } = {}): Promise<Outcome> {
  const { env = {}, stdin = "" } = options;
  const child = Bun.spawn([...command], { env: { ...process.env, ...env }, stdin: Buffer.from(stdin), stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr };
}

/** Runs a program to its end. */
export function run(
  name: string,
  options: { args?: readonly string[]; bunArgs?: readonly string[]; env?: Environment; stdin?: string } = {},
): Promise<Outcome> {
  const path = new URL(`../programs/${name}.ts`, import.meta.url).pathname;
  const { args = [], bunArgs = [], ...rest } = options;
  return execute([process.execPath, ...bunArgs, path, ...args], rest);
}

/** A program that runs, with its standard input open. */
export interface Running {
  readonly running: boolean;
  /** Resolves when it has printed `text`. */
  until(text: string): Promise<void>;
  /** Writes to its standard input. */
  tell(text: string): void;
  /** Ends its standard input. */
  end(): void;
  kill(): void;
  /** Waits for its end. */
  outcome(): Promise<Outcome>;
}

/** Starts a program, to talk with while it runs. */
export function start(name: string, args: readonly string[]): Running {
  const path = new URL(`../programs/${name}.ts`, import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, path, ...args], { stdin: "pipe", stdout: "pipe", stderr: "pipe", timeout: 50_000 });
  const errors = child.stderr.text();
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  let stdout = "";
  /** Returns false at the end. */
  const readMore = async () => {
    const { done, value } = await reader.read();
    stdout += decoder.decode(value, { stream: true });
    return !done;
  };
  return {
    get running() {
      return child.exitCode === null && child.signalCode === null;
    },
    until: async (text) => {
      while (!stdout.includes(text)) if (!(await readMore())) throw new Error(`${name} ended before it printed ${text}: ${stdout}${await errors}`);
    },
    tell: (text) => {
      child.stdin.write(text);
      child.stdin.flush();
    },
    end: () => void child.stdin.end(),
    kill: () => child.kill(),
    outcome: async () => {
      while (await readMore());
      await child.exited;
      return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr: await errors };
    },
  };
}
