/** Acquiring and releasing a slot. */
import { program } from "../contender.ts";
import type { Workload } from "../measure.ts";

export function slotWorkloads(): Workload[] {
  return [
    {
      id: "slots",
      title: "Acquire and release of a slot",
      quick: true,
      contenders: [
        program("1 thread", "slots", [1]),
        program("2 threads of one pool", "slots", [2]),
        program("1 thread, handles tracked", "slots", [1], { env: { NODE_ENV: "development" } }),
      ],
    },
  ];
}
