/** Waits in the kernel for a completion that never comes, without returning to the event loop. */
import { RawRing } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", ({ data: pipeFd }: MessageEvent<number>) => {
  const ring = new RawRing({ entries: 1 });
  const bytes = new Uint8Array(new SharedArrayBuffer(4096));
  ring.registerBuffers([bytes]);
  ring.prepReadFixed(pipeFd, bytes, -1, 0, 1);
  self.postMessage("waiting");
  for (;;) ring.submitAndWait(1);
});
