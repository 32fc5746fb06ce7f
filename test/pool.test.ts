import { expect, spyOn, test } from "bun:test";
import { BufferPool, type FixedBuffer, Ring } from "bun-uring";
import { participantOf } from "../lib/pool/buffer-pool.ts";
import { bufferSource, needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { countedKb, leavingNothing, pinnedKb, ringFds } from "./support/resources.ts";

needs("clone (Linux 6.12)", "VmPin that counts for root (not Linux 7.3)")(
  "a pool's memory is pinned once, when the pool is created",
  () =>
    leavingNothing(() => {
      const before = pinnedKb();
      using pool = new BufferPool({ count: 10, size: 5000, hugePages: false });
      expect(pinnedKb() - before).toBeGreaterThanOrEqual(pool.stats().memoryBytes / 1024);
      expect(pool.stats().memoryBytes).toBe(10 * 8192);
    }),
);

test("slots have `size` bytes each, start on page boundaries, and do not overlap", () =>
  leavingNothing(() => {
    using pool = new BufferPool({ count: 10, size: 5000, hugePages: false });
    const buffers = Array.from({ length: 10 }, () => pool.tryAcquire());
    expect(pool.tryAcquire()).toBeUndefined();
    for (const [index, buffer] of buffers.entries()) {
      expect(buffer?.bytes.length).toBe(5000);
      expect(buffer?.bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
      expect((buffer?.bytes.byteOffset ?? 1) % 4096).toBe(0);
      buffer?.bytes.fill(index + 1);
    }
    for (const [index, buffer] of buffers.entries())
      expect(buffer?.bytes.every((byte) => byte === index + 1)).toBe(true);
    expect(new Set(buffers.map((buffer) => buffer?.slotIndex)).size).toBe(10);
    for (const buffer of buffers) buffer?.release();
    expect(pool.available).toBe(10);
  }));

needs("256 MiB of locked memory")("create() makes the same pool while the event loop keeps running", () =>
  leavingNothing(async () => {
    let turns = 0;
    let counting = true;
    const count = () => {
      turns++;
      if (counting) setImmediate(count);
    };
    setImmediate(count);
    using pool = await BufferPool.create({ count: 1024, size: 65536 });
    counting = false;
    expect(turns).toBeGreaterThan(0); // about one for each part of the memory that is not resident yet
    expect([pool.count, pool.size, pool.available, pool.closed]).toEqual([1024, 65536, 1024, false]);
    expect(pool.stats().registrationMs).toBeGreaterThan(0);
  }),
);

test("a released buffer cannot be used: bytes, release() and handOver() throw ESTALE, disposal does nothing", async () => {
  using pool = new BufferPool({ count: 1, size: 4096 });
  const buffer = await pool.acquire();
  buffer.release();
  for (const use of [() => buffer.bytes, () => buffer.release(), () => buffer.handOver()]) {
    const error = await uringError(use);
    expect([error.code, error.message.includes("slot 0 was released")]).toEqual(["ESTALE", true]);
  }
  buffer[Symbol.dispose]();
  expect(pool.available).toBe(1);
});

test("release with requests in flight takes effect at the last completion, and handOver() is refused until then", async () => {
  using ends = pipe();
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool });
  const buffer = await pool.acquire();
  const reads = [
    ring.readFixed(ends.readFd, buffer, { length: 1 }),
    ring.readFixed(ends.readFd, buffer, { offset: 1, length: 1 }),
  ];
  expect((await uringError(() => buffer.handOver())).code).toBe("EBUSY");
  buffer.release();
  expect(pool.tryAcquire()).toBeUndefined();
  const { writeSync } = await import("node:fs");
  writeSync(ends.writeFd, "ab");
  expect(await Promise.all(reads)).toEqual([1, 1]);
  expect(pool.available).toBe(1);
});

