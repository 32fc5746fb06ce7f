/** A Worker that joins the pool and keeps its ring open. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";

declare const self: Worker;

const kept: unknown[] = [];

self.addEventListener("message", ({ data }: MessageEvent<PoolHandle>) => {
  const pool = BufferPool.attach(data);
  const ring = new Ring({ pool });
  kept.push(pool, ring);
  self.postMessage(ring.bufferJoinMs * 1e6);
});
