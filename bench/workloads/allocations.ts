/** Bytes allocated on the JavaScript heap per read, according to the garbage collector's log. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Contender, program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";
import { argumentsOf, blockBytes } from "./random.ts";

const operations = 2_000_000;
const warmUpOperations = 200_000;

/**
 * Returns the sum of the bytes in the log. A collection starts after at least 8 MiB of allocations, so less than 4
 * bytes per operation may not show.
 */
function allocatedBytes(log: string): number {
  const text = existsSync(log) ? readFileSync(log, "latin1") : "";
  return Array.from(text.matchAll(/bytes allocated this cycle: (\d+)/g), ([, bytes]) => Number(bytes)).reduce(
    (sum, bytes) => sum + bytes,
    0,
  );
}

function counted(place: Workplace, name: string, file: string): Contender {
  const args = argumentsOf(place, { depth: 64, blockBytes, cache: "cached", order: "random" });
  const errors = join(place.folder, `${file}.log`);
  return {
    name,
    operations,
    async start() {
      const running = await program(name, file, args, { env: { BUN_JSC_logGC: "1" }, errors }).start();
      await running.round(warmUpOperations);
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
      title: "Bytes allocated per 4 KiB read, page cache, queue depth 64",
      // Few but long rounds: the log does not count collections while Bun is idle, such as between rounds.
      setUp: () => place.fill(),
      effort: { leastRounds: 2, mostRounds: 2 },
      contenders: [
        counted(place, "RawRing", "raw-ring"),
        counted(place, "Ring", "ring"),
        counted(place, "Ring.pump", "pump"),
        counted(place, "Ring.batch", "batch"),
        counted(place, "node:fs/promises", "node-promises"),
      ],
    },
  ];
}