test("acquire() grants slots in the order of the calls, and an abort takes a call out of the queue", async () => {
  using pool = new BufferPool({ count: 1, size: 4096 });
  const first = await pool.acquire();
  const controller = new AbortController();
  const order: string[] = [];
  const note = (name: string) => (buffer: FixedBuffer) => {
    order.push(name);
    buffer.release();
  };
  const second = pool.acquire().then(note("second"));
  const aborted = pool.acquire({ signal: controller.signal });
  const third = pool.acquire().then(note("third"));
  expect(pool.stats().waiting).toBe(3);
  const reason = new Error("mine");
  controller.abort(reason);
  expect(await thrown(() => aborted)).toBe(reason);
  first.release();
  await Promise.all([second, third]);
  expect(order).toEqual(["second", "third"]);
  expect(await thrown(() => pool.acquire({ signal: AbortSignal.abort(reason) }))).toBe(reason);
  expect(pool.available).toBe(1);
});

test("acquire() finds a slot that another thread releases just before this one announces that it waits", async () => {
  using pool = new BufferPool({ count: 1, size: 4096 });
  using other = BufferPool.attach(pool.share());
  const held = other.tryAcquire();
  const { control } = participantOf(pool);
  const setWaiting = spyOn(control.turns, "setWaiting").mockImplementationOnce((participant, waiting) => {
    held?.release(); // sees no waiter, and so wakes none
    setWaiting.mockRestore();
    control.turns.setWaiting(participant, waiting);
  });
  (await pool.acquire()).release();
});

test("close() never waits: pending and new acquires fail, acquired slots stay usable, and the last ring's close frees the memory", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 4096);
    const pinned = pinnedKb();
    const pool = new BufferPool({ count: 1, size: 4096 });
    const ring = new Ring({ pool });
    const buffer = await pool.acquire();
    const waiting = pool.acquire();
    pool.close();
    pool.close();
    expect((await uringError(() => waiting)).code).toBe("EBADF");
    expect((await uringError(() => pool.tryAcquire())).code).toBe("EBADF");
    expect((await uringError(() => pool.acquire())).code).toBe("EBADF");
    expect((await uringError(() => pool.share())).code).toBe("EBADF");
    const rings = ringFds();
    expect((await uringError(() => new Ring({ pool }))).code).toBe("EBADF");
    expect(ringFds()).toBe(rings);
    const file = await ring.open(path);
    expect(await ring.readFixed(file, buffer, { position: 0 })).toBe(4096);
    expect(Buffer.compare(buffer.bytes, content)).toBe(0);
    expect(pinnedKb() - pinned).toBeGreaterThanOrEqual(countedKb(4));
    buffer.release();
    await ring.close();
  }));

test("a slot handed over belongs to its first receiver, with its content", () => {
  using pool = new BufferPool({ count: 2, size: 4096 });
  using other = BufferPool.attach(pool.share());
  const buffer = pool.tryAcquire();
  buffer?.bytes.fill(9);
  const token = structuredClone(buffer?.handOver());
  if (token === undefined) throw new Error("no slot");
  expect(() => buffer?.bytes).toThrow("handed over");
  expect(pool.stats()).toMatchObject({ inTransit: 1, available: 1, held: 0 });
  const received = other.receive(token);
  expect(received.slotIndex).toBe(token.slotIndex);
  expect(received.bytes.every((byte) => byte === 9)).toBe(true);
  expect(() => other.receive(token)).toThrow("used already");
  expect(() => pool.receive(token)).toThrow("used already");
  received.release();
  expect(() => pool.receive(token)).toThrow("used already");
  expect(pool.available).toBe(2);
});

test("a token is valid only in its own pool", () => {
  using one = new BufferPool({ count: 2, size: 4096 });
  using two = new BufferPool({ count: 2, size: 4096 });
  const token = one.tryAcquire()?.handOver();
  if (token === undefined) throw new Error("no slot");
  expect(() => two.receive(token)).toThrow(TypeError);
  one.receive(token).release();
});

test("`zero` clears a slot at every acquire; without it a slot keeps its last content", () => {
  for (const zero of [true, false]) {
    using pool = new BufferPool({ count: 1, size: 4096, zero });
    const first = pool.tryAcquire();
    first?.bytes.fill(5);
    first?.release();
    using second = pool.tryAcquire();
    expect(second?.bytes[4095]).toBe(zero ? 0 : 5);
  }
});

