import { medianSorted } from "simple-statistics";

/** A median, and where the true one lies with 95 % confidence. */
export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Of the normal distribution, for 95 %. */
const standardDeviations = 1.96;

/** The interval is that of the order statistics: it assumes nothing about how the values are distributed. Fewer than six: from the least to the greatest. */
export function intervalOf(values: readonly number[]): Interval {
  const sorted = values.toSorted((one, other) => one - other);
  const spread = (standardDeviations * Math.sqrt(sorted.length)) / 2;
  const low = sorted[Math.max(0, Math.floor(sorted.length / 2 - spread))];
  const high = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length / 2 + spread))];
  if (low === undefined || high === undefined) throw new Error("no values");
  return { median: medianSorted(sorted), low, high };
}

/** Half of an interval's width, relative to the median. */
export function relativeHalfWidth({ median, low, high }: Interval): number {
  return (high - low) / 2 / Math.abs(median);
}
