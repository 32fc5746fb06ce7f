/**
 * Reads parts of a file through a shared pool, and compares them with the content that it was sent. It posts an answer
 * when its ring uses the pool, waits for a message before it reads, and posts the result at the end.
 */
import { BufferPool, Ring } from "bun-uring";
import type { ReaderAnswer, ReaderJob } from "./jobs.ts";

declare const self: Worker;

function answer(what: ReaderAnswer): void {
  self.postMessage(what);
}

async function read(data: ReaderJob): Promise<void> {
  const { pool: handle, path, content, first, step, partBytes, rounds } = data;
  const expected = new Uint8Array(content);
  {
    using pool = BufferPool.attach(handle);
    await using ring = new Ring({ pool });
    const file = await ring.open(path);
    const parts = Math.ceil(expected.length / partBytes);
    let right = 0;
    let wrong = 0;
    const readPart = async (part: number) => {
      using buffer = await pool.acquire();
      const bytesRead = await ring.readFixed(file, buffer, { position: part * partBytes, length: partBytes });
      const wanted = expected.subarray(part * partBytes, (part + 1) * partBytes);
      if (bytesRead === wanted.length && Buffer.compare(buffer.bytes.subarray(0, bytesRead), wanted) === 0) right++;
      else wrong++;
    };
    answer({ right, wrong, bufferSource: ring.bufferSource });
    await new Promise((resolve) => self.addEventListener("message", resolve, { once: true }));
    for (let round = 0; round < rounds; round++) {
      const reads: Promise<void>[] = [];
      for (let part = first; part < parts; part += step) reads.push(readPart(part));
      await Promise.all(reads);
    }
    answer({ right, wrong, bufferSource: ring.bufferSource });
  }
  process.exit();
}

self.addEventListener("message", ({ data }: MessageEvent<ReaderJob>) => read(data), { once: true });
