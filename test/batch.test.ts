import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { type Batch, BufferPool, Ring } from "bun-uring";
import { thrown } from "./support/errors.ts";
import { sockets } from "./support/pipes.ts";
import { Random } from "./support/random.ts";
import { blockBytes, withSlots } from "./support/with-slots.ts";

describe("a batch carries out each of its requests once", () => {
  for (const count of [1, 5, 64, 500])
    test(`${count} reads into slots, also of more requests than the ring has entries, from a RingFile and a descriptor`, () =>
      withSlots(count, async ({ ring, folder, slots }) => {
        const { path, content } = folder.random("file", (count + 1) * blockBytes - 100);
        await using file = await ring.open(path);
        const fd = openSync(path, "r");
        const batch = ring.batch();
        for (const target of [file, fd]) {
          batch.clear();
          for (const [index, slot] of slots.entries())
            expect(batch.readFixed(target, slot, (count - index) * blockBytes)).toBe(index);
          expect([batch.size, batch.inFlight]).toEqual([count, false]);
          for (let time = 0; time < 2; time++) {
            for (const slot of slots) slot.bytes.fill(0);
            const results = await batch.submit();
            expect([...results]).toEqual(slots.map((_, index) => (index === 0 ? blockBytes - 100 : blockBytes)));
            for (const [index, slot] of slots.entries()) {
              const from = (count - index) * blockBytes;
              const part = slot.bytes.subarray(0, results[index]);
              expect(Buffer.compare(part, content.subarray(from, from + blockBytes))).toBe(0);
            }
          }
        }
        closeSync(fd);
      }));

  test("of every kind, added in any order, and added anew after clear()", () =>
    withSlots(10, async ({ ring, folder, slotOf }) => {
      const random = new Random(4);
      const batch = ring.batch();
      const shared = new Uint8Array(new SharedArrayBuffer(10 * blockBytes));
      for (let round = 0; round < 30; round++) {
        const content = Buffer.alloc(20 * blockBytes, round);
        const path = `${folder.path}/${round}`;
        writeFileSync(path, content);
        await using file = await ring.open(path, "r+");
        batch.clear();
        const expected: number[] = [];
        const reads: Uint8Array[] = [];
        const kinds = Array.from({ length: 10 }, () => random.below(6));
        for (const [index, kind] of kinds.entries()) {
          const slot = slotOf({ index });
          const bytes = shared.subarray(index * blockBytes, (index + 1) * blockBytes);
          slot.bytes.fill(100 + round);
          bytes.fill(100 + round);
          const length = 1 + random.below(blockBytes);
          if (kind === 0) batch.readFixed(file, slot, 0, 0, length);
          if (kind === 1) batch.read(file, bytes.subarray(0, length), BigInt(5 * blockBytes));
          if (kind === 2) batch.writeFixed(file, slot, (10 + index) * blockBytes, 0, length);
          if (kind === 3) batch.write(file, bytes.subarray(0, length), (10 + index) * blockBytes);
          if (kind === 4) batch.fsync(file);
          if (kind === 5) batch.fdatasync(file);
          expected.push(kind < 4 ? length : 0);
          if (kind === 2 || kind === 3)
            content.fill(100 + round, (10 + index) * blockBytes, (10 + index) * blockBytes + length);
          if (kind === 0) reads.push(slot.bytes.subarray(0, length));
          if (kind === 1) reads.push(bytes.subarray(0, length));
        }
        expect([...(await batch.submit())]).toEqual(expected);
        expect(Buffer.compare(readFileSync(path), content)).toBe(0);
        for (const bytes of reads) expect(bytes.every((byte) => byte === round)).toBe(true);
      }
    }));

  test("and none, if it is empty", () =>
    withSlots(1, async ({ ring }) => expect([...(await ring.batch().submit())]).toEqual([])));
});

