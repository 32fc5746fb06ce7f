/** Targets of the everyday workloads: the library beside what programs use today. */
import type { Figures } from "./measure.ts";
import { type Find, processor, type Target, wall } from "./target.ts";

const promises = "node:fs/promises";

/** How many times as fast one contender is as another. */
const faster = (what: string, least: number, id: string, contender: string, other: string): Target => ({
  target: `${what}: speed relative to ${other}`,
  least,
  measure: (f) => wall(f(id, other)) / wall(f(id, contender)),
});

/** What one contender takes of the processor, as a multiple of what another takes. */
const lighter = (what: string, most: number, id: string, contender: string, other: string): Target => ({
  target: `${what}: processor time relative to ${other}`,
  most,
  measure: (f) => processor(f(id, contender)) / processor(f(id, other)),
});

/** Speedup of two Workers or processes over one. */
const gain = (f: Find, one: string, two: string) =>
  wall(f("read-files-workers", one)) / wall(f("read-files-workers", two));

/** The quicker of what node:fs does in two Workers. */
function nodeInWorkers(f: Find, id: string): Figures {
  const sync = f(id, "node:fs sync, 2 Workers");
  const async = f(id, "node:fs/promises, 2 Workers");
  return wall(sync) < wall(async) ? sync : async;
}

/** Both targets of work on a tree by two Workers. */
function tree(what: string, id: string, contender: string): Target[] {
  return [
    {
      target: `${what}, 2 Workers: speed relative to node:fs in 2 Workers`,
      least: 1.2,
      measure: (f) => wall(nodeInWorkers(f, id)) / wall(f(id, contender)),
    },
    {
      target: `${what}, 2 Workers: processor time relative to node:fs in 2 Workers`,
      most: 1,
      measure: (f) => processor(f(id, contender)) / processor(nodeInWorkers(f, id)),
    },
  ];
}

export const everydayTargets: readonly Target[] = [
  faster("Ring.readFile, 64 at once", 1.05, "read-files", "Ring.readFile", promises),
  lighter("Ring.readFile, 64 at once", 0.6, "read-files", "Ring.readFile", promises),
  faster("Ring.readFile, one at a time", 2, "read-files-1", "Ring.readFile", promises),
  lighter("Ring.readFile, one at a time", 0.5, "read-files-1", "Ring.readFile", promises),
  faster("bun-uring/promises, readFile, 64 at once", 1, "read-files", "bun-uring/promises", promises),
  lighter("bun-uring/promises, readFile, 64 at once", 0.65, "read-files", "bun-uring/promises", promises),
  faster("Ring.readFiles", 1.25, "read-files", "Ring.readFiles", "node:fs sync"),
  lighter("Ring.readFiles", 0.8, "read-files", "Ring.readFiles", "node:fs sync"),
  faster("Ring.readFiles", 0.8, "read-files", "Ring.readFiles", "C with liburing"),
  {
    target: "Ring.readFiles, 2 Workers over 1: what C gains with 2 processes",
    least: 0.95,
    measure: (f) =>
      gain(f, "Ring.readFiles, 1 Worker", "Ring.readFiles, 2 Workers") / gain(f, "C, 1 process", "C, 2 processes"),
  },
  faster("Ring.writeFile, 64 at once", 1.1, "write-files", "Ring.writeFile", promises),
  lighter("Ring.writeFile, 64 at once", 0.9, "write-files", "Ring.writeFile", promises),
  faster("Ring.writeFile of new files, 64 at once", 0.9, "write-new-files", "Ring.writeFile", promises),
  lighter("Ring.writeFile of new files, 64 at once", 0.9, "write-new-files", "Ring.writeFile", promises),
  faster("Open, readFixed, close", 1.2, "read-files", "open, readFixed, close", "open, read, close of FileHandle"),
  lighter("Open, readFixed, close", 0.7, "read-files", "open, readFixed, close", "open, read, close of FileHandle"),
  faster("readable(), 512 MiB", 1.2, "stream", "readable", "Bun.file"),
  lighter("readable(), 512 MiB", 1, "stream", "readable", "Bun.file"),
  faster("200 bytes durably, 1 writer", 1, "durable-1", "appender", "FileHandle"),
  faster("200 bytes durably, 64 writers", 6, "durable-64", "appender", "FileHandle"),
  ...tree("Copy of a tree", "copy-tree", "copyFile, 2 Workers"),
  ...tree("Hash of a tree", "hash-tree", "Ring.readFiles, 2 Workers"),
  faster("hashFile of 4 KiB", 1, "hash-file", "hashFile", promises),
  faster("copyFile of 4 KiB", 1, "copy-file", "copyFile", promises),
];
