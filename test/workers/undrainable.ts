/** Has a ring with a read in flight that can no longer be drained, because its descriptor was closed. */
import { closeSync } from "node:fs";
import { RawRing } from "bun-uring";

declare const self: Worker;

const kept: RawRing[] = [];

self.addEventListener("message", ({ data: pipeFd }: MessageEvent<number>) => {
  const ring = new RawRing({ entries: 1 });
  kept.push(ring);
  const bytes = new Uint8Array(new SharedArrayBuffer(4096));
  ring.registerBuffers([bytes]);
  ring.prepReadFixed(pipeFd, bytes, -1, 0, 1);
  ring.submit();
  closeSync(ring.fd);
  self.postMessage("broken");
});
