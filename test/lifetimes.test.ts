import { describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { BufferPool, type FixedBuffer, Ring } from "bun-uring";
import { bufferSource, needs } from "./support/capabilities.ts";
import { directFlags } from "./support/direct.ts";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { run } from "./support/programs.ts";
import { fdsOf, leavingNothing } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";
import type { Ending, ReaderAnswer } from "./workers/jobs.ts";

const doomedCount = times(100);

test(
  `${doomedCount} Workers terminated in the middle of reads, pumps and batches leave no ring, file or slot behind; waiters are served, survivors read correctly`,
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      using ends = pipe();
      const { path, content } = folder.random("file", 2 ** 20);
      const survivorFile = folder.random("survivor", 2 ** 20 + 7);
      const shared = new SharedArrayBuffer(survivorFile.content.length);
      new Uint8Array(shared).set(survivorFile.content);
      using pool = new BufferPool({ count: 40, size: 16384, hugePages: false });
      const survivor = new TestWorker<ReaderAnswer>("reader", {
        pool: pool.share(),
        path: survivorFile.path,
        content: shared,
        first: 0,
        step: 1,
        partBytes: 16384,
        rounds: times(300),
      });
      expect(await survivor.answer()).toMatchObject({ right: 0, wrong: 0 });
      survivor.tell("read");
      const waiter = new TestWorker<number | string>("waiter", { attach: pool.share() });
      expect(await waiter.answer()).toBe("attached");
      for (let ended = 0; ended < doomedCount; ended += 4) {
        const doomed = (["read", "pump", "batch", "abort"] as const).map(
          (activity) =>
            new TestWorker<string>("doomed", {
              activity,
              pool: pool.share(),
              path,
              pipeFd: ends.readFd,
              ending: "terminate",
              slots: 4,
            }),
        );
        expect(await Promise.all(doomed.map((worker) => worker.answer()))).toEqual([
          "reading",
          "reading",
          "reading",
          "reading",
        ]);
        // Take the remaining slots, so that the acquires below and in the waiter have to wait for those of the
        // terminated Workers.
        const rest: FixedBuffer[] = [];
        for (let buffer = pool.tryAcquire(); buffer !== undefined; buffer = pool.tryAcquire()) rest.push(buffer);
        const mine = [pool.acquire(), pool.acquire()];
        waiter.tell({ acquire: 2 });
        await Promise.all(doomed.map((worker) => worker.terminate()));
        for (const buffer of await Promise.all(mine)) buffer.release();
        expect([typeof (await waiter.answer()), typeof (await waiter.answer())]).toEqual(["number", "number"]);
        waiter.tell({ release: true });
        expect(await waiter.answer()).toBe("released");
        for (const buffer of rest) buffer.release();
        expect(fdsOf(path)).toBe(0);
      }
      const { right, wrong } = await survivor.answer();
      expect([right, wrong]).toEqual([times(300) * 65, 0]);
      waiter.tell({ end: true });
      await Promise.all([survivor.ended, waiter.ended]);
      expect(pool.stats()).toMatchObject({ available: 40, inTransit: 0, othersAttached: 0, othersWaiting: 0 });
      await using ring = new Ring({ pool });
      using buffer = await pool.acquire();
      await ring.readFixed(await ring.open(path), buffer, { position: 0 });
      expect(Buffer.compare(buffer.bytes, content.subarray(0, 16384))).toBe(0);
    }),
  120_000,
);

describe("a Worker with reads in flight leaves nothing behind", () => {
  for (const ending of [
    "terminate",
    "process.exit",
    "throw",
    "fall off",
    "spin",
  ] as const satisfies readonly Ending[]) {
    test(`when its ending is ${ending}`, () =>
      leavingNothing(async () => {
        using folder = new Folder();
        using ends = pipe();
        const { path } = folder.random("file", 2 ** 20);
        using pool = new BufferPool({ count: 16, size: 16384 });
        for (let round = 0; round < times(5); round++) {
          const worker = new TestWorker<string>("doomed", {
            pool: pool.share(),
            path,
            pipeFd: ends.readFd,
            ending,
            slots: 16,
          });
          expect(await worker.answer()).toBe("reading");
          if (ending === "terminate" || ending === "spin") await worker.terminate();
          else await worker.ended;
          expect([pool.available, fdsOf(path)]).toEqual([16, 0]);
        }
      }));
  }
});

