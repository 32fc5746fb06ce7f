/**
 * What it takes a ring to get a pool's memory: cloning a registration against registering the same memory again.
 *
 *     bun bench/join.ts
 */
import { RawRing } from "bun-uring";
import { bench, do_not_optimize, run, summary } from "mitata";

const extentBytes = 2 ** 28;

for (const extents of [1, 4]) {
  const memories = Array.from({ length: extents }, () => new SharedArrayBuffer(extentBytes));
  for (const memory of memories) new Uint8Array(memory).fill(1);
  const source = new RawRing({ entries: 1 });
  source.registerBuffers(memories);
  const ring = new RawRing({ entries: 1 });
  summary(() => {
    bench(`clone ${(extents * extentBytes) / 2 ** 20} MiB`, () => {
      ring.cloneBuffers(source);
      ring.unregisterBuffers();
      do_not_optimize(ring);
    }).baseline(true);
    bench(`register ${(extents * extentBytes) / 2 ** 20} MiB`, () => {
      ring.registerBuffers(memories);
      ring.unregisterBuffers();
      do_not_optimize(ring);
    });
  });
}

await run();
