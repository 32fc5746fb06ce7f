/**
 * Asks for a slot, then blocks its thread until the word `over` is set. Only after that can it notice that it was given
 * the slot.
 */
import { BufferPool, type PoolHandle } from "bun-uring";

declare const self: Worker;

self.addEventListener(
  "message",
  async ({ data: { handle, over } }: MessageEvent<{ handle: PoolHandle; over: Int32Array }>) => {
    using pool = BufferPool.attach(handle);
    const acquired = pool.acquire();
    self.postMessage("waiting");
    Atomics.wait(over, 0, 0);
    using buffer = await acquired;
    self.postMessage(`has slot ${buffer.slotIndex}`);
  },
);
