/** What a flood of I/O leaves of the event loop to others. */
import { program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";

export function loopWorkloads(place: Workplace): Workload[] {
  const once = { operations: 1 };
  return [
    {
      id: "loop",
      title: "Timers of 1 ms and requests beside a flood of 4 KiB reads, 64 at once (an operation: a read)",
      contenders: [
        program("nothing", "loop", ["nothing", place.source], once),
        program("Ring, page cache", "loop", ["ring", place.source, "cached"], once),
        program("Ring, O_DIRECT", "loop", ["ring", place.source, "direct"], once),
        program("node:fs/promises, page cache", "loop", ["node", place.source, "cached"], once),
      ],
    },
  ];
}
