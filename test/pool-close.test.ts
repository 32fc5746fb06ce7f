import { expect, spyOn, test } from "bun:test";
import { BufferPool, type FixedBuffer, type PoolHandle, Ring } from "bun-uring";
import { participantOf } from "../lib/pool/buffer-pool.ts";
import { needs } from "./support/capabilities.ts";
import { numbered } from "./support/content.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { countedKb, leavingNothing, pinnedKb, ringFds } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";
import type { RacerAnswer, RacerJob, Racing } from "./workers/jobs.ts";

const size = 4096;

async function codeOf(call: () => unknown): Promise<string> {
  return (await uringError(call)).code;
}

/** Expects that every call that needs an open pool is refused. */
async function expectClosed(pool: BufferPool): Promise<void> {
  expect(pool.closed).toBe(true);
  for (const enter of [() => pool.tryAcquire(), () => pool.acquire(), () => pool.share(), () => new Ring({ pool })])
    expect(await codeOf(enter)).toBe("EBADF");
}

async function readsRight(ring: Ring, path: string, buffer: FixedBuffer): Promise<void> {
  await using file = await ring.open(path);
  buffer.bytes.fill(0xff);
  expect(await ring.readFixed(file, buffer, { position: size })).toBe(size);
  expect(Buffer.compare(buffer.bytes, numbered(size, size / 4))).toBe(0);
}

/** The outcomes of a step until the pool is closed, and the error that it ends with then. */
const racing: Record<Racing, { during: string[]; end: string }> = {
  attach: { during: ["attached", "EBADF acquire"], end: "EBADF attach" },
  acquire: { during: ["acquired"], end: "EBADF acquire" },
  clone: { during: ["cloned"], end: "EBADF io_uring_clone_buffers" },
};

for (const [what, { during, end }] of Object.entries(racing) as [Racing, (typeof racing)[Racing]][]) {
  const rounds = times(150);
  const gated = what === "clone" ? needs("clone (Linux 6.12)") : test;
  gated(
    `closing ${rounds} pools while two Workers ${what} as fast as they can: each step succeeds completely or fails with EBADF, and nothing is left`,
    () =>
      leavingNothing(async () => {
        using folder = new Folder();
        const path = folder.write("file", numbered(size));
        const racers = [1, 2].map(() => new TestWorker<"ready" | RacerAnswer>("racer"));
        let steps = 0;
        for (let round = 0; round < rounds; round++) {
          const rings = ringFds();
          const pool = new BufferPool({ count: 3, size });
          const gate = new Int32Array(new SharedArrayBuffer(8));
          const job: RacerJob = { pool: pool.share(), racing: what, path, gate: gate.buffer };
          for (const racer of racers) racer.tell(job);
          for (const racer of racers) expect(await racer.answer()).toBe("ready");
          Atomics.store(gate, 0, 1);
          Atomics.notify(gate, 0);
          if (round % 2 === 1) Atomics.wait(gate, 1, 0);
          for (let spin = 0; spin < (round % 10) ** 2 * 500; spin++) Atomics.load(gate, 0);
          pool.close();
          for (const racer of racers) {
            const answer = await racer.answer();
            if (answer === "ready") throw new Error("one answer a job");
            const { outcomes } = answer;
            expect(outcomes.filter((outcome) => outcome !== end && !during.includes(outcome))).toEqual([]);
            expect(outcomes).toContain(end);
            steps += outcomes.length - 1;
          }
          expect(ringFds()).toBe(rings);
        }
        expect(steps).toBeGreaterThan(0);
        await Promise.all(racers.map((racer) => racer.terminate()));
      }),
  );
}

test("close() rejects every pending acquire with EBADF, also in attached pools and Workers; acquired slots stay with their holders", () =>
  leavingNothing(async () => {
    for (let round = 0; round < times(20); round++) {
      const pool = new BufferPool({ count: 1, size });
      const attached = BufferPool.attach(pool.share());
      const racer = new TestWorker<"ready" | RacerAnswer>("racer");
      const gate = new Int32Array(new SharedArrayBuffer(8)).fill(1);
      const buffer = await pool.acquire();
      buffer.bytes.fill(7);
      racer.tell({ pool: pool.share(), racing: "acquire", path: "", gate: gate.buffer } satisfies RacerJob);
      expect(await racer.answer()).toBe("ready");
      const waits = [pool, attached, pool, attached].map((one) => uringError(() => one.acquire()));
      const reason = new Error("mine");
      const controller = new AbortController();
      const aborted = thrown(() => attached.acquire({ signal: controller.signal }));
      while (pool.stats().othersWaiting < 2) await new Promise(setImmediate);
      controller.abort(reason);
      pool.close();
      expect((await Promise.all(waits)).map(({ code, syscall }) => `${code} ${syscall}`)).toEqual(
        waits.map(() => "EBADF acquire"),
      );
      expect(await aborted).toBe(reason);
      expect(await racer.answer()).toEqual({ outcomes: Array.from({ length: 4 }, () => "EBADF acquire") });
      expect(buffer.bytes.every((byte) => byte === 7)).toBe(true);
      buffer.release();
      attached.close();
      await racer.terminate();
    }
  }));

