/** Files of 4 KiB written by their paths. */
import { mkdirSync } from "node:fs";
import type { Contender } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";
import { chains, type Job, programsOf } from "./listed.ts";

const bufferBytes = 4096;

export function writtenFileWorkloads(place: Workplace): Workload[] {
  const list = place.lists.written;
  const existing: Job = { list, operations: 5000, atOnce: 64 };
  const created: Job = { list, operations: 2000, atOnce: 64 };
  const folder = place.folderOf("new");
  const contenders = (job: Job, inC: Contender, ...args: readonly string[]) => {
    const writer = programsOf(job);
    return [
      writer("node:fs/promises", "node-write-file", ...args),
      writer("node:fs sync", "node-write-file-sync", ...args),
      writer("Bun.write", "bun-write-file", ...args),
      inC,
      writer("Ring.writeFile", "ring-write-file", ...args),
    ];
  };
  return [
    {
      id: "write-files",
      title: "Write of 4 KiB to an existing file by path, 64 at once (operation: one file)",
      setUp: () => place.plant("written"),
      contenders: contenders(existing, chains(place, existing, { what: "rewrite", bufferBytes })),
    },
    {
      id: "write-new-files",
      title: "Write of 4 KiB to a new file by path, 64 at once (operation: one file)",
      setUp() {
        place.plant("written");
        mkdirSync(folder);
        place.settle();
      },
      contenders: contenders(created, chains(place, created, { what: "create", bufferBytes, folder }), folder),
    },
  ];
}
