/** Has a read of a file in flight into a slot, says so, and waits for it. By its number the kernel reads what else, on FUSE, a thread of node:fs would. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", async ({ data }: MessageEvent<{ pool: PoolHandle; path: string; byNumber?: boolean }>) => {
  const pool = BufferPool.attach(data.pool);
  const ring = new Ring({ pool });
  const file = await ring.open(data.path);
  using buffer = await pool.acquire();
  const read = ring.readFixed(data.byNumber === true ? file.fd : file, buffer, { position: 0 });
  self.postMessage("reading");
  await read;
});
