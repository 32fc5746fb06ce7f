/** A Worker of worker-start.ts. Reads into the shared pool, whose memory it obtains by cloning or by registering it. */
import { openSync } from "node:fs";

declare const self: Worker;

self.addEventListener("message", async ({ data: { way, handle } }) => {
  if (way !== "empty") {
    const { BufferPool, RawRing, Ring } = await import("bun-uring");
    const pool = BufferPool.attach(handle);
    if (way === "clone") {
      const ring = new Ring({ pool });
      const file = await ring.open(import.meta.path);
      await ring.readFixed(file, await pool.acquire(), { position: 0 });
    } else {
      const ring = new RawRing({ entries: 4 });
      const { bytes } = await pool.acquire();
      const memory = new Uint8Array(bytes.buffer);
      ring.registerBuffers([memory]);
      ring.prepReadFixed(openSync(import.meta.path, "r"), bytes, 0, 0, 0);
      ring.submitAndWait(1);
    }
  }
  self.postMessage("read");
});
