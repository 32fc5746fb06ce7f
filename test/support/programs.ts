/** Programs of test/programs/, run by this Bun in processes of their own. */

export interface Outcome {
  readonly exitCode: number | null;
  readonly signal: string | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; `env` is added to this process's. */
export async function run(
  name: string,
  options: { args?: readonly string[]; bunArgs?: readonly string[]; env?: Readonly<Record<string, string>>; stdin?: string } = {},
): Promise<Outcome> {
  const path = new URL(`../programs/${name}.ts`, import.meta.url).pathname;
  const { args = [], bunArgs = [], env = {}, stdin = "" } = options;
  const child = Bun.spawn([process.execPath, ...bunArgs, path, ...args], {
    env: { ...process.env, ...env },
    stdin: Buffer.from(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr };
}
