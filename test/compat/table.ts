/** The compatibility table, as Markdown. */
import { markdownTable } from "markdown-table";
import type { Environment } from "./environments.ts";
import type { Outcome } from "./outcome.ts";

/** An environment and its outcome. */
export interface Row {
  readonly environment: Environment;
  readonly outcome: Outcome;
}

const capabilities = ["clone", "ranges", "replace", "vectored"] as const;

function mark(has: boolean): string {
  return has ? "✓" : "–";
}

function cells({ environment, outcome }: Row, hostTotal: number): string[] {
  const { found, passed, total, failures, skipped } = outcome;
  const of = environment.suite === "all" ? hostTotal : total;
  const tests =
    failures.length > 0
      ? `**${failures.length} failed**, ${passed} of ${of}`
      : `${passed} of ${of}${environment.suite === "all" ? "" : " for refusals"}`;
  if (found === undefined) return [environment.name, "", "", "", ...capabilities.map(() => ""), tests];
  const { probe, bun, processor } = found;
  const has = {
    clone: probe.clone.whole,
    ranges: probe.clone.ranges,
    replace: probe.clone.replaceKeepsTail,
    vectored: probe.opcodes.includes("READV_FIXED"),
  };
  return [
    environment.name,
    `${probe.kernel.replace(/[+-].*/, "")}${processor === "x64" ? "" : ` ${processor}`}`,
    probe.available ? (probe.liburing?.version ?? "?") : (probe.reason?.code ?? ""),
    bun,
    ...capabilities.map((name) => (probe.available ? mark(has[name]) : "")),
    `${tests}${skipped.size === 0 || failures.length > 0 ? "" : ` (${[...skipped.values()].reduce((sum, count) => sum + count)} skipped)`}`,
  ];
}

/** The table, followed by a list of what the skipped tests of each row need. */
export function tableOf(rows: readonly Row[], hostTotal: number): string {
  const head = ["environment", "kernel", "liburing", "Bun", ...capabilities, "tests"];
  const table = markdownTable([head, ...rows.map((row) => cells(row, hostTotal))]);
  const skips = rows.flatMap(({ environment, outcome }) =>
    outcome.skipped.size === 0
      ? []
      : [
          `- ${environment.name}: ${Array.from(outcome.skipped, ([needs, count]) => `${count} need ${needs}`).join("; ")}`,
        ],
  );
  return `${table}\n\nSkipped for want of a capability:\n\n${skips.join("\n")}\n`;
}
