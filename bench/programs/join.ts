/** Measures how long a ring takes to obtain a pool's memory. Excludes the unregistering after each operation. */
import { BufferPool, RawRing } from "bun-uring";
import { participantOf } from "../../lib/pool/buffer-pool.ts";
import { registerBuffers, unregister } from "../../lib/uring/registration.ts";
import { IORING_UNREGISTER_BUFFERS } from "../../lib/uring/uapi.ts";
import { Uring } from "../../lib/uring/uring.ts";
import { serveRounds } from "./rounds.ts";

const [way = "", first, second, hugePages] = process.argv.slice(2);

/** Times each call of `join`, and calls `leave` after it, untimed. */
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

if (way === "clone entries") {
  const ring = new RawRing({ entries: 1 });
  const source = new RawRing({ entries: 1 });
  source.registerBuffers(Array.from({ length: Number(first) }, () => new SharedArrayBuffer(Number(second))));
  await serve(
    () => ring.cloneBuffers(source),
    () => ring.unregisterBuffers(),
  );
} else {
  using pool = new BufferPool({ count: Number(first), size: Number(second), hugePages: hugePages === "huge" });
  const participant = participantOf(pool);
  const uring = new Uring({ entries: 1, cqEntries: 0, flags: 0, sqThreadIdleMs: 0 });
  const leave = () => unregister(uring, IORING_UNREGISTER_BUFFERS, "io_uring_unregister_buffers");
  if (way === "clone pool") {
    await serve(
      () => participant.cloneTo(uring, 0),
      () => {
        leave();
        participant.leaveRing();
      },
    );
  } else {
    await serve(() => registerBuffers(uring, { regions: participant.extents, tags: undefined }), leave);
  }
}
