/**
 * Has a read from a file into a slot in flight, or a write that only the kernel can execute (dsync), posts "reading",
 * and waits for the transfer.
 */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";

declare const self: Worker;

self.addEventListener(
  "message",
  async ({ data }: MessageEvent<{ pool: PoolHandle; path: string; writes?: boolean }>) => {
    const pool = BufferPool.attach(data.pool);
    const ring = new Ring({ pool });
    const file = await ring.open(data.path, data.writes === true ? "r+" : "r");
    using buffer = await pool.acquire();
    const transfer =
      data.writes === true
        ? ring.writeFixed(file, buffer, { position: 0, length: 4096, dsync: true })
        : ring.readFixed(file, buffer, { position: 0 });
    self.postMessage("reading");
    await transfer;
  },
);
