/** Acquires and releases slots in several threads concurrently. Each thread holds one slot at a time. */
import { BufferPool } from "bun-uring";
import { answer } from "./answer.ts";
import { serveRounds } from "./rounds.ts";

const threadCount = Number(process.argv[2]);

const pool = new BufferPool({ count: 64, size: 4096 });
const workers = Array.from({ length: threadCount - 1 }, () => {
  const worker = new Worker(new URL("./slots-worker.ts", import.meta.url).href);
  worker.postMessage(pool.share());
  return worker;
});

await Promise.all(workers.map(answer));
await serveRounds(async (operations) => {
  const each = Math.ceil(operations / threadCount);
  for (const worker of workers) worker.postMessage(each);
  const answers = Promise.all(workers.map(answer));
  for (let operation = 0; operation < each; operation++) pool.tryAcquire()?.release();
  await answers;
});
