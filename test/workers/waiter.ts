/** Acquires slots one after the other on demand, and posts the index of each; releases them on demand. */
import { BufferPool, type FixedBuffer, type PoolHandle } from "bun-uring";

declare const self: Worker;

/** Slots are acquired from the last one. */
const pools: BufferPool[] = [];
const held: FixedBuffer[] = [];

self.addEventListener(
  "message",
  async ({
    data,
  }: MessageEvent<{ attach?: PoolHandle; acquire?: number; release?: boolean; mark?: number; end?: boolean }>) => {
    if (data.attach !== undefined) {
      pools.push(BufferPool.attach(data.attach));
      self.postMessage("attached");
    }
    for (let acquired = 0; acquired < (data.acquire ?? 0); acquired++) {
      const buffer = await pools.at(-1)?.acquire();
      if (buffer === undefined) throw new Error("no pool");
      if (data.mark !== undefined) buffer.bytes.fill(data.mark);
      held.push(buffer);
      self.postMessage(buffer.slotIndex);
    }
    if (data.release) {
      for (const buffer of held.splice(0)) buffer.release();
      self.postMessage("released");
    }
    if (data.end) {
      for (const pool of pools) pool.close();
      process.exit();
    }
  },
);