test("if a release and a close coincide, each pending acquire gets the slot or EBADF, and the slot is free in the end", () =>
  leavingNothing(async () => {
    for (let round = 0; round < times(200); round++) {
      const pool = new BufferPool({ count: 1, size });
      const attached = BufferPool.attach(pool.share());
      const buffer = await pool.acquire();
      const settled = Promise.allSettled([attached.acquire(), pool.acquire()]);
      if (round % 4 === 3) await new Promise(setImmediate);
      if (round % 2 === 0) buffer.release();
      pool.close();
      if (round % 2 === 1) buffer.release();
      for (const outcome of await settled) {
        if (outcome.status === "fulfilled") outcome.value.release();
        else expect(outcome.reason).toMatchObject({ code: "EBADF", syscall: "acquire" });
      }
      expect(attached.available).toBe(1);
      attached.close();
    }
  }));

test("rings in several threads keep working with acquired slots after their pool is closed; closing the last ring frees the memory", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", numbered(2 * size));
    const pinned = pinnedKb();
    const pool = new BufferPool({ count: 4, size, hugePages: false });
    const attached = BufferPool.attach(pool.share());
    const rings = [new Ring({ pool }), new Ring({ pool: attached })];
    const buffers = [await pool.acquire(), await attached.acquire()];
    const worker = new TestWorker<string>("holder", { pool: pool.share(), path });
    expect(await worker.answer()).toBe("reading");
    pool.close();
    await expectClosed(pool);
    await expectClosed(attached);
    // A slot from either works on either ring: both are the same pool.
    for (const ring of rings) for (const buffer of buffers) await readsRight(ring, path, buffer);
    await worker.terminate();
    expect(pool.available).toBe(2);
    for (const buffer of buffers) buffer.release();
    await rings[0]?.close();
    attached.close();
    expect(pinnedKb() - pinned).toBeGreaterThanOrEqual(countedKb(16));
    await rings[1]?.close();
    for (let turn = 0; turn < 200 && pinnedKb() !== pinned; turn++) await Bun.sleep(10);
    expect(pinnedKb()).toBe(pinned);
  }));

test("a slot in transit when its pool is closed can be received through an attached pool, but not through the closed one", () =>
  leavingNothing(async () => {
    const pool = new BufferPool({ count: 3, size });
    const attached = BufferPool.attach(pool.share());
    const tokens = [5, 6, 7].map((mark) => {
      const buffer = pool.tryAcquire();
      buffer?.bytes.fill(mark);
      return buffer?.handOver();
    });
    const [one, two, three] = tokens;
    if (one === undefined || two === undefined || three === undefined) throw new Error("no slot");
    pool.close();
    expect(await codeOf(() => pool.receive(one))).toBe("EBADF");
    const received = attached.receive(two);
    expect(received.bytes.every((byte) => byte === 6)).toBe(true);
    expect(await codeOf(() => attached.receive(two))).toBe("ESTALE");
    attached.close();
    expect(await codeOf(() => attached.receive(three))).toBe("EBADF");
    expect(received.bytes.every((byte) => byte === 6)).toBe(true);
    received.release();
  }));

test("a handle can be attached several times, in one thread or several: the pools close separately, and the creator's close closes all", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", numbered(2 * size));
    const pool = new BufferPool({ count: 8, size });
    const handle: PoolHandle = pool.share();
    const [one, two] = [BufferPool.attach(handle), BufferPool.attach(handle)];
    const workers = [1, 2].map(() => new TestWorker<number | string>("waiter"));
    for (const worker of workers) {
      worker.tell({ attach: handle });
      worker.tell({ attach: handle, acquire: 1, mark: 9 });
      expect([await worker.answer(), await worker.answer()]).toEqual(["attached", "attached"]);
    }
    const taken = [await workers[0]?.answer(), await workers[1]?.answer()];
    const buffers = [await one.acquire(), await two.acquire()];
    expect(new Set([...taken, ...buffers.map(({ slotIndex: index }) => index)]).size).toBe(4);
    expect(pool.stats()).toMatchObject({ available: 4, othersAttached: 6 });
    expect(await thrown(() => new Ring({ pool: [one, two] }))).toBeInstanceOf(TypeError);

    await using ring = new Ring({ pool: one });
    one.close();
    one.close();
    await expectClosed(one);
    // `one` still counts as attached: slots of it are acquired, and a ring uses it.
    expect([two.closed, pool.closed, pool.stats().othersAttached]).toEqual([false, false, 6]);
    for (const buffer of buffers) await readsRight(ring, path, buffer);
    buffers[0]?.release();
    await ring.close();
    expect(pool.stats()).toMatchObject({ available: 5, othersAttached: 5 });
    {
      await using other = new Ring({ pool: two });
      using more = await two.acquire();
      await readsRight(other, path, more);
    }
    pool.close();
    await expectClosed(two);
    expect(await codeOf(() => BufferPool.attach(handle))).toBe("EBADF");
    for (const worker of workers) await worker.terminate();
    buffers[1]?.release();
    two.close();
    expect(await codeOf(() => BufferPool.attach(handle))).toBe("EBADF");
  }));

