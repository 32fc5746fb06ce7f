/** Waits for a slot, and is busy with something else until it is told that that is over; then it has the slot. */
import { BufferPool, type PoolHandle } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", async ({ data: { handle, over } }: MessageEvent<{ handle: PoolHandle; over: Int32Array }>) => {
  using pool = BufferPool.attach(handle);
  const acquired = pool.acquire();
  self.postMessage("waiting");
  Atomics.wait(over, 0, 0);
  using buffer = await acquired;
  self.postMessage(`has slot ${buffer.slotIndex}`);
});
