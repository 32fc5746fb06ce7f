/** fio(1) as a contender. */
import { type Contender, each } from "./contender.ts";

export interface FioJob {
  readonly path: string;
  readonly fileBytes: number;
  readonly blockBytes: number;
  readonly depth: number;
  readonly isDirect: boolean;
  readonly order: "randread" | "randwrite" | "read";
}

interface FioSide {
  readonly total_ios: number;
  /** Milliseconds. */
  readonly runtime: number;
}

interface FioReport {
  readonly jobs: readonly {
    readonly read: FioSide;
    readonly write: FioSide;
    readonly usr_cpu: number;
    readonly sys_cpu: number;
  }[];
}

/** Starts one fio process per round. It runs for `milliseconds`, not counting its startup. */
export function fio({ path, fileBytes, blockBytes, depth, isDirect, order }: FioJob, milliseconds: number): Contender {
  const command = [
    "fio",
    "--name=fio",
    `--filename=${path}`,
    `--size=${fileBytes}`,
    `--bs=${blockBytes}`,
    `--rw=${order}`,
    "--norandommap=1",
    `--iodepth=${depth}`,
    "--ioengine=io_uring",
    "--fixedbufs=1",
    "--registerfiles=1",
    `--direct=${isDirect ? 1 : 0}`,
    "--invalidate=0",
    "--allow_file_create=0",
    "--thread=1",
    "--time_based=1",
    `--runtime=${milliseconds}ms`,
    "--output-format=json",
  ];
  return each("fio", 1, async () => {
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
    const text = await child.stdout.text();
    if ((await child.exited) !== 0) throw new Error(`fio: ${text}`);
    const report: FioReport = JSON.parse(text);
    const [one] = report.jobs;
    if (one === undefined) throw new Error(`fio: ${text}`);
    const { total_ios: operations, runtime } = order === "randwrite" ? one.write : one.read;
    const wallNs = runtime * 1e6;
    return { operations, wallNs, processorNs: (wallNs * (one.usr_cpu + one.sys_cpu)) / 100 };
  });
}
