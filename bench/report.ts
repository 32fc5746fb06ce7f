/** Tables for people. */
import { markdownTable } from "markdown-table";
import type { Comparison, Figures } from "./measure.ts";
import type { Interval } from "./statistics.ts";
import type { Outcome } from "./targets.ts";

/** A number as people read it. */
export const digits = (value: number) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** Nanoseconds, in the unit that suits them. */
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

/** One workload's table. */
export function tableOf({ title, rounds, contenders }: Comparison): string {
  const names = Object.keys(contenders);
  const table = markdownTable(
    [
      ["", "time an operation", "95 %", `speed, of ${names[0]}`, "95 %", "processor time", "ratio"],
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

/** What was reached; and of what was missed, what stands in the way. */
export function outcomeTable(outcomes: readonly Outcome[]): string {
  const obstacles = outcomes.flatMap(({ target, obstacle }) => (obstacle === undefined ? [] : [`- ${target}: ${obstacle}`]));
  const table = markdownTable(
    [
      ["target", "", "measured", ""],
      ...outcomes.map(({ target, limit, measured, unit, met }) => [target, `${limit} ${unit}`, `${digits(measured)} ${unit}`, met ? "reached" : "missed"]),
    ],
    { align: ["l", "r", "r", "l"] },
  );
  return obstacles.length === 0
    ? table
    : `${table}\n\nWhat stands in the way of what was missed, with what profiles and other runs showed on the machine of docs/bench:\n\n${obstacles.join("\n")}`;
}
