/** Streams of a large file. */
import { program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";

const ways = ["Bun.file", "createReadStream", "readableWebStream", "readable", "zeroCopy"];

export function streamWorkloads(place: Workplace): Workload[] {
  const mebibytes = 512;
  const path = `${place.folder}/streamed`;
  return [
    {
      id: "stream",
      title: `Stream of a file of ${mebibytes} MiB in the page cache (operation: 1 MiB)`,
      setUp: () => place.fill(path, mebibytes * 2 ** 20),
      effort: { mostRounds: 8 },
      contenders: ways.map((way) => program(way, "stream", [way, path], { operations: mebibytes, warmUpRounds: 1 })),
    },
  ];
}
