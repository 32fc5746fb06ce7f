/** How long it takes a ring to get a pool's memory: times of the joining alone, without the unregistering in between. */
import { BufferPool, RawRing } from "bun-uring";
import { membershipOf } from "../../lib/pool.ts";
import { registerRegions } from "../../lib/raw-ring.ts";
import { serveRounds } from "./rounds.ts";

const [way = "", first, second, hugePages] = process.argv.slice(2);

/** Times `join`, and calls `leave` after each. */
async function serve(join: () => void, leave: () => void): Promise<void> {
  await serveRounds((operations) => {
    let wallNs = 0;
    for (let operation = 0; operation < operations; operation++) {
      const started = Bun.nanoseconds();
      join();
      wallNs += Bun.nanoseconds() - started;
      leave();
    }
    return { wallNs };
  });
}

const ring = new RawRing({ entries: 1 });

if (way === "clone entries") {
  const source = new RawRing({ entries: 1 });
  source.registerBuffers(Array.from({ length: Number(first) }, () => new SharedArrayBuffer(Number(second))));
  await serve(
    () => ring.cloneBuffers(source),
    () => ring.unregisterBuffers(),
  );
} else {
  using pool = new BufferPool({ count: Number(first), size: Number(second), hugePages: hugePages === "huge" });
  const membership = membershipOf(pool);
  if (way === "clone pool") {
    await serve(
      () => membership.cloneTo(ring, 0),
      () => {
        ring.unregisterBuffers();
        membership.leaveRing();
      },
    );
  } else {
    await serve(
      () => registerRegions(ring, membership.extents),
      () => ring.unregisterBuffers(),
    );
  }
}
