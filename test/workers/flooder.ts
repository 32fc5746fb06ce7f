/** Keeps a read from the disk in flight into every slot of a pool, and never stops. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";
import { directFlags } from "../support/direct.ts";

declare const self: Worker;

self.addEventListener("message", async ({ data }: MessageEvent<PoolHandle>) => {
  const pool = BufferPool.attach(data);
  const ring = new Ring({ pool });
  const file = await ring.open(process.execPath, directFlags(process.execPath));
  const readForever = async (lane: number) => {
    const buffer = await pool.acquire();
    for (let read = lane; ; read += 7) {
      await ring.readFixed(file, buffer, { position: (read % 100) * pool.size });
      if (read === lane + 7 && lane === 0) self.postMessage("reading");
    }
  };
  for (let lane = 0; lane < pool.count; lane++) void readForever(lane);
});
