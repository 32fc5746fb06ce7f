import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readFileSync, writeSync } from "node:fs";
import { BufferPool, type FixedBuffer, type PumpLane, Ring } from "bun-uring";
import { collect } from "./support/collect.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { sockets } from "./support/pipes.ts";
import { Random } from "./support/random.ts";
import { ringFds } from "./support/resources.ts";
import { blockBytes, withSlots } from "./support/with-slots.ts";

describe("pump() makes each transfer once", () => {
  for (const depth of [1, 3, 64, 300])
    test(`and reads a file's blocks at random, with depth ${depth}, as node:fs does`, () =>
      withSlots(depth, async ({ ring, folder, slotOf }) => {
        const { path, content } = folder.random("file", 1000 * blockBytes + 100);
        const blocks = Array.from({ length: 1001 }, (_, block) => block);
        const random = new Random(depth);
        blocks.sort(() => random.below(3) - 1);
        const found = Buffer.alloc(content.length);
        const reading: number[] = [];
        const called = new Set<number>();
        for (const file of [await ring.open(path), openSync(path, "r")]) {
          const rest = [...blocks];
          found.fill(0);
          called.clear();
          await ring.pump(
            (lane, result) => {
              if (result === undefined) called.add(lane.index);
              else {
                const position = (reading[lane.index] ?? 0) * blockBytes;
                expect(result).toBe(Math.min(blockBytes, content.length - position));
                found.set(slotOf(lane).bytes.subarray(0, result), position);
              }
              const block = rest.pop();
              if (block === undefined) return;
              reading[lane.index] = block;
              lane.readFixed(file, slotOf(lane), block * blockBytes);
            },
            { depth },
          );
          expect([Buffer.compare(found, content), rest.length, called.size]).toEqual([0, 0, depth]);
          if (typeof file === "number") closeSync(file);
          else await file.close();
        }
      }));

  test("and copies a file block by block, each lane in turn reading and writing", () =>
    withSlots(7, async ({ ring, folder, slotOf }) => {
      const { path, content } = folder.random("from", 300 * blockBytes + 1);
      await using from = await ring.open(path);
      await using to = await ring.open(`${folder.path}/to`, "w");
      let next = 0;
      const lanes = new Map<number, { readonly position: number; isRead: boolean }>();
      await ring.pump(
        (lane, result = 0) => {
          const last = lanes.get(lane.index);
          if (last?.isRead === true) {
            last.isRead = false;
            lane.writeFixed(to, slotOf(lane), last.position, 0, result);
          } else if (next < content.length) {
            lanes.set(lane.index, { position: next, isRead: true });
            lane.readFixed(from, slotOf(lane), BigInt(next));
            next += blockBytes;
          }
        },
        { depth: 7 },
      );
      expect(Buffer.compare(readFileSync(`${folder.path}/to`), content)).toBe(0);
    }));

  test("and reads into the part of the slot that the call names", () =>
    withSlots(1, async ({ ring, folder, slotOf }) => {
      await using file = await ring.open(folder.write("file", "0123456789"));
      let slot: FixedBuffer | undefined;
      await ring.pump(
        (lane, result) => {
          if (result !== undefined) return;
          slot = slotOf(lane);
          slot.bytes.fill(0);
          lane.readFixed(file, slot, 2, 5, 3);
        },
        { depth: 1 },
      );
      expect(Buffer.from(slot?.bytes.slice(0, 10) ?? "").toString()).toBe("\0\0\0\0\0" + "234\0\0");
    }));
});

