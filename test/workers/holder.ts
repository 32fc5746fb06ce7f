/** Has a read of a file in flight into a slot, or a write that the kernel alone can do, says so, and waits for it. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", async ({ data }: MessageEvent<{ pool: PoolHandle; path: string; writes?: boolean }>) => {
  const pool = BufferPool.attach(data.pool);
  const ring = new Ring({ pool });
  const file = await ring.open(data.path, data.writes === true ? "r+" : "r");
  using buffer = await pool.acquire();
  const transfer =
    data.writes === true ? ring.writeFixed(file, buffer, { position: 0, length: 4096, dsync: true }) : ring.readFixed(file, buffer, { position: 0 });
  self.postMessage("reading");
  await transfer;
});
