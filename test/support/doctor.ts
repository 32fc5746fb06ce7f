/** `bun-uring doctor`, run as a program. */
import { expect } from "bun:test";
import type { Finding } from "../../lib/doctor/doctor.ts";
import { execute, type Outcome } from "./programs.ts";

/** The program of package.json's "bin". */
export const program = new URL("../../bin/bun-uring.ts", import.meta.url).pathname;

/** What `doctor --json` prints. */
export interface Report {
  readonly works: boolean;
  readonly findings: readonly Finding[];
}

export interface Surroundings {
  /** Goes before the command, to take rights away. */
  readonly under?: readonly string[];
  readonly bunArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

function doctor(args: readonly string[], { under = [], bunArgs = [], env = {} }: Surroundings): Promise<Outcome> {
  return execute([...under, process.execPath, ...bunArgs, program, "doctor", ...args], { env });
}

/**
 * Runs the doctor with its text output and with --json, checks that both agree, and returns the report and the text.
 */
export async function examined(surroundings: Surroundings = {}): Promise<Report & { text: string }> {
  const [human, json] = [await doctor([], surroundings), await doctor(["--json"], surroundings)];
  const report: Report = JSON.parse(json.stdout);
  const status = report.works ? 0 : 1;
  expect([human.stderr, human.exitCode, json.stderr, json.exitCode]).toEqual(["", status, "", status]);
  expect(Object.keys(report)).toEqual(["works", "findings"]);
  for (const finding of report.findings) {
    expect(Object.keys({ why: undefined, fix: undefined, ...finding }).toSorted()).toEqual([
      "fix",
      "found",
      "name",
      "state",
      "why",
    ]);
    expect(["ok", "limited", "failed"]).toContain(finding.state);
    for (const text of [finding.name, finding.found]) expect(text).not.toBe("");
    if (finding.state === "ok") expect([finding.why, finding.fix]).toEqual([undefined, undefined]);
    else expect(finding.why).toBeString();
    for (const text of [finding.name, finding.why ?? ""]) expect(flat(human.stdout)).toContain(flat(text));
    for (const line of finding.fix ?? []) expect(human.stdout).toContain(line);
  }
  expect(report.works).toBe(report.findings.every(({ state }) => state !== "failed"));
  expect(human.stdout.trimEnd()).toEndWith(
    report.works ? "io_uring and bun-uring work here." : "bun-uring does not work here.",
  );
  return { ...report, text: human.stdout };
}

/** Without line breaks and indentation. */
function flat(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

/** The only finding that failed. */
export function failed({ findings }: Report): Finding {
  const [finding, ...more] = findings.filter(({ state }) => state === "failed");
  expect(more).toEqual([]);
  if (finding === undefined) throw new Error("nothing failed");
  return finding;
}

/** The finding with this name. */
export function named({ findings }: Report, name: string): Finding {
  const finding = findings.find((finding) => finding.name === name);
  if (finding === undefined) throw new Error(`${name} is not among ${findings.map(({ name }) => name).join(", ")}`);
  return finding;
}
