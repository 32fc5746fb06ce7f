/** How long it takes until something happens. */
import { each, program, timed } from "../contender.ts";
import { bun } from "../machine.ts";
import type { Workload } from "../measure.ts";

const start = (name: string, file: string) => each(name, 1, () => timed([bun, new URL(`../programs/start/${file}.ts`, import.meta.url).pathname], 1));

export function startWorkloads(): Workload[] {
  return [
    {
      id: "start",
      title: "A program, from its start to its end",
      quick: true,
      effort: { leastRounds: 20 },
      contenders: [start("empty", "empty"), start("import and first ring", "first-ring"), start("import, pool, ring, first read", "first-read")],
    },
    {
      id: "worker-start",
      title: "A Worker, from its creation to its first read, with a pool of 512 MiB",
      effort: { leastRounds: 20 },
      contenders: (["empty", "clone", "register"] as const).map((way) => program(way, "worker-start", [way, 512, 2 ** 20], { operations: 3 })),
    },
  ];
}
