/** Describes the machine that the benchmarks run on. */
import { existsSync } from "node:fs";
import { arch, cpus, release, totalmem } from "node:os";
import { probe } from "bun-uring";

/** The Bun executable that runs the contenders: the current one. */
export const bun = process.execPath;

export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly architecture: string;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly liburing: string;
  readonly bun: string;
  readonly fileSystem: string;
}

function output(command: readonly string[]): string {
  const { exitCode, stdout } = Bun.spawnSync([...command], { stderr: "ignore" });
  return exitCode === 0 ? stdout.toString().trim() : "unknown";
}

export function describeMachine(folder: string): Machine {
  const [processor] = cpus();
  return {
    processor: processor?.model.trim() ?? "unknown",
    processors: cpus().length,
    architecture: arch(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release().replace(/-.*/, ""),
    liburing: probe().liburing?.version ?? "unknown",
    bun: Bun.version,
    fileSystem: output(["findmnt", "--noheadings", "--output", "FSTYPE", "--target", folder]),
  };
}

/** Formats a machine's description as one line. */
export function machineLine({
  processor,
  processors,
  architecture,
  memoryGib,
  kernel,
  liburing,
  bun: version,
  fileSystem,
}: Machine): string {
  return [
    `${processors} × ${processor} (${architecture})`,
    `${memoryGib} GiB`,
    `Linux ${kernel}`,
    `liburing ${liburing}`,
    `Bun ${version}`,
    fileSystem,
  ].join(", ");
}

/** Throws if a program that contenders run or are built with is missing. */
export function requirePrograms(names: readonly string[]): void {
  const missing = names.filter((name) => Bun.which(name) === null);
  if (missing.length > 0)
    throw new Error(`${missing.join(", ")} not found: \`npm run bench\` installs missing programs if run as root`);
  if (!existsSync("/usr/include/liburing.h")) throw new Error("liburing.h not found: install liburing-dev");
}
