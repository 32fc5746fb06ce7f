import { expect, test } from "bun:test";
import { BufferPool, type FixedBuffer, Ring, type SlotToken } from "bun-uring";
import { bufferSource, needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { countedKb, leavingNothing, pinnedKb, ringFds } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";
import type { ReaderAnswer } from "./workers/jobs.ts";

needs("clone (Linux 6.12)")(
  "two Workers and the main thread read different parts of one file at once into slots of one pool that is registered once",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const { path, content } = folder.random("file", 8 * 2 ** 20 + 12_345);
      const shared = new SharedArrayBuffer(content.length);
      new Uint8Array(shared).set(content);
      const before = pinnedKb();
      using pool = new BufferPool({ count: 24, size: 65536, hugePages: false });
      const pinned = pinnedKb();
      expect(pinned - before).toBeGreaterThanOrEqual(countedKb((24 * 65536) / 1024));
      const partBytes = 65536;
      const parts = Math.ceil(content.length / partBytes);
      const job = { pool: pool.share(), path, content: shared, step: 3, partBytes, rounds: 5 };
      const workers = [1, 2].map((first) => new TestWorker<ReaderAnswer>("reader", { ...job, first }));
      await using ring = new Ring({ pool });
      expect(ring.bufferSource).toBe("cloned");
      const file = await ring.open(path);
      const joined = await Promise.all(workers.map((worker) => worker.answer()));
      expect(joined.map(({ bufferSource }) => bufferSource)).toEqual(["cloned", "cloned"]);
      // Checked only now, because a thread's first ring registers two pages for a moment to find out what the kernel
      // can do.
      expect(pinnedKb()).toBe(pinned);
      for (const worker of workers) worker.tell("read");
      let right = 0;
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          Array.from({ length: Math.ceil(parts / 3) }, async (_, index) => {
            using buffer = await pool.acquire();
            const position = index * 3 * partBytes;
            const bytesRead = await ring.readFixed(file, buffer, { position, length: partBytes });
            expect(pinnedKb()).toBe(pinned);
            if (
              Buffer.compare(buffer.bytes.subarray(0, bytesRead), content.subarray(position, position + partBytes)) ===
              0
            )
              right++;
          }),
        );
      }
      const answers = await Promise.all(workers.map((worker) => worker.answer()));
      await Promise.all(workers.map((worker) => worker.ended));
      expect(answers.map(({ wrong }) => wrong)).toEqual([0, 0]);
      expect(right + answers.reduce((sum, answer) => sum + answer.right, 0)).toBe(5 * parts);
      expect(pool.available).toBe(24);
    }),
);

test("a release in any thread serves an acquire() that waits in any other thread", async () => {
  using pool = new BufferPool({ count: 1, size: 4096 });
  const workers = [1, 2].map(() => new TestWorker<number | string>("waiter", { attach: pool.share() }));
  const [one, two] = workers;
  if (one === undefined || two === undefined) throw new Error("two Workers");
  for (const worker of workers) expect(await worker.answer()).toBe("attached");
  const mine = await pool.acquire();
  one.tell({ acquire: 1, mark: 1 });
  mine.release(); // serves the Worker's acquire, whichever of the two comes first
  expect(await one.answer()).toBe(0);
  two.tell({ acquire: 1, mark: 2 });
  const waiting = pool.acquire();
  one.tell({ release: true }); // serves the other Worker or the main thread: both wait, and there is one slot
  expect(await one.answer()).toBe("released");
  const first = await Promise.race([waiting.then((buffer) => buffer), two.answer()]);
  if (typeof first === "object") first.release();
  else two.tell({ release: true });
  const served = await waiting;
  if (typeof first !== "object") served.release();
  for (const worker of workers) worker.tell({ end: true });
  await Promise.all(workers.map((worker) => worker.ended));
  expect(pool.available).toBe(1);
});

test("a slot is never granted to two threads, and no waiter is forgotten, while four threads contend", async () => {
  using pool = new BufferPool({ count: 3, size: 4096 });
  const workers = Array.from(
    { length: 4 },
    (_, mark) =>
      new TestWorker<{ stolen: number }>("churner", { pool: pool.share(), mark: mark + 1, rounds: times(2000) }),
  );
  for (const { stolen } of await Promise.all(workers.map((worker) => worker.answer()))) expect(stolen).toBe(0);
  await Promise.all(workers.map((worker) => worker.ended));
  expect(pool.stats()).toMatchObject({ available: 3, othersAttached: 0, othersWaiting: 0 });
});

test("a busy Worker whose turn it is keeps the last slot from the other threads, and nothing more", async () => {
  using pool = new BufferPool({ count: 2, size: 4096 });
  const held = [await pool.acquire(), await pool.acquire()];
  const over = new Int32Array(new SharedArrayBuffer(4));
  const worker = new TestWorker<string>("busy-waiter", { handle: pool.share(), over });
  expect(await worker.answer()).toBe("waiting");
  for (const buffer of held) buffer.release();
  // Far more releases than it takes until the Worker has its turn.
  for (let round = 0; round < 500; round++) (await pool.acquire()).release();
  const one = await pool.acquire();
  expect([pool.tryAcquire(), pool.available]).toEqual([undefined, 1]);
  Atomics.store(over, 0, 1);
  Atomics.notify(over, 0);
  expect(await worker.answer()).toStartWith("has slot");
  one.release();
  await worker.terminate();
  expect(pool.available).toBe(2);
});

test("a filled slot is handed to a Worker and back without a copy", async () => {
  using pool = new BufferPool({ count: 4, size: 10_000 });
  const worker = new TestWorker<{ right: boolean; token: SlotToken }>("receiver", { attach: pool.share() });
  for (let round = 1; round <= 20; round++) {
    const buffer: FixedBuffer = await pool.acquire();
    const { slotIndex: index } = buffer;
    buffer.bytes.fill(round);
    worker.tell({ token: buffer.handOver(), expected: round, answer: round + 100 });
    const { right, token } = await worker.answer();
    expect([right, token.slotIndex]).toEqual([true, index]);
    using back = pool.receive(token);
    expect(back.bytes.every((byte) => byte === round + 100)).toBe(true);
  }
  await worker.terminate();
  expect(pool.available).toBe(4);
});

test("a pool outlives the Worker that made it, for threads that are attached", async () => {
  const maker = new TestWorker<ReturnType<BufferPool["share"]>>("pool-maker", { count: 2, size: 4096 });
  const handle = await maker.answer();
  using attached = BufferPool.attach(handle);
  await maker.terminate();
  expect(attached.available).toBe(2);
  using folder = new Folder();
  const { path, content } = folder.random("file", 4096);
  await using ring = new Ring({ pool: attached });
  expect(ring.bufferSource).toBe(bufferSource.one);
  using buffer = await attached.acquire();
  await ring.readFixed(await ring.open(path), buffer, { position: 0 });
  expect(Buffer.compare(buffer.bytes, content)).toBe(0);
});

test("attach() fails with EBADF when the last thread that was attached to the pool has ended", async () => {
  const rings = ringFds();
  const maker = new TestWorker<ReturnType<BufferPool["share"]>>("pool-maker", { count: 2, size: 4096 });
  const handle = await maker.answer();
  await maker.terminate();
  expect(ringFds()).toBe(rings);
  expect(() => BufferPool.attach(handle)).toThrow("EBADF");
});