needs("256 MiB of locked memory")(
  "nothing is written to a slot after its Worker has ended, even with hundreds of block device reads in flight",
  () =>
    leavingNothing(async () => {
      const count = 128;
      const size = 2 ** 20;
      using pool = new BufferPool({ count, size });
      using clockPool = new BufferPool({ count: 32, size });
      const content = Buffer.alloc(size, 0x5a);
      for (let round = 0; round < times(3); round++) {
        const worker = new TestWorker<string>("flooder", pool.share());
        expect(await worker.answer()).toBe("reading");
        await worker.terminate();
        const buffers = Array.from({ length: count }, () => pool.tryAcquire());
        for (const buffer of buffers) buffer?.bytes.fill(0x5a);
        // Read the same disk as often again, and wait: a late write by the Worker's reads would have happened before.
        await using ring = new Ring({ pool: clockPool });
        const file = await ring.open(process.execPath, directFlags(process.execPath));
        await Promise.all(
          Array.from({ length: count }, async (_, read) => {
            using buffer = await clockPool.acquire();
            await ring.readFixed(file, buffer, { position: (read % 100) * size });
          }),
        );
        for (const buffer of buffers) {
          expect(Buffer.compare(buffer?.bytes ?? content.subarray(1), content)).toBe(0);
          buffer?.release();
        }
      }
    }),
);

test("a Worker that ends while it opens and closes files leaves none open, and closes no other thread's files", async () => {
  using folder = new Folder();
  const path = folder.write("file", "x");
  const mine = Array.from({ length: 32 }, () => openSync(folder.write("mine", "mine"), "r"));
  for (let round = 0; round < times(20); round++) {
    const workers = [1, 2].map(() => new TestWorker<number>("opener", path));
    await Promise.all(workers.map((worker) => worker.answer()));
    await Promise.all(workers.map((worker) => worker.terminate()));
    expect(fdsOf(path)).toBe(0);
  }
  expect(fdsOf(`${folder.path}/mine`)).toBe(32);
  for (const fd of mine) closeSync(fd);
});

test("a Worker that waits in the kernel can be terminated", () =>
  leavingNothing(async () => {
    using ends = pipe();
    const worker = new TestWorker<string>("blocked", ends.readFd);
    expect(await worker.answer()).toBe("waiting");
    await worker.terminate();
  }));

test("a Worker whose ring cannot be drained reports that and does not end, but the process can", async () => {
  const path = new URL("programs/undrained.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, path], { stdin: "pipe", stdout: "pipe", stderr: "pipe" });
  const stdout = child.stdout.text();
  let stderr = "";
  for await (const chunk of child.stderr) {
    if (stderr === "") child.stdin.write("end");
    child.stdin.flush();
    stderr += Buffer.from(chunk).toString();
  }
  expect([await child.exited, await stdout, stderr]).toEqual([
    0,
    "",
    "bun-uring: a Worker's ring cannot be drained, so its thread does not end: the kernel may still write its memory\n",
  ]);
});

test("closing files of a broken ring fails with EIO, without waiting for operations that never end", async () => {
  const path = new URL("programs/broken-ring.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, path], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([await child.exited, stdout.trim().split("\n"), stderr]).toEqual([
    0,
    ['{"nop":"EBADF","pending":["EBADF","EBADF"],"splicing":"EBADF","closing":"EIO"}', '{"closed":["EIO","EIO"]}'],
    "",
  ]);
});

test("a Worker that ends while it holds the pool's lock does not lock others out", async () => {
  using pool = new BufferPool({ count: 4, size: 4096 });
  const worker = new TestWorker<string>("lock-holder", pool.share());
  expect(await worker.answer()).toBe("locked");
  await worker.terminate();
  await using ring = new Ring({ pool });
  expect(ring.bufferSource).toBe(bufferSource.one);
});

test("a garbage collection between any two steps changes nothing", async () => {
  const { exitCode, stdout, stderr } = await run("collected");
  expect([exitCode, stderr]).toEqual([0, ""]);
  const reads = 2 * 8 * times(32);
  expect(stdout).toBe(`${reads} of ${reads} right, 0 in flight, 8 of 8 free\n`);
});

test("rings and pools that are dropped keep their memory while reads are in flight; the reads complete, and then it is freed", async () => {
  expect(await run("dropped")).toMatchObject({
    exitCode: 0,
    stdout:
      "collected: nothing\nthe dropped ring read 4096\n" +
      "left: 0 rings; collected: memory of a clone, memory of a pool, memory of a pool, memory of a raw ring\n",
    stderr: "",
  });
});

needs("a processor that is not emulated")(
  "test files run with --isolate may leave rings open: the rings' memory stays, and nothing crashes",
  async () => {
    using notes = new Folder();
    const folder = new URL("./isolated/", import.meta.url).pathname;
    const child = Bun.spawn(
      [
        process.execPath,
        "test",
        "--timeout",
        "60000",
        "--isolate",
        `${folder}one.isolated.ts`,
        `${folder}two.isolated.ts`,
        `${folder}three.isolated.ts`,
      ],
      {
        env: { ...process.env, BUN_URING_NOTE: `${notes.path}/fd` },
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    const output = await child.stderr.text();
    await child.exited;
    expect([child.exitCode, child.signalCode, /(\d+) pass/.exec(output)?.[1]]).toEqual([0, null, "3"]);
  },
);
