/** Makes a pool, shares it, and stays until it is terminated. */
import { BufferPool, type BufferPoolOptions } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<BufferPoolOptions>) => {
  self.postMessage(new BufferPool(data).share());
});
