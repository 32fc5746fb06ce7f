/** All workloads. */
import type { Workplace } from "./files.ts";
import type { Workload } from "./measure.ts";
import { allocationWorkloads } from "./workloads/allocations.ts";
import { joinWorkloads } from "./workloads/join.ts";
import { loopWorkloads } from "./workloads/loop.ts";
import { oneFileWorkloads } from "./workloads/one-file.ts";
import { randomWorkloads } from "./workloads/random.ts";
import { recordWorkloads } from "./workloads/records.ts";
import { sequentialWorkloads } from "./workloads/sequential.ts";
import { serverWorkloads } from "./workloads/server.ts";
import { slotWorkloads } from "./workloads/slots.ts";
import { smallFileWorkloads } from "./workloads/small-files.ts";
import { startWorkloads } from "./workloads/start.ts";
import { streamWorkloads } from "./workloads/streams.ts";
import { treeWorkloads } from "./workloads/trees.ts";
import { workerWorkloads } from "./workloads/workers.ts";
import { writtenFileWorkloads } from "./workloads/written-files.ts";

export function allWorkloads(place: Workplace): Workload[] {
  return [
    // Those that make files come before those that delete some: for minutes after that, ext4 makes new ones more
    // slowly.
    ...smallFileWorkloads(place),
    ...writtenFileWorkloads(place),
    ...treeWorkloads(place),
    ...oneFileWorkloads(place),
    ...recordWorkloads(place),
    ...streamWorkloads(place),
    ...randomWorkloads(place),
    ...sequentialWorkloads(place),
    ...workerWorkloads(place),
    ...joinWorkloads(place),
    ...startWorkloads(place),
    ...slotWorkloads(),
    ...allocationWorkloads(place),
    ...loopWorkloads(place),
    ...serverWorkloads(place),
  ];
}

/** Compares each program of the workloads with the same program in another checkout, which is the baseline. */
export function against(checkout: string, workloads: readonly Workload[]): Workload[] {
  return workloads.flatMap((workload) =>
    workload.contenders.flatMap(({ from, ...contender }) =>
      from === undefined
        ? []
        : [
            {
              ...workload,
              title: `${workload.title}: ${contender.name}`,
              id: `${workload.id}: ${contender.name}`,
              contenders: [{ ...from(checkout), name: checkout }, contender],
            },
          ],
    ),
  );
}
