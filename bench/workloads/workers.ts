/** Speedup by a second thread. */
import { program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";
import { argumentsOf, blockBytes, c, cacheNames } from "./random.ts";

export function workerWorkloads(place: Workplace): Workload[] {
  return (["cached", "direct"] as const).map((cache) => {
    const one = { threads: 1, depth: 64, blockBytes, cache, order: "random" } as const;
    const two = { ...one, threads: 2 };
    return {
      id: `workers-${cache}`,
      title: `4 KiB random fixed reads of one pool, ${cacheNames[cache]}, queue depth 64 per thread`,
      setUp: () => place.fill(),
      // A round ends with the slower thread. Longer rounds reduce the effect of a short delay of one thread.
      // The target is a ratio of two ratios, of four programs, and varies by a tenth between starts of them. So
      // processes restart more often.
      effort: { roundMs: 300, roundsAProcess: 2, mostRounds: cache === "cached" ? 16 : 4 },
      contenders: [
        c(place, one, "C, 1 thread"),
        c(place, two, "C, 2 threads"),
        program("Ring, 1 Worker", "ring-workers", argumentsOf(place, one)),
        program("Ring, 2 Workers", "ring-workers", argumentsOf(place, two)),
      ],
    };
  });
}
