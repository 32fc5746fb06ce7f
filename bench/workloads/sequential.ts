/** Sequential reads of large blocks, and copies of whole files. */
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { each, program, timed } from "../contender.ts";
import { fileBytes, type Workplace } from "../files.ts";
import { fio } from "../fio.ts";
import type { Workload } from "../measure.ts";
import { argumentsOf, c, type Transfers } from "./random.ts";

const blockBytes = 2 ** 20;
const depth = 8;

/**
 * Ensures that free memory was in use until now. A hypervisor may reclaim free memory and return it only when it is
 * written to, which takes as long as the copy itself. That would slow down the same contender in every round.
 */
function haveMemory(source: string, copy: string): void {
  const copies = [copy, `${copy}-2`];
  for (const path of copies) copyFileSync(source, path);
  for (const path of copies) rmSync(path);
}

export function sequentialWorkloads(place: Workplace): Workload[] {
  const transfers: Transfers = { depth, blockBytes, cache: "direct", order: "sequential" };
  const args = argumentsOf(place, transfers);
  const { source, folder } = place;
  const copy = join(folder, "copy");
  const mebibytes = fileBytes / 2 ** 20;
  return [
    {
      id: "sequential-read",
      title: `1 MiB sequential O_DIRECT reads, queue depth ${depth}`,
      quick: true,
      setUp: () => place.fill(),
      effort: { roundMs: 200, mostRounds: 12, roundsAProcess: 6 },
      contenders: [
        fio({ path: source, fileBytes, blockBytes, depth, isDirect: true, order: "read" }, 200),
        c(place, transfers),
        program("RawRing", "raw-ring", args),
        program("Ring", "ring", args),
        program("node:fs/promises", "node-promises", args),
        each("dd", 300, (operations) =>
          timed(
            ["dd", `if=${source}`, "of=/dev/null", "bs=1M", `count=${operations}`, "iflag=direct", "status=none"],
            operations,
          ),
        ),
      ],
    },
    {
      id: "copy",
      title: "Copy of 1 GiB, with fsync (operation: 1 MiB)",
      setUp: () => place.fill(),
      effort: { leastRounds: 5, mostRounds: 5, roundsAProcess: 5 },
      prepare: async () => haveMemory(source, copy),
      contenders: [
        each("cp and sync", mebibytes, (operations) =>
          timed(["sh", "-c", 'cp "$0" "$1" && sync "$1"', source, copy], operations),
        ),
        program("copyFile", "copy", [source, copy], { operations: mebibytes }),
        each("dd, O_DIRECT", mebibytes, (operations) =>
          timed(
            ["dd", `if=${source}`, `of=${copy}`, "bs=1M", "iflag=direct", "oflag=direct", "conv=fsync", "status=none"],
            operations,
          ),
        ),
      ],
    },
  ];
}
