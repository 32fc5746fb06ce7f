/** Clones the buffers of another thread's ring, by the ring's descriptor, and exits. */
import { RawRing } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<{ fd: number; register: boolean }>) => {
  using ring = new RawRing();
  if (data.register) ring.registerRingFd();
  ring.cloneBuffers({ fd: data.fd });
  ring.unregisterBuffers();
  self.postMessage("cloned");
  process.exit();
});
