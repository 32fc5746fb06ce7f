/** A Worker of slots.ts. */
import { BufferPool, type PoolHandle } from "bun-uring";

declare const self: Worker;

self.addEventListener(
  "message",
  ({ data }: MessageEvent<PoolHandle>) => {
    const pool = BufferPool.attach(data);
    self.addEventListener("message", ({ data: operations }: MessageEvent<number>) => {
      for (let operation = 0; operation < operations; operation++) pool.tryAcquire()?.release();
      self.postMessage("done");
    });
    self.postMessage("ready");
  },
  { once: true },
);