describe("errors", () => {
  test("of a request are its result, and the others are carried out", () =>
    withSlots(3, async ({ ring, folder, slotOf }) => {
      const path = folder.write("file", "content");
      await using right = await ring.open(path);
      await using wrong = await ring.open(path, constants.O_WRONLY);
      const batch = ring.batch();
      batch.readFixed(right, slotOf({ index: 0 }), 0);
      batch.readFixed(wrong, slotOf({ index: 1 }), 0);
      batch.fsync(right);
      expect([...(await batch.submit())]).toEqual([7, -9, 0]);
      expect(batch.errorOf(1)).toMatchObject({ code: "EBADF", syscall: "read_fixed", path });
      expect([batch.errorOf(0), batch.errorOf(2)]).toEqual([undefined, undefined]);
      for (const index of [-1, 3, 0.5]) expect(() => batch.errorOf(index)).toThrow(RangeError);
    }));

  test("of arguments are thrown by the method, and add nothing", () =>
    withSlots(1, async ({ ring, folder, slotOf }) => {
      const path = folder.write("file", "content");
      await using file = await ring.open(path);
      const closed = await ring.open(path);
      await closed.close();
      const slot = slotOf({ index: 0 });
      const bytes = new Uint8Array(new SharedArrayBuffer(8));
      const batch = ring.batch();
      const calls: [(batch: Batch) => unknown, string][] = [
        [() => batch.readFixed(closed, slot, 0), "EBADF"],
        [() => batch.fsync(closed), "EBADF"],
        [() => batch.readFixed(file, slot, -1), "ERR_OUT_OF_RANGE"],
        [() => batch.read(file, bytes, -1), "ERR_OUT_OF_RANGE"],
        [() => Reflect.apply(batch.read, batch, [file, bytes]), "ERR_INVALID_ARG_TYPE"],
        [() => batch.writeFixed(file, slot, 0, 1, blockBytes), "ERR_OUT_OF_RANGE"],
        [() => batch.read(file, new Uint8Array(8), 0), "ERR_INVALID_ARG_TYPE"],
        [() => Reflect.apply(batch.fdatasync, batch, ["file"]), "ERR_INVALID_ARG_TYPE"],
      ];
      for (const [call, code] of calls) expect(await thrown(() => call(batch))).toMatchObject({ code });
      expect(batch.size).toBe(0);
    }));

  test("found by submit() reject it, and start nothing", () =>
    withSlots(2, async ({ ring, pool, folder, slotOf }) => {
      const path = folder.write("file", "old");
      await using file = await ring.open(path, "r+");
      const other = await ring.open(path);
      const batch = ring.batch();
      slotOf({ index: 0 }).bytes.fill(0);
      batch.writeFixed(file, slotOf({ index: 0 }), 0);
      batch.readFixed(other, slotOf({ index: 1 }), 0);
      expect((await thrown(() => ring.chain([() => batch.submit()]))).message).toContain("batch");
      await other.close();
      expect(await thrown(() => batch.submit())).toMatchObject({ code: "EBADF" });
      batch.clear();
      batch.writeFixed(file, slotOf({ index: 0 }), 0);
      slotOf({ index: 1 }).release();
      using slot = await pool.acquire();
      batch.readFixed(file, slot, 0);
      slot.release();
      expect(await thrown(() => batch.submit())).toMatchObject({ code: "ESTALE" });
      const reason = new Error("before");
      expect(await thrown(() => batch.submit({ signal: AbortSignal.abort(reason) }))).toBe(reason);
      expect(await thrown(() => Reflect.apply(batch.submit, batch, [{ sginal: 1 }]))).toBeInstanceOf(TypeError);
      expect([readFileSync(path, "utf8"), ring.inFlight, batch.inFlight]).toEqual(["old", 0, false]);
    }));
});

test("a batch in flight can neither be changed nor submitted, and afterwards it can", () =>
  withSlots(2, async ({ ring, folder, slotOf }) => {
    await using file = await ring.open(folder.write("file", "content"));
    const batch = ring.batch();
    batch.readFixed(file, slotOf({ index: 0 }), 0);
    const first = batch.submit();
    expect(batch.inFlight).toBe(true);
    const calls = [
      () => batch.readFixed(file, slotOf({ index: 1 }), 0),
      () => batch.fsync(file),
      () => batch.clear(),
      () => batch.submit(),
    ];
    for (const call of calls) expect(await thrown(call)).toMatchObject({ code: "ERR_INVALID_STATE" });
    expect([...(await first)]).toEqual([7]);
    batch.readFixed(file, slotOf({ index: 1 }), 3);
    expect([...(await batch.submit())]).toEqual([7, 4]);
  }));

for (const how of ["abort", "close"] as const)
  test(`${how} ends a batch, whose slots stay in use until the kernel is done with them`, async () => {
    using ends = sockets();
    using pool = new BufferPool({ count: 3, size: blockBytes });
    await using ring = new Ring({ pool });
    const slots = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
    const controller = new AbortController();
    const batch = ring.batch();
    for (const slot of slots) batch.readFixed(ends.readFd, slot, 0);
    const submitted = batch.submit({ signal: controller.signal });
    const ended = how === "abort" ? thrown(() => submitted) : submitted;
    for (const slot of slots) slot.release();
    await ring.nop();
    expect([pool.stats().available, batch.inFlight]).toEqual([0, true]);
    if (how === "abort") {
      controller.abort(new Error("out"));
      expect(await ended).toMatchObject({ message: "out" });
      while (batch.inFlight) await ring.nop();
      expect(batch.errorOf(2)).toMatchObject({ code: "ECANCELED" });
    } else {
      await ring.close();
      expect(await ended).toEqual(new Int32Array(3).fill(-125));
    }
    writeSync(ends.writeFd, "late");
    expect(pool.stats().available).toBe(3);
  });

