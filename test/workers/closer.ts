/** Makes a pool, shares it, and closes it when a word of shared memory is no longer 0. Then it sets the word to 2. */
import { BufferPool } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<SharedArrayBuffer>) => {
  const gate = new Int32Array(data);
  const pool = new BufferPool({ count: 2, size: 4096 });
  self.postMessage(pool.share());
  Atomics.wait(gate, 0, 0);
  pool.close();
  Atomics.store(gate, 0, 2);
  Atomics.notify(gate, 0);
});