describe("a lane", () => {
  test("ends if the callback starts nothing; the promise resolves when all have ended", () =>
    withSlots(4, async ({ ring, folder, slotOf }) => {
      await using file = await ring.open(folder.write("file", "content"));
      const calls = [0, 0, 0, 0];
      await ring.pump(
        (lane) => {
          const count = (calls[lane.index] ?? 0) + 1;
          calls[lane.index] = count;
          if (count <= lane.index) lane.readFixed(file, slotOf(lane), 0);
        },
        { depth: 4 },
      );
      expect(calls).toEqual([1, 1, 2, 3].map((_, index) => Math.max(1, index + 1)));
      await ring.pump(() => undefined);
    }));

  test("waits for the promise that the callback returns, and the others go on meanwhile", () =>
    withSlots(2, async ({ ring, folder, slotOf }) => {
      await using file = await ring.open(folder.write("file", "content"));
      const { promise, resolve } = Promise.withResolvers<void>();
      const results: (number | undefined)[] = [];
      let others = 0;
      await ring.pump(
        async (lane, result) => {
          if (lane.index === 0) {
            results.push(result);
            if (results.length > 2) return;
            if (results.length === 1) lane.readFixed(file, slotOf(lane), 1);
            await promise;
            if (results.length === 2) lane.readFixed(file, slotOf(lane), 2);
          } else if (++others < 50) lane.readFixed(file, slotOf(lane), 0);
          else resolve();
        },
        { depth: 2 },
      );
      expect([results, others]).toEqual([[undefined, 6, 5], 50]);
    }));

  test("starts one transfer for each call of the callback, and none at another time", () =>
    withSlots(1, async ({ ring, folder, slotOf }) => {
      await using file = await ring.open(folder.write("file", "content"));
      let kept: PumpLane | undefined;
      const twice = ring.pump(
        (lane) => {
          kept = lane;
          lane.readFixed(file, slotOf(lane), 0);
          lane.readFixed(file, slotOf(lane), 0);
        },
        { depth: 1 },
      );
      expect(await thrown(() => twice)).toMatchObject({ name: "TypeError", code: "ERR_INVALID_ARG_VALUE" });
      while (ring.inFlight > 0) await ring.nop();
      let calls = 0;
      await ring.pump(
        (lane) => {
          kept = lane;
          if (calls++ === 0) lane.readFixed(file, slotOf(lane), 0);
        },
        { depth: 1 },
      );
      expect(() => kept?.readFixed(file, slotOf(kept), 0)).toThrow(TypeError);
      const again = ring.pump(
        async (lane) => {
          lane.readFixed(file, slotOf(lane), 0);
          const { submitted } = ring.stats();
          while (ring.stats().submitted < submitted + 3) await ring.nop(); // the read has completed by then
          lane.readFixed(file, slotOf(lane), 0);
        },
        { depth: 1 },
      );
      expect(await thrown(() => again)).toMatchObject({ code: "ERR_INVALID_ARG_VALUE" });
      expect(calls).toBe(2);
    }));

  test("refuses what readFixed() of a ring refuses, with the same errors", () =>
    withSlots(1, async ({ ring, folder, slotOf }) => {
      const path = folder.write("file", "content");
      await using file = await ring.open(path);
      const closed = await ring.open(path);
      await closed.close();
      await using other = new Ring();
      await using foreign = await other.open(path);
      const { promise, resolve } = Promise.withResolvers<FixedBuffer>();
      const calls: ((lane: PumpLane, slot: FixedBuffer) => unknown)[] = [
        (lane, slot) => lane.readFixed(closed, slot, 0),
        (lane, slot) => lane.readFixed(foreign, slot, 0),
        (lane, slot) => lane.readFixed(file, slot, -1),
        (lane, slot) => lane.readFixed(file, slot, 0.5),
        (lane, slot) => lane.readFixed(file, slot, 0, blockBytes + 1),
        (lane, slot) => lane.writeFixed(file, slot, 0, 1, blockBytes),
        (lane, slot) => lane.readFixed(-1, slot, 0),
        (lane, slot) => Reflect.apply(lane.readFixed, lane, [file, slot.bytes, 0]),
        (lane, slot) => Reflect.apply(lane.readFixed, lane, ["file", slot, 0]),
        (lane, slot) => ring.chain([() => Promise.resolve(lane.readFixed(file, slot, 0))]),
      ];
      const codes: unknown[] = [];
      await ring.pump(
        async (lane, result) => {
          const slot = slotOf(lane);
          resolve(slot);
          if (result !== undefined) return;
          for (const call of calls) codes.push((await thrown(async () => await call(lane, slot))).code);
          lane.readFixed(file, slot, 0);
        },
        { depth: 1 },
      );
      expect((await promise).bytes[0]).toBe("c".charCodeAt(0));
      expect(codes).toEqual([
        "EBADF",
        "EXDEV",
        "ERR_OUT_OF_RANGE",
        "ERR_OUT_OF_RANGE",
        "ERR_OUT_OF_RANGE",
        "ERR_OUT_OF_RANGE",
        "ERR_OUT_OF_RANGE",
        "ERR_INVALID_ARG_TYPE",
        "ERR_INVALID_ARG_TYPE",
        "ERR_INVALID_ARG_VALUE",
      ]);
    }));
});

