/** What is allocated on JavaScript's heap for each read, as its collector's log has it. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Contender, program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";
import { argumentsOf, blockBytes } from "./random.ts";

const operations = 2_000_000;

/** Collections come when 8 MiB or more have been allocated since the last, so less than 4 bytes an operation may not show. */
function allocatedBytes(log: string): number {
  const text = existsSync(log) ? readFileSync(log, "latin1") : "";
  return Array.from(text.matchAll(/bytes allocated this cycle: (\d+)/g), ([, bytes]) => Number(bytes)).reduce((sum, bytes) => sum + bytes, 0);
}

function counted(place: Workplace, name: string, file: string): Contender {
  const args = argumentsOf(place, { depth: 64, blockBytes, cache: "cached", order: "random" });
  const errors = join(place.folder, `${file}.log`);
  return {
    name,
    operations,
    async start() {
      const running = await program(name, file, args, { env: { BUN_JSC_logGC: "1" }, errors }).start();
      await running.round(operations);
      return {
        async round() {
          const before = allocatedBytes(errors);
          const round = await running.round(operations);
          return { ...round, "bytes allocated": (allocatedBytes(errors) - before) / operations };
        },
        [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
      };
    },
  };
}

export function allocationWorkloads(place: Workplace): Workload[] {
  return [
    {
      id: "allocations",
      title: "Bytes allocated for each 4 KiB read, page cache, queue depth 64",
      // Few and long: what Bun collects when nothing happens, as between rounds, its log does not count.
      effort: { leastRounds: 3, mostRounds: 3 },
      contenders: [counted(place, "RawRing", "raw-ring"), counted(place, "Ring", "ring"), counted(place, "node:fs/promises", "node-promises")],
    },
  ];
}
