/** Small files by their paths: read, and asked for their status. */
import { together } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";
import { chains, type Job, programsOf, workersOf } from "./listed.ts";

const largestBytes = 2 ** 16;
const largestModuleBytes = 2 ** 20;

export function smallFileWorkloads(place: Workplace): Workload[] {
  const { tree, modules } = place.lists;
  const setUp = () => place.plant("tree");
  const all: Job = { list: tree, operations: 20_000, atOnce: 64 };
  const one: Job = { list: tree, operations: 5000, atOnce: 1 };
  const dependencies: Job = { list: modules, operations: 8000, atOnce: 64 };
  const shared: Job = { list: tree, operations: 20_000, atOnce: 64 };
  const reader = programsOf(all);
  const single = programsOf(one);
  const ofModules = programsOf(dependencies);
  const worker = workersOf(shared, 1);
  const workers = workersOf(shared, 2);
  const readInC = (name: string, part: number, parts: number) =>
    chains(place, shared, { name, what: "read", bufferBytes: largestBytes, part, parts });
  return [
    {
      id: "read-files",
      title: "Read of 20 000 small files by path, 64 at once (operation: one file)",
      quick: true,
      setUp,
      effort: { mostRounds: 16 },
      contenders: [
        reader("node:fs/promises", "node-read-file"),
        reader("node:fs sync", "node-read-file-sync"),
        reader("Bun.file", "bun-read-file"),
        chains(place, all, { what: "read", bufferBytes: largestBytes }),
        reader("Ring.readFile", "ring-read-file"),
        reader("Ring.readFiles", "ring-read-files"),
        reader("bun-uring/promises", "promises-read-file"),
        reader("open, read, close of FileHandle", "node-open-read-close"),
        reader("open, readFixed, close", "ring-open-read-close"),
      ],
    },
    {
      id: "read-files-1",
      title: "Read of 5000 small files by path, one at a time (operation: one file)",
      setUp,
      contenders: [
        single("node:fs/promises", "node-read-file"),
        single("node:fs sync", "node-read-file-sync"),
        single("Bun.file", "bun-read-file"),
        chains(place, one, { what: "read", bufferBytes: largestBytes }),
        single("Ring.readFile", "ring-read-file"),
      ],
    },
    {
      id: "read-files-workers",
      title: "Read of 20 000 small files by path, in one and in two threads (operation: one file)",
      setUp,
      // The target is a ratio of two ratios, of four programs, and varies between starts of them. So processes restart
      // more often.
      effort: { mostRounds: 16, roundsAProcess: 2 },
      contenders: [
        worker("node:fs sync", "node-read-file-sync"),
        workers("node:fs sync", "node-read-file-sync"),
        readInC("C, 1 process", 0, 1),
        together("C, 2 processes", [readInC("first", 0, 2), readInC("second", 1, 2)], {
          operations: shared.operations,
          warmUpRounds: 2,
        }),
        worker("Ring.readFiles", "ring-read-files"),
        workers("Ring.readFiles", "ring-read-files"),
      ],
    },
    {
      id: "read-modules",
      title: "Read of node_modules, files of up to 1 MiB, 64 at once (operation: one file)",
      setUp: () => place.plant("modules"),
      contenders: [
        ofModules("node:fs/promises", "node-read-file"),
        ofModules("node:fs sync", "node-read-file-sync"),
        ofModules("Bun.file", "bun-read-file"),
        chains(place, dependencies, { what: "read", bufferBytes: largestModuleBytes }),
        ofModules("Ring.readFile", "ring-read-file"),
        ofModules("Ring.readFiles", "ring-read-files"),
      ],
    },
    {
      id: "stat-files",
      title: "Status of 20 000 files by path, 64 at once (operation: one file)",
      setUp,
      contenders: ["node:fs/promises", "node:fs sync", "Ring.statx"].map((way) => reader(way, "stat-files", way)),
    },
  ];
}
