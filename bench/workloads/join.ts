/** A ring obtains a pool's memory: by cloning the pool's registration, or by registering the same memory again. */
import { lasting, program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";

const mebibyte = 2 ** 20;

/** Slot count, slot size and page type of each pool. */
const pools = [
  { slots: 1, slotBytes: mebibyte, pages: "huge" },
  { slots: 64, slotBytes: mebibyte, pages: "huge" },
  { slots: 1024, slotBytes: mebibyte, pages: "huge" },
  { slots: 4096, slotBytes: mebibyte, pages: "huge" },
  { slots: 1024, slotBytes: mebibyte, pages: "small" },
  { slots: 4096, slotBytes: mebibyte, pages: "small" },
  { slots: 2 ** 20, slotBytes: 4096, pages: "huge" },
] as const;

export function joinWorkloads(place: Workplace): Workload[] {
  return [
    ...[1, 64].map((entries) => ({
      id: `clone-call-${entries}`,
      title: `The clone call, ${entries === 1 ? "1 buffer" : `${entries} buffers`}`,
      quick: entries === 1,
      contenders: [
        lasting("C with liburing", () => [place.compile("join"), entries, mebibyte]),
        program("RawRing.cloneBuffers", "join", ["clone entries", entries, mebibyte]),
      ],
    })),
    ...pools.map(({ slots, slotBytes, pages }) => ({
      id: `join-${slots}x${slotBytes}-${pages}`,
      title: `A ring joins a pool of ${(slots * slotBytes) / mebibyte} MiB, ${slots} slots, ${pages} pages`,
      quick: slots === 64,
      // Making and filling the memory takes longer than the rounds.
      effort: { leastRounds: 6, mostRounds: 6, roundsAProcess: 6, warmUpMs: 200 },
      contenders: [
        program("register", "join", ["register", slots, slotBytes, pages]),
        program("clone", "join", ["clone pool", slots, slotBytes, pages]),
      ],
    })),
    {
      id: "join-workers",
      title: "The first clone in each of 32 Workers, pool of 256 MiB",
      effort: { leastRounds: 8, mostRounds: 8, roundsAProcess: 8 },
      contenders: [program("Worker", "join-workers", [256, mebibyte, 32], { operations: 1 })],
    },
  ];
}
