/** A slot's acquire and release. */
import { program } from "../contender.ts";
import type { Workload } from "../measure.ts";

export function slotWorkloads(): Workload[] {
  return [
    {
      id: "slots",
      title: "A slot is acquired and released",
      quick: true,
      contenders: [
        program("1 thread", "slots", [1]),
        program("2 threads of one pool", "slots", [2]),
        program("1 thread, handles tracked", "slots", [1], { env: { NODE_ENV: "development" } }),
      ],
    },
  ];
}
