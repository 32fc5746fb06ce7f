/** Owns rings that other threads try to clone from. */
import { RawRing } from "bun-uring";

declare const self: Worker;

const rings: RawRing[] = [];

function ringWithBuffer(flags: number): number {
  const ring = new RawRing({ flags });
  ring.registerBuffers([new SharedArrayBuffer(4096)]);
  rings.push(ring);
  return ring.fd;
}

self.addEventListener("message", ({ data }: MessageEvent<{ single: number; deferred: number }>) => {
  self.postMessage({
    single: ringWithBuffer(data.single),
    deferred: ringWithBuffer(data.deferred),
    plain: ringWithBuffer(0),
  });
});