test("a ring can use several pools and read into slots of each", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 3 * 4096);
  using one = new BufferPool({ count: 3, size: 4096 });
  using two = new BufferPool({ count: 3, size: 8192 });
  using three = new BufferPool({ count: 3, size: 4096 });
  await using ring = new Ring({ pool: [one, two] });
  expect(ring.bufferSource).toBe(bufferSource.several);
  const file = await ring.open(path);
  for (const pool of [one, two]) {
    using buffer = await pool.acquire();
    expect(await ring.readFixed(file, buffer, { position: 4096, length: 4096 })).toBe(4096);
    expect(Buffer.compare(buffer.bytes.subarray(0, 4096), content.subarray(4096, 8192))).toBe(0);
  }
  using foreign = await three.acquire();
  expect(await thrown(() => ring.readFixed(file, foreign))).toBeInstanceOf(TypeError);
});

test("pools and rings can be closed in any order, and nothing is left", () =>
  leavingNothing(async () => {
    for (const order of ["ring first", "pool first", "attached first"]) {
      const pool = new BufferPool({ count: 4, size: 4096 });
      const attached = BufferPool.attach(pool.share());
      const ring = new Ring({ pool: attached });
      if (order === "ring first") await ring.close();
      if (order === "attached first") attached.close();
      pool.close();
      await ring.close();
      attached.close();
    }
  }));

test("a bad argument throws an error that names the value, and the pool stays usable", async () => {
  const make = (options: unknown) => () => Reflect.construct(BufferPool, [options]);
  using pool = new BufferPool({ count: 2, size: 4096 });
  const apply =
    (method: (...values: never[]) => unknown, ...values: unknown[]) =>
    () =>
      Reflect.apply(method, pool, values);
  const token = { kind: "bun-uring.SlotToken", pool: 0, slotIndex: 0, ticket: 1 };
  const cases: [() => unknown, string, string][] = [
    [make(undefined), "ERR_INVALID_ARG_TYPE", "undefined"],
    [make({ count: 1 }), "ERR_INVALID_ARG_TYPE", "undefined"],
    [make({ count: 0, size: 1 }), "ERR_OUT_OF_RANGE", "0"],
    [make({ count: 1, size: 0 }), "ERR_OUT_OF_RANGE", "0"],
    [make({ count: 1, size: 2 ** 30 + 1 }), "ERR_OUT_OF_RANGE", "1073741825"],
    [make({ count: 1.5, size: 1 }), "ERR_OUT_OF_RANGE", "1.5"],
    [make({ count: NaN, size: 1 }), "ERR_OUT_OF_RANGE", "NaN"],
    [make({ count: -3, size: 1 }), "ERR_OUT_OF_RANGE", "-3"],
    [make({ count: 2 ** 30, size: 2 ** 30 }), "ERR_OUT_OF_RANGE", "1073741824"],
    [make({ count: "1", size: 1 }), "ERR_INVALID_ARG_TYPE", '"1"'],
    [make({ count: 1, size: 1, zero: 1 }), "ERR_INVALID_ARG_TYPE", "1"],
    [make({ count: 1, size: 1, hugepages: true }), "ERR_INVALID_ARG_VALUE", "hugepages"],
    [apply(pool.acquire, { signal: 1 }), "ERR_INVALID_ARG_TYPE", "1"],
    [apply(pool.receive, {}), "ERR_INVALID_ARG_TYPE", "Object"],
    [apply(pool.receive, { ...token, slotIndex: 2 }), "ERR_OUT_OF_RANGE", "2"],
    [apply(pool.receive, { ...token, ticket: 0.5 }), "ERR_OUT_OF_RANGE", "0.5"],
    [() => Reflect.apply(BufferPool.attach, BufferPool, [{}]), "ERR_INVALID_ARG_TYPE", "Object"],
    [
      () => BufferPool.attach({ ...pool.share(), control: new SharedArrayBuffer(65536) }),
      "ERR_INVALID_ARG_VALUE",
      "not the state",
    ],
    [
      () => BufferPool.attach({ ...pool.share(), control: shortened(pool.share().control) }),
      "ERR_INVALID_ARG_VALUE",
      "too short",
    ],
    [() => BufferPool.attach({ ...pool.share(), memories: [] }), "ERR_INVALID_ARG_VALUE", "memories"],
    [
      () => BufferPool.attach({ ...pool.share(), memories: [new SharedArrayBuffer(1)] }),
      "ERR_INVALID_ARG_VALUE",
      "memories",
    ],
  ];
  for (const [call, code, value] of cases) {
    const error = await thrown(call);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(value)]);
  }
  expect(pool.available).toBe(2);
});

