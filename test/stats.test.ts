import { expect, test } from "bun:test";
import { constants, writeSync } from "node:fs";
import { BufferPool, Ring } from "bun-uring";
import { directFlags } from "./support/direct.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { sockets } from "./support/pipes.ts";
import { leavingNothing } from "./support/resources.ts";

const POLLIN = 1;

test("operations started in one tick share one system call, and those that complete at once settle without a wake-up", async () => {
  await using ring = new Ring({ entries: 128 });
  const before = ring.stats();
  await Promise.all(Array.from({ length: 100 }, () => ring.nop()));
  const after = ring.stats();
  expect([
    after.submissions - before.submissions,
    after.submitted - before.submitted,
    after.wakeups - before.wakeups,
  ]).toEqual([1, 100, 0]);
  expect([after.inFlight, after.waiting, after.overflows]).toEqual([0, 0, 0]);
});

test("with O_DIRECT, a tick's requests are submitted 16 at a time; without it, none is submitted before the tick ends", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", Buffer.alloc(65536));
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    using buffer = await pool.acquire();
    for (const flags of [constants.O_RDONLY, directFlags(path)]) {
      await using file = await ring.open(path, flags);
      const before = ring.stats();
      const reads = Array.from({ length: 40 }, (_, index) =>
        ring.readFixed(file, buffer, { position: 4096 * (index % 16) }),
      );
      const { submissions, submitted } = ring.stats();
      const isDirect = (flags & constants.O_DIRECT) !== 0;
      expect([submissions - before.submissions, submitted - before.submitted]).toEqual(isDirect ? [2, 32] : [0, 0]);
      expect(new Set(await Promise.all(reads))).toEqual(new Set([4096]));
      expect(ring.stats().submitted - before.submitted).toBe(40);
    }
  }));

test("more operations than the ring has entries take one system call for each time the ring is filled", async () => {
  await using ring = new Ring({ entries: 8 });
  await Promise.all(Array.from({ length: 80 }, () => ring.nop()));
  expect(ring.stats()).toMatchObject({ submissions: 10, submitted: 80 });
});

test("an operation that waits in the kernel causes a wake-up when it completes", () =>
  leavingNothing(async () => {
    using ends = sockets();
    await using ring = new Ring();
    const poll = ring.poll(ends.readFd, POLLIN);
    await Bun.sleep(0); // the ring now waits for a wake-up
    expect(ring.stats()).toMatchObject({ inFlight: 1, waiting: 0, wakeups: 0 });
    writeSync(ends.writeFd, "x");
    await poll;
    expect(ring.stats()).toMatchObject({ inFlight: 0, waiting: 0 });
    expect(ring.stats().wakeups).toBeGreaterThan(0);
  }));

test("a pool counts the pending acquires, and how often no slot was free", () =>
  leavingNothing(async () => {
    using pool = new BufferPool({ count: 1, size: 4096 });
    const buffer = await pool.acquire();
    expect(pool.stats()).toMatchObject({ waiting: 0, exhaustions: 0 });
    expect(pool.tryAcquire()).toBeUndefined();
    const controller = new AbortController();
    const waiters = [pool.acquire(), pool.acquire({ signal: controller.signal })];
    expect(pool.stats()).toMatchObject({ waiting: 2, exhaustions: 3 });
    controller.abort();
    expect((await thrown(() => waiters[1])).name).toBe("AbortError");
    buffer.release();
    (await waiters[0])?.release();
    expect(pool.stats()).toMatchObject({ waiting: 0, exhaustions: 3, available: 1 });
  }));
