/** Has a read of a file in flight into a slot, says so, and waits for it. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", async ({ data }: MessageEvent<{ pool: PoolHandle; path: string }>) => {
  const pool = BufferPool.attach(data.pool);
  const ring = new Ring({ pool });
  const file = await ring.open(data.path);
  using buffer = await pool.acquire();
  const read = ring.readFixed(file, buffer, { position: 0 });
  self.postMessage("reading");
  await read;
});
