/** Like ring.ts, but in `job.threadCount` Workers that share one pool. */
import { BufferPool } from "bun-uring";
import { answer } from "./answer.ts";
import type { WorkerData } from "./ring-worker.ts";
import { serveRounds } from "./rounds.ts";
import { job } from "./transfers.ts";

const pool = new BufferPool({ count: job.depth * job.threadCount, size: job.blockBytes });

const workers = Array.from({ length: job.threadCount }, (_, thread) => {
  const worker = new Worker(new URL("./ring-worker.ts", import.meta.url).href, { argv: process.argv.slice(2) });
  worker.postMessage({ handle: pool.share(), thread } satisfies WorkerData);
  return worker;
});

await Promise.all(workers.map(answer));
await serveRounds(async (operations) => {
  for (const worker of workers) worker.postMessage(Math.ceil(operations / workers.length));
  await Promise.all(workers.map(answer));
});