describe("a pump ends", () => {
  test("when a transfer fails, although the promise of its callback is pending", () =>
    withSlots(1, async ({ ring, folder, slotOf }) => {
      await using file = await ring.open(folder.write("file", "content"), constants.O_WRONLY);
      const pumping = ring.pump(
        (lane) => {
          lane.readFixed(file, slotOf(lane), 0);
          return new Promise(() => undefined);
        },
        { depth: 1 },
      );
      expect(await thrown(() => pumping)).toMatchObject({ code: "EBADF" });
    }));

  test("when all lanes have ended, also if a promise of the program's calls back twice", () =>
    withSlots(2, async ({ ring, folder, slotOf }) => {
      await using file = await ring.open(folder.write("file", "content"));
      const results: unknown[] = [];
      await ring.pump(
        (lane, result) => {
          results.push(result);
          if (result !== undefined) return undefined;
          if (lane.index === 0) return lane.readFixed(file, slotOf(lane), 0);
          const twice = Promise.resolve();
          Object.assign(twice, {
            // biome-ignore lint/suspicious/noThenProperty: what the test is about
            then: (call: () => void) => {
              call();
              call();
            },
          });
          return twice;
        },
        { depth: 2 },
      );
      expect(results).toEqual([undefined, undefined, 7]);
    }));

  test("at once, if a method of the signal throws; closing the ring afterwards rejects nothing", async () => {
    const { signal } = new AbortController();
    signal.addEventListener = () => {
      throw new Error("own");
    };
    const ring = new Ring();
    expect((await thrown(() => ring.pump(() => undefined, { signal }))).message).toBe("own");
    await ring.close();
  });

  test("with the error of a transfer, which names the file", () =>
    withSlots(8, async ({ ring, folder, slotOf }) => {
      const path = folder.write("file", "content");
      await using file = await ring.open(path, constants.O_WRONLY);
      const pumping = ring.pump((lane) => lane.readFixed(file, slotOf(lane), 0), { depth: 8 });
      expect(await thrown(() => pumping)).toMatchObject({ code: "EBADF", syscall: "read_fixed", path });
    }));

  test('not with the error of a transfer, if `errors` is "result": the callback gets it', () =>
    withSlots(2, async ({ ring, folder, slotOf }) => {
      const path = folder.write("file", "content");
      await using wrong = await ring.open(path, constants.O_WRONLY);
      await using right = await ring.open(path);
      const results: unknown[] = [];
      await ring.pump(
        (lane, result) => {
          if (lane.index === 1) return;
          results.push(result, lane.error?.code, lane.error?.path);
          if (result === undefined) lane.readFixed(wrong, slotOf(lane), 0);
          else if (result < 0) lane.readFixed(right, slotOf(lane), 0);
        },
        { depth: 2, errors: "result" },
      );
      expect(results).toEqual([undefined, undefined, undefined, -9, "EBADF", path, 7, undefined, undefined]);
    }));

  test("with what the callback throws or its promise rejects with, and calls it no more", () =>
    withSlots(4, async ({ ring, folder, slotOf }) => {
      await using file = await ring.open(folder.write("file", "content"));
      for (const isAsync of [false, true]) {
        let calls = 0;
        const callback = (lane: PumpLane) => {
          lane.readFixed(file, slotOf(lane), 0);
          if (++calls === 3) throw new Error("enough");
        };
        const pumping = ring.pump(isAsync ? async (lane) => callback(lane) : callback, { depth: 4 });
        expect((await thrown(() => pumping)).message).toBe("enough");
        while (ring.inFlight > 0) await ring.nop();
        expect(calls).toBe(isAsync ? 4 : 3);
      }
    }));

  for (const how of ["abort", "close"] as const)
    test(`at once on ${how}, while a slot stays in use until the kernel is done with it`, async () => {
      using ends = sockets();
      using pool = new BufferPool({ count: 2, size: blockBytes });
      await using ring = new Ring({ pool });
      const slots = [await pool.acquire(), await pool.acquire()];
      const controller = new AbortController();
      let calls = 0;
      const pumping = ring.pump(
        (lane) => {
          calls++;
          const slot = slots[lane.index];
          if (slot !== undefined) lane.readFixed(ends.readFd, slot, 0);
        },
        { depth: 2, signal: controller.signal },
      );
      const ended = thrown(() => pumping);
      while (calls < 2) await ring.nop();
      for (const slot of slots) slot.release();
      expect(pool.stats().available).toBe(0);
      if (how === "abort") controller.abort(new Error("out"));
      const closing = how === "close" ? ring.close() : undefined;
      expect(await ended).toMatchObject(how === "abort" ? { message: "out" } : { code: "ECANCELED", syscall: "pump" });
      await closing;
      if (how === "abort") while (ring.inFlight > 0) await ring.nop();
      writeSync(ends.writeFd, "late");
      expect([calls, pool.stats().available]).toEqual([2, 2]);
    });

  test("before it begins, if the signal has aborted, the ring is closed, or an argument is wrong", async () => {
    const ring = new Ring();
    const started = () => expect.unreachable();
    const reason = new Error("before");
    expect(await thrown(() => ring.pump(started, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    for (const depth of [0, 32769, 1.5])
      expect(await thrown(() => ring.pump(started, { depth }))).toBeInstanceOf(RangeError);
    for (const given of [
      [undefined],
      [7],
      [started, { dept: 1 }],
      [started, { errors: "ignore" }],
      [started, { signal: 1 }],
    ])
      expect((await thrown(() => Reflect.apply(ring.pump, ring, given))).code).toStartWith("ERR_");
    expect((await thrown(() => ring.chain([() => ring.pump(started)]))).message).toContain("pump");
    await ring.close();
    expect(await thrown(() => ring.pump(started))).toMatchObject({ code: "EBADF" });
  });
});

test("timers have their turn while a pump of cached reads goes on", () =>
  withSlots(64, async ({ ring, folder, slotOf }) => {
    await using file = await ring.open(folder.random("file", 64 * blockBytes).path);
    let fired = 0;
    const timer = setInterval(() => fired++, 1);
    await ring.pump((lane) => {
      if (fired < 5) lane.readFixed(file, slotOf(lane), lane.index * blockBytes);
    });
    clearInterval(timer);
    expect(fired).toBeGreaterThanOrEqual(5);
  }));

test("two pumps and other operations share a ring", () =>
  withSlots(8, async ({ ring, folder, slotOf }) => {
    await using file = await ring.open(folder.random("file", 8 * blockBytes).path);
    const counts = [0, 0];
    const pumps = counts.map((_, which) =>
      ring.pump(
        (lane) => {
          if ((counts[which] ?? 0) >= 500) return;
          counts[which] = (counts[which] ?? 0) + 1;
          lane.readFixed(file, slotOf(lane), lane.index * blockBytes);
        },
        { depth: 8 },
      ),
    );
    for (let count = 0; count < 20; count++) expect((await file.stat()).size).toBe(8 * blockBytes);
    await Promise.all(pumps);
    expect(counts).toEqual([500, 500]);
  }));

test("a dropped ring stays open until its pump has ended, and is closed then", async () => {
  using folder = new Folder();
  using pool = new BufferPool({ count: 1, size: blockBytes });
  using slot = await pool.acquire();
  const fd = openSync(folder.random("file", blockBytes).path, "r");
  const before = ringFds();
  const dropped = 10;
  const rings: WeakRef<Ring>[] = [];
  const start = () => {
    let left = 200;
    const ring = new Ring({ pool });
    rings.push(new WeakRef(ring));
    return ring.pump(
      (lane) => {
        left--;
        if (left % 50 === 0) Bun.gc(true);
        if (left >= 0) lane.readFixed(fd, slot, 0);
      },
      { depth: 1 },
    );
  };
  for (let index = 0; index < dropped; index++) await start();
  await collect(() => ringFds() === before);
  expect(ringFds() - before).toBeLessThan(dropped / 2); // the collector may keep a few objects
  for (const ring of rings) await ring.deref()?.close();
  closeSync(fd);
});
