/** Runs commands for the compatibility table. */

/** Runs a command and returns its standard output. If it fails, throws an error with its standard error. */
export async function output(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd?: string,
): Promise<string> {
  const child = Bun.spawn([...command], {
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
    ...(cwd === undefined ? {} : { cwd }),
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0)
    throw new Error(`compat: ${command.join(" ")} exited with ${child.exitCode}:\n${stderr.trim()}`);
  return stdout;
}

const running = new Set<{ kill(): void }>();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => {
    for (const child of running) child.kill();
    process.exit(1);
  });

/**
 * Runs a command and returns everything that it prints, whatever its exit code. After `limitMs` the command and its
 * children are killed.
 */
export async function session(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  limitMs: number,
): Promise<string> {
  const seconds = String(Math.ceil(limitMs / 1000));
  const child = Bun.spawn(["timeout", "--signal=KILL", seconds, "sh", "-c", 'exec "$@" 2>&1', "sh", ...command], {
    env,
    stdin: "ignore",
    stdout: "pipe",
  });
  running.add(child);
  const printed = await child.stdout.text();
  running.delete(child);
  return (await child.exited) === 137 ? `${printed}\n@killed after ${seconds} s\n` : printed;
}
