/**
 * Acquires, marks, checks and releases slots as fast as it can. A slot that two threads hold at once shows the other
 * thread's mark.
 */
import { BufferPool, type PoolHandle } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", async ({ data }: MessageEvent<{ pool: PoolHandle; mark: number; rounds: number }>) => {
  const { mark, rounds } = data;
  {
    using pool = BufferPool.attach(data.pool);
    let stolen = 0;
    const churn = async () => {
      for (let round = 0; round < rounds; round++) {
        using buffer = await pool.acquire();
        const words = new Int32Array(buffer.bytes.buffer, buffer.bytes.byteOffset, 1);
        Atomics.store(words, 0, mark);
        if (round % 8 === 0) await new Promise(setImmediate);
        for (let look = 0; look < 50; look++) if (Atomics.load(words, 0) !== mark) stolen++;
      }
    };
    await Promise.all([churn(), churn(), churn()]);
    self.postMessage({ stolen });
  }
  process.exit();
});
