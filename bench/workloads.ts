/** All workloads. */
import type { Workplace } from "./files.ts";
import type { Workload } from "./measure.ts";
import { allocationWorkloads } from "./workloads/allocations.ts";
import { joinWorkloads } from "./workloads/join.ts";
import { loopWorkloads } from "./workloads/loop.ts";
import { randomWorkloads } from "./workloads/random.ts";
import { sequentialWorkloads } from "./workloads/sequential.ts";
import { serverWorkloads } from "./workloads/server.ts";
import { slotWorkloads } from "./workloads/slots.ts";
import { startWorkloads } from "./workloads/start.ts";
import { workerWorkloads } from "./workloads/workers.ts";

export function allWorkloads(place: Workplace): Workload[] {
  return [
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
