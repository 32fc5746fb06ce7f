/** Measures the clone in the first, second, … Worker. Each Worker is new and has done nothing else. */
import { BufferPool } from "bun-uring";
import { answer } from "./answer.ts";
import { serveRounds } from "./rounds.ts";

const [slots, bytes, workers] = process.argv.slice(2).map(Number);

const pool = new BufferPool({ count: slots ?? 1, size: bytes ?? 1 });

await serveRounds(async () => {
  const joined: Worker[] = [];
  const figures: Record<string, number> = {};
  let wallNs = 0;
  for (let index = 1; index <= (workers ?? 1); index++) {
    const worker = new Worker(new URL("./join-worker.ts", import.meta.url).href);
    joined.push(worker);
    worker.postMessage(pool.share());
    const joinNs = await answer<number>(worker);
    figures[`Worker ${index}`] = joinNs;
    wallNs += joinNs;
  }
  for (const worker of joined) {
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.addEventListener("close", () => resolve(), { once: true });
    worker.terminate();
    await promise;
  }
  return { operations: workers, wallNs, ...figures };
});
