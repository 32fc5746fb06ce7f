/**
 * Reads a file through slots of a pool, bypassing the page cache, over and over until it is told to stop, and compares
 * hashes. Then posts how many reads were right, and exits.
 */
import { BufferPool, Ring } from "bun-uring";
import { directFlags } from "../support/direct.ts";
import type { VerifierJob } from "./jobs.ts";

declare const self: Worker;

self.addEventListener("message", verify, { once: true });

async function verify({ data }: MessageEvent<VerifierJob>): Promise<void> {
  const { hashes, path } = data;
  let stopped = false;
  self.addEventListener("message", () => {
    stopped = true;
  });
  let right = 0;
  let wrong = 0;
  {
    using pool = BufferPool.attach(data.pool);
    await using ring = new Ring({ pool });
    const file = await ring.open(path, directFlags(path));
    self.postMessage("ready");
    const lane = async (first: number) => {
      for (let part = first; !stopped; part = (part + data.depth) % hashes.length) {
        using buffer = await pool.acquire();
        const bytesRead = await ring.readFixed(file, buffer, { position: part * pool.size });
        if (bytesRead === pool.size && BigInt(Bun.hash(buffer.bytes)) === hashes[part]) right++;
        else wrong++;
        await ring.timeout(1); // leaves processor time for the other threads
      }
    };
    await Promise.all(Array.from({ length: data.depth }, (_, first) => lane(first)));
  }
  self.postMessage({ right, wrong });
  process.exit();
}