/** Only the beginning of a pool's shared state. */
function shortened(control: SharedArrayBuffer): SharedArrayBuffer {
  const short = new SharedArrayBuffer(4 * 4112);
  new Uint8Array(short).set(new Uint8Array(control, 0, short.byteLength));
  return short;
}

test("a pool larger than the machine's memory is refused before any memory is allocated", async () => {
  for (const options of [
    { count: 2 ** 24, size: 2 ** 20 },
    { count: 2 ** 29, size: 1 },
  ]) {
    const error = await uringError(() => new BufferPool(options));
    expect([error.code, error.message]).toEqual(["ENOMEM", expect.stringContaining(String(options.count))]);
  }
});

/** About 4 GiB. */
const manySlots = times(1_000_000);
/** An extent is 1 GiB, the most that kernels before Linux 7.3 register as one buffer. */
const slotsPerExtent = 2 ** 18;

needs("clone (Linux 6.12)", "4 GiB of locked memory", "6 GiB of memory")(
  `a ring joins a pool of ${manySlots} slots of one page by one clone of a few entries`,
  () =>
    leavingNothing(async () => {
      using pool = await BufferPool.create({ count: manySlots, size: 4096 });
      expect(pool.stats()).toMatchObject({ available: manySlots, extents: Math.ceil(manySlots / slotsPerExtent) });
      const pinned = pinnedKb();
      const took: number[] = [];
      for (let joined = 0; joined < 20; joined++) {
        await using ring = new Ring({ pool });
        expect(ring.bufferSource).toBe("cloned");
        took.push(ring.bufferJoinMs * 1000);
        expect(pinnedKb()).toBe(pinned);
      }
      console.log(`joining ${manySlots} slots of 4 KiB: ${took.map((us) => us.toFixed(1)).join(", ")} µs`);
      using folder = new Folder();
      const { path, content } = folder.random("file", 4096);
      await using ring = new Ring({ pool });
      const file = await ring.open(path);
      const held: FixedBuffer[] = [];
      for (let buffer = pool.tryAcquire(); buffer !== undefined; buffer = pool.tryAcquire())
        held[buffer.slotIndex] = buffer;
      for (const index of [
        0,
        slotsPerExtent - 1,
        slotsPerExtent,
        2 * slotsPerExtent,
        3 * slotsPerExtent,
        manySlots - 1,
      ]) {
        if (index >= manySlots) continue;
        const buffer = held[index];
        if (buffer === undefined) throw new Error(`slot ${index} was not granted`);
        expect(await ring.readFixed(file, buffer, { position: 0 })).toBe(4096);
        expect(Buffer.compare(buffer.bytes, content)).toBe(0);
      }
      for (const buffer of held) buffer.release();
    }),
  180_000,
);

test("an acquire whose signal throws from addEventListener does not wait, and no slot is lost to it", async () => {
  using pool = new BufferPool({ count: 1, size: 4096 });
  const buffer = await pool.acquire();
  const { signal } = new AbortController();
  Object.defineProperty(signal, "addEventListener", {
    value: () => {
      throw new Error("no listeners here");
    },
  });
  const outcome = pool.acquire({ signal }).then(
    (granted) => granted.release(),
    (error: unknown) => expect(String(error)).toBe("Error: no listeners here"),
  );
  await Promise.resolve();
  buffer.release();
  await outcome;
  const { available, waiting } = pool.stats();
  expect([available, waiting]).toEqual([1, 0]);
});
