/** Records that are durable before their writers go on. */
import { join } from "node:path";
import { lasting, program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";

/** Writers, and records per round. */
const jobs = [
  { writers: 1, operations: 300 },
  { writers: 64, operations: 1920 },
  { writers: 1000, operations: 4000 },
];

const rounds = (operations: number) => ({ operations, warmUpRounds: 2 });

export function recordWorkloads(place: Workplace): Workload[] {
  return jobs.map(({ writers, operations }) => ({
    id: `durable-${writers}`,
    title: `200 bytes durably appended to one file by ${writers === 1 ? "1 writer" : `${writers} writers`}`,
    quick: writers === 64,
    setUp: () => place.settle(),
    contenders: [
      program("FileHandle", "durable", ["FileHandle", place.folder, writers], rounds(operations)),
      lasting(
        "C with liburing",
        () => [place.compile("records"), join(place.folder, "records-c"), writers, 200],
        rounds(operations),
      ),
      program("writeDurably", "durable", ["writeDurably", place.folder, writers], rounds(operations)),
      program("appender", "durable", ["appender", place.folder, writers], rounds(operations)),
    ],
  }));
}