test("a signal's own method may submit the batch again: each promise gets its own results", () =>
  withSlots(1, async ({ ring, folder, slotOf }) => {
    await using file = await ring.open(folder.write("file", "content"));
    const batch = ring.batch();
    batch.readFixed(file, slotOf({ index: 0 }), 0);
    const { signal } = new AbortController();
    const later = Promise.withResolvers<Int32Array>();
    signal.removeEventListener = () => later.resolve(batch.submit());
    expect([...(await batch.submit({ signal }))]).toEqual([7]);
    expect([...(await later.promise), batch.inFlight]).toEqual([7, false]);
  }));

test("if a signal's own method throws, nothing is started", () =>
  withSlots(1, async ({ ring, folder, slotOf }) => {
    const path = folder.write("file", "old");
    await using file = await ring.open(path, "r+");
    const batch = ring.batch();
    batch.writeFixed(file, slotOf({ index: 0 }), 0);
    const { signal } = new AbortController();
    signal.addEventListener = () => {
      throw new Error("own");
    };
    expect((await thrown(() => batch.submit({ signal }))).message).toBe("own");
    expect([batch.inFlight, ring.inFlight, readFileSync(path, "utf8")]).toEqual([false, 0, "old"]);
    expect([...(await batch.submit())]).toEqual([blockBytes]);
  }));

test("errorOf() knows no error of a request that is not submitted, or not completed", () =>
  withSlots(1, async ({ ring, folder }) => {
    await using file = await ring.open(folder.write("file", "content"));
    const bytes = new Uint8Array(new SharedArrayBuffer(8));
    const batch = ring.batch();
    const fd = openSync(folder.path, "r");
    batch.read(fd, bytes, 0);
    await batch.submit();
    expect(batch.errorOf(0)).toMatchObject({ code: "EISDIR" });
    batch.clear();
    batch.fsync(file);
    expect(batch.errorOf(0)).toBeUndefined();
    const submitted = batch.submit();
    expect(batch.errorOf(0)).toBeUndefined();
    await submitted;
    closeSync(fd);
  }));

test("an abort ends requests that wait for room in the ring, although those before them go on", async () => {
  using ends = sockets();
  using pool = new BufferPool({ count: 2, size: blockBytes });
  await using ring = new Ring({ pool, entries: 2, cqEntries: 4 });
  const bytes = new Uint8Array(new SharedArrayBuffer(8));
  const reads = Promise.allSettled(Array.from({ length: 5 }, () => ring.read(ends.readFd, bytes)));
  const slots = [await pool.acquire(), await pool.acquire()];
  const controller = new AbortController();
  const batch = ring.batch();
  batch.readFixed(ends.readFd, slots[0] ?? expect.unreachable(), 0);
  const pumping = ring.pump((lane) => lane.readFixed(ends.readFd, slots[1] ?? expect.unreachable(), 0), {
    depth: 1,
    signal: controller.signal,
  });
  const ended = Promise.all([thrown(() => batch.submit({ signal: controller.signal })), thrown(() => pumping)]);
  while (ring.inFlight < 8) await new Promise(setImmediate); // five reads, the batch's, the pump and its own
  for (const slot of slots) slot.release();
  controller.abort();
  await ended;
  (await pool.acquire()).release();
  const both = [await pool.acquire(), await pool.acquire()];
  for (const slot of both) slot.release();
  expect(batch.inFlight).toBe(false);
  await ring.close();
  expect((await reads).map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
});

test("results are in the same array again, if as many requests are submitted again", () =>
  withSlots(2, async ({ ring, folder, slotOf }) => {
    await using file = await ring.open(folder.write("file", "content"));
    const batch = ring.batch();
    batch.readFixed(file, slotOf({ index: 0 }), 0);
    const results = await batch.submit();
    batch.clear();
    batch.readFixed(file, slotOf({ index: 0 }), 5);
    expect(await batch.submit()).toBe(results);
    expect([...results]).toEqual([2]);
  }));
