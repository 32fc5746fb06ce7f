/** Responsiveness of the event loop during a flood of I/O. */
import { program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";

export function loopWorkloads(place: Workplace): Workload[] {
  const once = { operations: 1 };
  return [
    {
      id: "loop",
      title: "Timers of 1 ms and requests during a flood of 4 KiB reads, 64 in flight (operation: one read)",
      setUp: () => place.fill(),
      effort: { leastRounds: 5, mostRounds: 5, roundsAProcess: 5 },
      contenders: [
        program("nothing", "loop", ["nothing", place.source], once),
        program("Ring, page cache", "loop", ["ring", place.source, "cached"], once),
        program("Ring, O_DIRECT", "loop", ["ring", place.source, "direct"], once),
        program("node:fs/promises, page cache", "loop", ["node", place.source, "cached"], once),
      ],
    },
  ];
}
