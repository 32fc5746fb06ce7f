/** A Worker of ring-workers.ts. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";
import { laneOf } from "./ring-lanes.ts";
import { job, openFlags, Positions, runLanes } from "./transfers.ts";

declare const self: Worker;

export interface WorkerData {
  readonly handle: PoolHandle;
  readonly thread: number;
}

self.addEventListener(
  "message",
  async ({ data: { handle, thread } }: MessageEvent<WorkerData>) => {
    const pool = BufferPool.attach(handle);
    const ring = new Ring({ pool });
    const lane = await laneOf(ring, await ring.open(job.path, openFlags), pool, new Positions(thread));
    self.addEventListener("message", async ({ data: operations }: MessageEvent<number>) => {
      await runLanes(operations, job.depth, lane);
      self.postMessage("done");
    });
    self.postMessage("ready");
  },
  { once: true },
);
