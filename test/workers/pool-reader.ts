/**
 * Makes a pool of its own and reads into all of its slots, over and over, until it is terminated. Posts "reading", or
 * what went wrong.
 */
import { BufferPool, type BufferPoolOptions, Ring } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<{ fd: number; options: BufferPoolOptions }>) => {
  try {
    const pool = new BufferPool(data.options);
    const ring = new Ring({ pool });
    const lane = async (first: number) => {
      using buffer = await pool.acquire();
      for (let read = first; ; read++) await ring.readFixed(data.fd, buffer, { position: (read % 256) * pool.size });
    };
    for (let first = 0; first < pool.count; first++) void lane(first);
    self.postMessage("reading");
  } catch (error) {
    self.postMessage(String(error));
  }
});