needs("clone (Linux 6.12)")(
  "a close by another thread during a clone waits for the clone: that ring is complete, and the next one is refused",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const path = folder.write("file", numbered(2 * size));
      const gate = new Int32Array(new SharedArrayBuffer(4));
      const closer = new TestWorker<PoolHandle>("closer", gate.buffer);
      const attached = BufferPool.attach(await closer.answer());
      const buffer = await attached.acquire();
      const { control } = participantOf(attached);
      const { ringFd } = control;
      const during = spyOn(control, "ringFd").mockImplementationOnce((participant) => {
        Atomics.store(gate, 0, 1);
        Atomics.notify(gate, 0);
        expect(Atomics.wait(gate, 0, 1, 100)).toBe("timed-out"); // time enough to close, if the close did not wait
        return ringFd.call(control, participant);
      });
      const ring = new Ring({ pool: attached });
      expect(during).toHaveBeenCalledTimes(1);
      expect(Atomics.wait(gate, 0, 1, 10_000)).not.toBe("timed-out");
      await readsRight(ring, path, buffer);
      await expectClosed(attached);
      buffer.release();
      await ring.close();
      attached.close();
      await closer.terminate();
    }),
);

/** Makes pools until the registration of one gets this descriptor number. Returns the earlier pools as `others`. */
function poolWithFd(fd: number): { pool: BufferPool; others: BufferPool[] } {
  const others: BufferPool[] = [];
  for (let tries = 0; tries < 100; tries++) {
    const pool = new BufferPool({ count: 2, size });
    if (participantOf(pool).control.ringFd(0) === fd) return { pool, others };
    others.push(pool);
  }
  throw new Error(`no pool got descriptor ${fd}`);
}

needs("clone (Linux 6.12)")(
  "a closed pool stays closed to its handles and attached pools when another pool reuses its descriptor's number, and that pool's memory is untouched",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const path = folder.write("file", numbered(2 * size));
      for (let round = 0; round < times(20); round++) {
        const pool = new BufferPool({ count: 2, size });
        const handle = pool.share();
        const attached = BufferPool.attach(handle);
        const ring = new Ring({ pool: attached });
        const buffer = await attached.acquire();
        const fd = participantOf(pool).control.ringFd(0);
        pool.close();
        const { pool: other, others } = poolWithFd(fd);
        const foreign = await other.acquire();
        foreign.bytes.fill(0x5a);
        expect(await codeOf(() => BufferPool.attach(handle))).toBe("EBADF");
        await expectClosed(attached);
        await readsRight(ring, path, buffer);
        expect(foreign.bytes.every((byte) => byte === 0x5a)).toBe(true);
        expect(await thrown(() => ring.readFixed(0, foreign))).toBeInstanceOf(TypeError);
        buffer.release();
        foreign.release();
        await ring.close();
        attached.close();
        for (const one of [other, ...others]) one.close();
      }
    }),
);

needs("clone (Linux 6.12)")(
  "after its creator thread has ended, a pool is cloned and attached through other participants' descriptors, even if the creator's number is reused",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const path = folder.write("file", numbered(2 * size));
      for (let round = 0; round < times(10); round++) {
        const maker = new TestWorker<PoolHandle>("pool-maker", { count: 2, size });
        const handle = await maker.answer();
        const attached = BufferPool.attach(handle);
        const fd = participantOf(attached).control.ringFd(0);
        await maker.terminate();
        const { pool: other, others } = poolWithFd(fd);
        const foreign = await other.acquire();
        foreign.bytes.fill(0x5a);
        const again = BufferPool.attach(handle);
        for (const pool of [attached, again]) {
          await using ring = new Ring({ pool });
          using buffer = await pool.acquire();
          await readsRight(ring, path, buffer);
        }
        expect(foreign.bytes.every((byte) => byte === 0x5a)).toBe(true);
        foreign.release();
        attached.close();
        expect([again.closed, again.available]).toEqual([false, 2]);
        again.close();
        expect(await codeOf(() => BufferPool.attach(handle))).toBe("EBADF");
        for (const one of [other, ...others]) one.close();
      }
    }),
);

test("aborting an acquire that a close has already ended does not disturb the acquire that took its place", () =>
  leavingNothing(async () => {
    using pool = new BufferPool({ count: 1, size });
    const handle = pool.share();
    const only = await pool.acquire();
    const aborting = new AbortController();
    const left = BufferPool.attach(handle);
    const ended = codeOf(() => left.acquire({ signal: aborting.signal }));
    left.close();
    using attached = BufferPool.attach(handle);
    const acquired = attached.acquire();
    aborting.abort();
    expect(pool.stats().othersWaiting).toBe(1);
    expect(await ended).toBe("EBADF");
    only.release();
    (await acquired).release();
  }));
