/** A performance target, and what it is computed from: ratios of medians of one run. */
import type { Figures } from "./measure.ts";

/** Finds a contender's figures by the workload's id and its own name. */
export type Find = (id: string, contender: string) => Figures;

export interface Target {
  readonly target: string;
  readonly least?: number;
  readonly most?: number;
  readonly unit?: string;
  readonly measure: (figures: Find) => number;
}

export const wall = ({ wallNs }: Figures) => wallNs.median;
export const processor = ({ processorNs }: Figures) => processorNs?.median ?? Number.NaN;
export const more = ({ more: figures }: Figures, name: string) => figures[name]?.median ?? Number.NaN;
