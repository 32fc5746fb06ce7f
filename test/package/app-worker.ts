/** The Worker of app.ts. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";

declare const self: Worker;

self.onmessage = async ({ data: { handle, path } }: MessageEvent<{ handle: PoolHandle; path: string }>) => {
  using pool = BufferPool.attach(handle);
  await using ring = new Ring({ pool });
  await using file = await ring.open(path);
  using buffer = await pool.acquire();
  postMessage(Buffer.from(buffer.bytes.subarray(0, await ring.readFixed(file, buffer, { position: 0 }))).toString());
};
