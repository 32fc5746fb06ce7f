/** A Worker of last-line.ts: receives a slot, and releases it after the main thread has reached its last line. */
import { BufferPool, type PoolHandle, type SlotToken } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<{ pool: PoolHandle; token: SlotToken }>) => {
  const pool = BufferPool.attach(data.pool);
  const buffer = pool.receive(data.token);
  setTimeout(() => {
    buffer.release();
    pool.close();
  }, 200);
});
