/** Formats results as Markdown tables. */
import { markdownTable } from "markdown-table";
import type { Comparison, Figures } from "./measure.ts";
import type { Interval } from "./statistics.ts";
import type { Outcome } from "./targets.ts";

/** Formats a number with about three significant digits. */
const digits = (value: number) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** Formats nanoseconds in a suitable unit. */
function duration(ns: number): string {
  if (ns >= 1e9) return `${digits(ns / 1e9)} s`;
  if (ns >= 1e6) return `${digits(ns / 1e6)} ms`;
  return ns >= 1e4 ? `${digits(ns / 1e3)} µs` : `${digits(ns)} ns`;
}

const interval = ({ low, high }: Interval, format: (value: number) => string) => `${format(low)} – ${format(high)}`;

function row(name: string, { wallNs, processorNs, speed, processor }: Figures): string[] {
  return [
    name,
    duration(wallNs.median),
    interval(wallNs, duration),
    digits(speed.median),
    interval(speed, digits),
    processorNs === undefined ? "" : duration(processorNs.median),
    processor === undefined ? "" : digits(processor.median),
  ];
}

/** Formats the results of one workload. */
export function tableOf({ title, rounds, contenders }: Comparison): string {
  const names = Object.keys(contenders);
  const table = markdownTable(
    [
      ["", "time per operation", "95 % CI", `speed relative to ${names[0]}`, "95 % CI", "processor time", "ratio"],
      ...Object.entries(contenders).map(([name, figures]) => row(name, figures)),
    ],
    { align: ["l", "r", "r", "r", "r", "r", "r"] },
  );
  const more = Object.entries(contenders).flatMap(([name, figures]) => {
    const told = Object.entries(figures.more).map(([figure, value]) => `${figure} ${digits(value.median)}`);
    return told.length === 0 ? [] : [`- ${name}: ${told.join(", ")}`];
  });
  return `### ${title}\n\n${table}\n\n${[...more, `${rounds} rounds`].join("\n")}\n`;
}

/** Formats the outcomes of all targets. */
export function outcomeTable(outcomes: readonly Outcome[]): string {
  return markdownTable(
    [
      ["target", "", "measured", ""],
      ...outcomes.map(({ target, limit, measured, unit, met }) => [
        target,
        `${limit} ${unit}`,
        `${digits(measured)} ${unit}`,
        met ? "reached" : "missed",
      ]),
    ],
    { align: ["l", "r", "r", "l"] },
  );
}
