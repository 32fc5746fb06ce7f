/** Reads and writes of 4 KiB blocks at random positions. */
import { type Contender, lasting, program } from "../contender.ts";
import { fileBytes, type Workplace } from "../files.ts";
import { fio } from "../fio.ts";
import type { Workload } from "../measure.ts";

export const blockBytes = 4096;

/** Parameters shared by all contenders that read or write blocks. */
export interface Transfers {
  readonly threads?: number;
  readonly depth: number;
  readonly blockBytes: number;
  readonly cache: "cached" | "direct";
  readonly direction?: "read" | "write";
  readonly order: "random" | "sequential";
}

export function argumentsOf(
  place: Workplace,
  { threads = 1, depth, blockBytes: bytes, cache, direction = "read", order }: Transfers,
): (string | number)[] {
  return [
    direction === "read" ? place.source : place.scratch,
    threads,
    depth,
    bytes,
    fileBytes,
    cache,
    direction,
    order,
  ];
}

export function c(place: Workplace, transfers: Transfers, name = "C with liburing"): Contender {
  return lasting(name, () => [place.compile("transfer"), ...argumentsOf(place, transfers)]);
}

export const cacheNames = { cached: "page cache", direct: "O_DIRECT" } as const;

export function randomWorkloads(place: Workplace): Workload[] {
  const workloads: Workload[] = [];
  for (const direction of ["read", "write"] as const)
    for (const cache of ["cached", "direct"] as const)
      for (const depth of direction === "read" ? [1, 64] : [64]) {
        const transfers: Transfers = { depth, blockBytes, cache, direction, order: "random" };
        const args = argumentsOf(place, transfers);
        workloads.push({
          id: `random-${direction}-${cache}-${depth}`,
          title: `4 KiB random fixed ${direction}s, ${cacheNames[cache]}, queue depth ${depth}`,
          quick: direction === "read" && depth === 64,
          // Memory layout makes a process a few percent faster or slower for its lifetime. Here that exceeds the
          // differences between contenders, so more processes take part.
          ...(cache === "cached" && direction === "read" ? { effort: { mostRounds: 20 } } : {}),
          setUp: () => place.fill(direction === "read" ? place.source : place.scratch),
          contenders: [
            c(place, transfers),
            program("RawRing", "raw-ring", args),
            program("Ring", "ring", args),
            program("Ring.pump", "pump", args),
            ...(depth > 1 ? [program("Ring.batch", "batch", args)] : []),
            // It blocks the thread while no read has completed, so it runs only where reads complete at once.
            ...(cache === "cached" && direction === "read" ? [program("bare promises", "bare-promises", args)] : []),
            program("node:fs/promises", "node-promises", args),
            ...(depth === 1 ? [program("node:fs sync", "node-sync", args)] : []),
            ...(cache === "cached" && direction === "read" ? [program("Bun.file", "bun-file", args)] : []),
            fio(
              {
                path: direction === "read" ? place.source : place.scratch,
                fileBytes,
                blockBytes,
                depth,
                isDirect: cache === "direct",
                order: `rand${direction}`,
              },
              100,
            ),
          ],
        });
      }
  return workloads;
}
