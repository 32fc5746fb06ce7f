/** Opens a FIFO many times at once, and posts a message when these opens wait for its other end. */
import { Ring } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", async ({ data }: MessageEvent<{ path: string; flags: string }>) => {
  const ring = new Ring();
  for (let count = 0; count < 30; count++) void ring.open(data.path, data.flags);
  await ring.timeout(20);
  self.postMessage("waiting");
});
