/** Runs programs of test/programs/ with this Bun, each in a process of its own. */

export interface Outcome {
  readonly exitCode: number | null;
  readonly signal: string | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Variables to add to this process's environment; undefined removes a variable. */
type Environment = Readonly<Record<string, string | undefined>>;

/** Runs a command to its end. */
export async function execute(
  command: readonly string[],
  options: { cwd?: string; env?: Environment; stdin?: string; timeoutMs?: number } = {},
): Promise<Outcome> {
  const { cwd = process.cwd(), env = {}, stdin = "", timeoutMs: timeout = 0 } = options;
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...process.env, ...env },
    stdin: Buffer.from(stdin),
    stdout: "pipe",
    stderr: "pipe",
    timeout,
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr };
}

/** Runs a program to its end. */
export function run(
  name: string,
  options: {
    args?: readonly string[];
    bunArgs?: readonly string[];
    env?: Environment;
    stdin?: string;
    timeoutMs?: number;
  } = {},
): Promise<Outcome> {
  const path = new URL(`../programs/${name}.ts`, import.meta.url).pathname;
  const { args = [], bunArgs = [], ...rest } = options;
  return execute([process.execPath, ...bunArgs, path, ...args], rest);
}

/** A running program whose standard input is open. */
export interface Running {
  readonly pid: number;
  readonly running: boolean;
  /** Resolves when it has printed `text`. */
  until(text: string): Promise<void>;
  /** Resolves when it has printed `text` on its standard error. */
  untilError(text: string): Promise<void>;
  /** Writes to its standard input. */
  tell(text: string): void;
  /** Ends its standard input. */
  end(): void;
  kill(signal?: NodeJS.Signals): void;
  /** Waits until it has ended. */
  outcome(): Promise<Outcome>;
}

/** The text that a stream has delivered so far. */
class Printed {
  text = "";
  readonly #reader: { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> };
  readonly #decoder = new TextDecoder();
  #reading: Promise<boolean> | undefined;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** Waits for more text. Resolves to false at the end of the stream. */
  more(): Promise<boolean> {
    this.#reading ??= this.#reader.read().then(({ done, value }) => {
      this.text += this.#decoder.decode(value, { stream: true });
      this.#reading = undefined;
      return !done;
    });
    return this.#reading;
  }

  /** Resolves to whether `text` was printed before the end. */
  async until(text: string): Promise<boolean> {
    while (!this.text.includes(text)) if (!(await this.more())) return false;
    return true;
  }

  async all(): Promise<string> {
    while (await this.more());
    return this.text;
  }
}

/** Starts a program that the test communicates with while it runs. */
export function start(name: string, args: readonly string[]): Running {
  const path = new URL(`../programs/${name}.ts`, import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, path, ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 50_000,
  });
  const output = new Printed(child.stdout);
  const errors = new Printed(child.stderr);
  const until = async (printed: Printed, text: string) => {
    if (!(await printed.until(text)))
      throw new Error(`${name} ended before it printed ${text}: ${await output.all()}${await errors.all()}`);
  };
  return {
    pid: child.pid,
    get running() {
      return child.exitCode === null && child.signalCode === null;
    },
    until: (text) => until(output, text),
    untilError: (text) => until(errors, text),
    tell: (text) => {
      child.stdin.write(text);
      child.stdin.flush();
    },
    end: () => {
      child.stdin.end();
    },
    kill: (signal) => child.kill(signal),
    outcome: async () => {
      const [stdout, stderr] = await Promise.all([output.all(), errors.all()]);
      await child.exited;
      return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr };
    },
  };
}
