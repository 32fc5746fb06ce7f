/** Takes a pool's lock and never releases it. */
import { BufferPool, type PoolHandle } from "bun-uring";
import { participantOf } from "../../lib/pool/buffer-pool.ts";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<PoolHandle>) => {
  participantOf(BufferPool.attach(data)).control.locked(() => {
    self.postMessage("locked");
    for (;;);
  });
});
