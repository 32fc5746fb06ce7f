/** Runs another contender in several Workers, each with a part of the files. Arguments: threads, program, list, …. */
import { Worker } from "node:worker_threads";
import { BufferPool } from "bun-uring";
import { serveRounds } from "./rounds.ts";

const [threads, program, list = "", ...rest] = process.argv.slice(2);

const count = Number(threads);
const pool = new BufferPool({ count: 64 * count, size: 2 ** 16 });

/** Resolves with the Worker's next message, or rejects with its error. */
function answer(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

const workers = Array.from({ length: count }, (_, part) => {
  const argv = [list, String(part), String(count), ...rest];
  return new Worker(new URL(`./${program}.ts`, import.meta.url), { argv, workerData: pool.share() });
});

await Promise.all(workers.map(answer));
await serveRounds(async (operations) => {
  for (const worker of workers) worker.postMessage(operations / count);
  await Promise.all(workers.map(answer));
});
