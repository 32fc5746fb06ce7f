/** Contenders that work on a list of files. */
import { type Contender, lasting, program, type RoundOptions } from "../contender.ts";
import type { Workplace } from "../files.ts";

/** The files that a workload's contenders work on. */
export interface Job {
  readonly list: string;
  /** Files per round. */
  readonly operations: number;
  /** How many files a contender works on at once. */
  readonly atOnce: number;
}

const roundsOf = ({ operations }: Job): RoundOptions => ({ operations, warmUpRounds: 2 });

/** Returns a function that makes a contender of a program in programs/. */
export const programsOf =
  (job: Job) =>
  (name: string, file: string, ...args: readonly string[]): Contender =>
    program(name, file, [job.list, 0, 1, job.atOnce, ...args], roundsOf(job));

/** Returns a function that makes a contender of a program in programs/, which runs in several Workers. */
export const workersOf =
  (job: Job, threads: number) =>
  (name: string, file: string, ...args: readonly string[]): Contender =>
    program(
      `${name}, ${threads === 1 ? "1 Worker" : `${threads} Workers`}`,
      "in-workers",
      [threads, file, job.list, job.atOnce, ...args],
      roundsOf(job),
    );

/** What bench/c/files.c does with the files. */
export interface Chains {
  readonly what: "read" | "rewrite" | "create";
  readonly bufferBytes: number;
  /** Where new files are made. */
  readonly folder?: string;
  /** Which part of the list, of how many. Default: all of it. */
  readonly part?: number;
  readonly parts?: number;
  readonly name?: string;
}

export function chains(
  place: Workplace,
  job: Job,
  { what, bufferBytes, folder, part = 0, parts = 1, name = "C with liburing" }: Chains,
): Contender {
  const args = [what, job.list, part, parts, job.atOnce, bufferBytes, ...(folder === undefined ? [] : [folder])];
  return lasting(name, () => [place.compile("files"), ...args], roundsOf(job));
}
