import { medianSorted } from "simple-statistics";

/** A median with its 95 % confidence interval. */
export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Quantile of the normal distribution for a two-sided 95 % interval. */
const standardDeviations = 1.96;

/**
 * Computes the interval from order statistics, which assumes nothing about the distribution of the values. The interval
 * of fewer than six values is their full range.
 */
export function intervalOf(values: readonly number[]): Interval {
  const sorted = values.toSorted((one, other) => one - other);
  const spread = (standardDeviations * Math.sqrt(sorted.length)) / 2;
  const low = sorted[Math.max(0, Math.floor(sorted.length / 2 - spread))];
  const high = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length / 2 + spread))];
  if (low === undefined || high === undefined) throw new Error("no values");
  return { median: medianSorted(sorted), low, high };
}

/** Returns half of the interval's width, relative to the median. */
export function relativeHalfWidth({ median, low, high }: Interval): number {
  return (high - low) / 2 / Math.abs(median);
}
