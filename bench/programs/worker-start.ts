/** Measures a Worker from its creation to its first read. */
import { BufferPool } from "bun-uring";
import { serveRounds } from "./rounds.ts";

const [way = "", slots, bytes] = process.argv.slice(2);

const pool = new BufferPool({ count: Number(slots), size: Number(bytes) });

await serveRounds(async (operations) => {
  let wallNs = 0;
  for (let operation = 0; operation < operations; operation++) {
    const { promise: read, resolve, reject } = Promise.withResolvers<void>();
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    const started = Bun.nanoseconds();
    const worker = new Worker(new URL("./worker-start-worker.ts", import.meta.url).href);
    worker.addEventListener("message", () => resolve(), { once: true });
    worker.addEventListener("error", ({ message }) => reject(new Error(message)), { once: true });
    worker.addEventListener("close", () => close(), { once: true });
    worker.postMessage({ way, handle: way === "empty" ? undefined : pool.share() });
    await read;
    wallNs += Bun.nanoseconds() - started;
    worker.terminate();
    await closed;
  }
  return { wallNs };
});
