/** Like bench/c/transfer.c, but through a Ring. */
import { BufferPool, Ring } from "bun-uring";
import { laneOf } from "./ring-lanes.ts";
import { serveRounds } from "./rounds.ts";
import { job, openFlags, Positions, runLanes } from "./transfers.ts";

const pool = new BufferPool({ count: job.depth, size: job.blockBytes });
const ring = new Ring({ pool });
const lane = await laneOf(ring, await ring.open(job.path, openFlags), pool, new Positions());
await serveRounds((operations) => runLanes(operations, job.depth, lane));
