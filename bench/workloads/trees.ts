/** Work on trees of small files: searched, hashed, copied. */
import { mkdirSync } from "node:fs";
import { type Contender, each, timed } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";
import { needle } from "../tree.ts";
import { type Job, programsOf, workersOf } from "./listed.ts";

/** grep(1), which counts the lines of each file. */
function grep(folder: string, operations: number): Contender {
  return each("grep", operations, () => timed(["grep", "-rFc", needle, folder], operations));
}

export function treeWorkloads(place: Workplace): Workload[] {
  const { tree, sources } = place.lists;
  const all: Job = { list: tree, operations: 20_000, atOnce: 64 };
  const copied: Job = { list: sources, operations: 2000, atOnce: 64 };
  const reader = programsOf(all);
  const workers = workersOf(all, 2);
  const copier = programsOf(copied);
  const copiers = workersOf(copied, 2);
  const copies = place.folderOf("copies");
  const setUp = () => place.plant("tree");
  return [
    {
      id: "search-tree",
      title: "Search of 20 000 small files for a word (operation: one file)",
      setUp,
      contenders: [
        reader("node:fs/promises", "node-read-file", "search"),
        reader("node:fs sync", "node-read-file-sync", "search"),
        reader("Ring.readFiles", "ring-read-files", "search"),
        grep(place.folderOf("tree"), all.operations),
      ],
    },
    {
      id: "hash-tree",
      title: "SHA-256 of 20 000 small files (operation: one file)",
      setUp,
      contenders: [
        reader("node:fs/promises", "node-read-file", "hash"),
        reader("node:fs sync", "node-read-file-sync", "hash"),
        reader("Ring.readFiles", "ring-read-files", "hash"),
        workers("node:fs/promises", "node-read-file", "hash"),
        workers("node:fs sync", "node-read-file-sync", "hash"),
        workers("Ring.readFiles", "ring-read-files", "hash"),
      ],
    },
    {
      id: "copy-tree",
      title: "Copy of 2000 small files to a new folder (operation: one file)",
      setUp() {
        place.plant("sources");
        mkdirSync(copies);
        place.settle();
      },
      effort: { mostRounds: 8 },
      contenders: [
        copier("node:fs/promises", "node-copy-file", copies),
        copier("node:fs sync", "node-copy-file-sync", copies),
        copier("copyFile", "ring-copy-file", copies),
        copiers("node:fs/promises", "node-copy-file", copies),
        copiers("node:fs sync", "node-copy-file-sync", copies),
        copiers("copyFile", "ring-copy-file", copies),
      ],
    },
  ];
}
