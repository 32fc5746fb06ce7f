import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeSync } from "node:fs";
import { BufferPool, Ring } from "bun-uring";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe, sockets } from "./support/pipes.ts";
import { fc } from "./support/properties.ts";
import { leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";

const POLLIN = 1;

/** Copies a text into memory that the kernel may read. */
function memoryOf(text: string): Uint8Array {
  const bytes = shared(text.length);
  bytes.set(Buffer.from(text));
  return bytes;
}

test("the operations of a chain run one after the other, however long each takes", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(50), fc.nat(3)), { minLength: 1, maxLength: 20 }), async (writes) => {
        const path = folder.write("file", Buffer.alloc(64));
        await using file = await ring.open(path, "r+");
        const expected = Buffer.alloc(64);
        const operations = writes.flatMap(([position, kind], index) => {
          const byte = String.fromCharCode(65 + index);
          expected.fill(byte, position, position + 10);
          const write = () => ring.write(file, memoryOf(byte.repeat(10)), { position });
          return (
            [[write], [write, () => ring.nop()], [() => ring.timeout(0.1), write], [write, () => ring.fsync(file)]][
              kind
            ] ?? []
          );
        });
        await Promise.all(ring.chain(operations));
        expect(readFileSync(path).toString("latin1")).toBe(expected.toString("latin1"));
      }),
      { numRuns: times(50) },
    );
  }));

test("operations after a failed one do not run, and reject with ECANCELED and the failure as their cause", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "as it was");
    await using ring = new Ring();
    await using file = await ring.open(path, "r+");
    await using readOnly = await ring.open(path, "r");
    const results = await Promise.allSettled(
      ring.chain([
        () => ring.write(file, memoryOf("AS"), { position: 0 }),
        () => ring.write(readOnly, memoryOf("x"), { position: 0 }),
        () => ring.write(file, memoryOf("never"), { position: 0 }),
        () => ring.unlink(path),
      ]),
    );
    const [first, second, ...rest] = results;
    expect(first).toEqual({ status: "fulfilled", value: 2 });
    const failure = second?.status === "rejected" ? second.reason : undefined;
    expect(failure).toMatchObject({ code: "EBADF", syscall: "write" });
    expect(
      rest.map((result) =>
        result.status === "rejected"
          ? [result.reason.code, result.reason.syscall, result.reason.cause === failure]
          : result,
      ),
    ).toEqual([
      ["ECANCELED", "write", true],
      ["ECANCELED", "unlinkat", true],
    ]);
    expect(readFileSync(path, "latin1")).toBe("AS it was");
    expect(ring.inFlight).toBe(0);
  }));

test("an error found before the kernel starts the chain is the cause of all cancellations, earlier ones included", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "as it was");
    await using ring = new Ring();
    using ends = pipe();
    // The kernel checks a splice's flags while it prepares the chain, and then starts none of its operations.
    const results = await Promise.allSettled(
      ring.chain([
        () => ring.unlink(path),
        () => ring.nop(),
        () => ring.splice(ends.readFd, ends.writeFd, 1, { flags: 0x1000 }),
        () => ring.nop(),
      ]),
    );
    const reasons = results.map((result) => (result.status === "rejected" ? result.reason : undefined));
    expect(reasons.map(({ code }) => code)).toEqual(["ECANCELED", "ECANCELED", "EINVAL", "ECANCELED"]);
    for (const index of [0, 1, 3]) expect(reasons[index].cause).toBe(reasons[2]);
    expect(existsSync(path)).toBe(true);
  }));

test("a short read ends the chain, and the error of the next operation says so", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "ten bytes.");
    await using ring = new Ring();
    const file = await ring.open(path);
    const [read, removal] = ring.chain([() => ring.read(file, shared(4096), { position: 0 }), () => ring.unlink(path)]);
    expect(await read).toBe(10);
    const error = await uringError(() => removal);
    expect([error.code, error.message]).toEqual(["ECANCELED", expect.stringContaining("short")]);
    expect(existsSync(path)).toBe(true);
  }));

test("an abort ends its own operation and the later ones, but not the earlier ones", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "as it was");
    using never = sockets();
    await using ring = new Ring();
    const file = await ring.open(path, "r+");
    const controller = new AbortController();
    const reason = new Error("enough");
    const [write, poll, late] = ring.chain([
      () => ring.write(file, memoryOf("AS"), { position: 0 }),
      () => ring.poll(never.readFd, POLLIN, { signal: controller.signal }),
      () => ring.write(file, memoryOf("never"), { position: 0 }),
    ]);
    expect(await write).toBe(2);
    controller.abort(reason);
    expect(await thrown(() => poll)).toBe(reason);
    const error = await uringError(() => late);
    expect([error.code, error.cause]).toEqual(["ECANCELED", reason]);
    expect(readFileSync(path, "latin1")).toBe("AS it was");
  }));

test("an operation aborted before its turn rejects at once, and is cancelled when its turn comes", () =>
  leavingNothing(async () => {
    using gate = sockets();
    using never = sockets();
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    const buffer = await pool.acquire();
    const controller = new AbortController();
    const [poll, read] = ring.chain([
      () => ring.poll(gate.readFd, POLLIN),
      () => ring.readFixed(never.readFd, buffer, { signal: controller.signal }),
    ]);
    await ring.nop(); // by now the kernel has the chain
    controller.abort();
    expect((await thrown(() => read)).name).toBe("AbortError");
    buffer.release();
    expect(pool.available).toBe(0);
    writeSync(gate.writeFd, "x");
    expect(await poll).toBe(POLLIN);
    (await pool.acquire()).release(); // the read's completion frees the slot
    expect(ring.inFlight).toBe(0);
  }));

test("aborts end the operations of many chains whose turn has just come, also those that the kernel has not begun", () =>
  leavingNothing(async () => {
    // One enter begins some 20 operations whose turn has come, and a cancellation does not find the others.
    using ends = pipe();
    await using ring = new Ring({ entries: 1024 });
    for (let round = 0; round < times(20); round++) {
      const stop = new AbortController();
      const { signal } = stop;
      const chains = Array.from({ length: 100 }, () =>
        ring.chain([() => ring.nop(), () => ring.read(ends.readFd, shared(8), { signal }), () => ring.nop({ signal })]),
      );
      await Promise.all(chains.map(([first]) => first));
      stop.abort(new Error("enough"));
      for (const [, second, third] of chains)
        expect(await Promise.allSettled([second, third])).toMatchObject([
          { reason: { message: "enough" } },
          { reason: { message: "enough" } },
        ]);
      while (ring.inFlight > 0) await ring.nop();
    }
  }));

test("a chain that waits for room in the ring is submitted as one, without the end that an abort has cut off", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "as it was");
    using never = sockets();
    await using ring = new Ring({ entries: 4, cqEntries: 4 });
    const file = await ring.open(path, "r+");
    const occupied = new AbortController();
    const occupying = [1, 2, 3].map(() => thrown(() => ring.poll(never.readFd, POLLIN, { signal: occupied.signal })));
    const controller = new AbortController();
    const [first, second, third] = ring.chain([
      () => ring.write(file, memoryOf("AS"), { position: 0 }),
      () => ring.write(file, memoryOf("never"), { position: 0, signal: controller.signal }),
      () => ring.write(file, memoryOf("never"), { position: 0 }),
    ]);
    expect([ring.inFlight, ring.stats().waiting]).toEqual([6, 3]);
    const reason = new Error("not that one");
    controller.abort(reason);
    expect([ring.inFlight, ring.stats().waiting]).toEqual([4, 1]);
    expect(await thrown(() => second)).toBe(reason);
    expect((await uringError(() => third)).code).toBe("ECANCELED");
    occupied.abort();
    await Promise.all(occupying);
    expect(await first).toBe(2);
    await ring.nop();
    expect(readFileSync(path, "latin1")).toBe("AS it was");
    expect([ring.inFlight, ring.stats().waiting]).toEqual([0, 0]);
  }));

test("more chains and single operations than the ring has room for all run, and each chain keeps its order", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring({ entries: 8, cqEntries: 16 });
    const path = folder.write("file", "");
    const file = await ring.open(path, "r+");
    const chains = times(500);
    const results = Array.from({ length: chains }, (_, chain) => {
      const writes = Array.from(
        { length: 1 + (chain % 8) },
        (_, index) => () => ring.write(file, memoryOf(String(index)), { position: chain }),
      );
      return [...ring.chain(writes), ring.nop()];
    });
    await Promise.all(results.flat());
    const expected = Array.from({ length: chains }, (_, chain) => String(chain % 8)).join("");
    expect(readFileSync(path, "latin1")).toBe(expected);
    expect(ring.inFlight).toBe(0);
  }));

test("close() ends all chains, both those in the kernel and those that wait for room", () =>
  leavingNothing(async () => {
    using never = sockets();
    using pool = new BufferPool({ count: 4, size: 4096 });
    const ring = new Ring({ entries: 4, cqEntries: 4, pool });
    const chains = [1, 2, 3, 4].flatMap(() => {
      const buffer = pool.tryAcquire();
      if (buffer === undefined) throw new Error("no slot");
      const started = ring.chain([() => ring.timeout(1), () => ring.readFixed(never.readFd, buffer), () => ring.nop()]);
      buffer.release();
      return started;
    });
    const outcomes = Promise.allSettled(chains);
    await chains[0];
    await ring.close();
    const codes = (await outcomes).map((outcome) => (outcome.status === "rejected" ? outcome.reason.code : "done"));
    expect(codes).toEqual(["done", ...new Array<string>(11).fill("ECANCELED")]);
    expect(pool.available).toBe(4);
  }));

test("a chain with an invalid operation is rejected as a whole, and none of its operations start", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "as it was");
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool, entries: 8 });
    await using other = new Ring();
    const file = await ring.open(path, "r+");
    const buffer = await pool.acquire();
    const write = () => ring.write(file, memoryOf("never"), { position: 0 });
    const fixed = () => ring.writeFixed(file, buffer, { position: 0 });
    const link = (operations: unknown) => Reflect.apply(ring.chain, ring, [operations]);
    const cases: [operations: unknown, code: string, shown: string][] = [
      [7, "ERR_INVALID_ARG_TYPE", "7"],
      [[write, 8], "ERR_INVALID_ARG_TYPE", "operations[1]"],
      [[write, fixed, () => ring.fsync(-1)], "ERR_OUT_OF_RANGE", "-1"],
      [[fixed, () => ring.readFixed(file, buffer, { offset: 5000 })], "ERR_OUT_OF_RANGE", "5000"],
      [[fixed, () => ring.open("")], "ERR_INVALID_ARG_VALUE", "path"],
      [[write, () => undefined], "ERR_INVALID_ARG_VALUE", "operations[1] must start one request of this ring, not 0"],
      [
        [write, () => Promise.all([write(), write()])],
        "ERR_INVALID_ARG_VALUE",
        "operations[1] must start one request of this ring, not 2",
      ],
      [[write, () => other.nop()], "ERR_INVALID_ARG_VALUE", "not 0"],
      [[write, () => ring.chain([write])], "ERR_INVALID_ARG_VALUE", "within another"],
      [[write, () => file.chmod(0o600)], "ERR_INVALID_ARG_VALUE", "fchmod is not one request"],
      [[write, () => file.writeFile(["never"])], "ERR_INVALID_ARG_VALUE", "writeFile is not one request"],
      [[write, () => file.close()], "ERR_INVALID_ARG_VALUE", "close is not one request"],
      [new Array(9).fill(write), "ERR_OUT_OF_RANGE", "up to 8, the ring's entries"],
    ];
    for (const [operations, code, shown] of cases) {
      const error = await thrown(() => link(operations));
      expect([error.code, error.message]).toEqual([code, expect.stringContaining(shown)]);
      expect(ring.inFlight).toBe(0);
    }
    expect(await thrown(() => link([write, () => ring.nop({ signal: AbortSignal.abort() })]))).toMatchObject({
      name: "AbortError",
    });
    expect(link([])).toEqual([]);
    await ring.nop();
    expect(readFileSync(path, "latin1")).toBe("as it was");
    buffer.release();
    expect(pool.available).toBe(1);
    expect(await Promise.all(ring.chain([() => ring.nop(), fixedAfter]))).toEqual([undefined, undefined]);
    function fixedAfter() {
      return ring.nop();
    }
  }));

test("the ring's counts stay right if an abort cuts off a chain's end while the chain's file waits to close", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    using never = sockets();
    await using ring = new Ring({ entries: 2, cqEntries: 2 });
    const file = await ring.open(folder.write("file", ""), "r+");
    const occupied = new AbortController();
    const occupying = [1, 2].map(() => thrown(() => ring.poll(never.readFd, POLLIN, { signal: occupied.signal })));
    const controller = new AbortController();
    const chain = Promise.allSettled(
      ring.chain([() => ring.nop({ signal: controller.signal }), () => ring.fdatasync(file)]),
    );
    const closing = file.close();
    controller.abort();
    expect([ring.inFlight, ring.stats().waiting]).toEqual([3, 1]); // the request that waits is the file's close
    occupied.abort();
    await Promise.all([...occupying, chain, closing]);
    await ring.nop();
    expect([ring.inFlight, ring.stats().waiting]).toEqual([0, 0]);
  }));

test("a ring that is closed while a chain is built runs none of the chain, and frees its slots", () =>
  leavingNothing(async () => {
    using never = sockets();
    using pool = new BufferPool({ count: 1, size: 4096 });
    const ring = new Ring({ pool });
    const buffer = await pool.acquire();
    let closed: Promise<void> | undefined;
    const operations = [
      () => {
        const read = ring.readFixed(never.readFd, buffer);
        closed = ring.close();
        return read;
      },
    ];
    expect((await uringError(() => ring.chain(operations))).code).toBe("EBADF");
    await closed;
    buffer.release();
    expect(pool.available).toBe(1);
  }));

test("a method that takes several requests cannot be an operation of a chain", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  const file = await ring.open(folder.write("file", "content"), "r+");
  expect(await thrown(() => ring.chain([() => file.readFile(), () => file.truncate()]))).toMatchObject({
    code: "ERR_INVALID_ARG_VALUE",
  });
  expect(await thrown(() => ring.chain([() => ring.nop(), () => file.read(Buffer.alloc(10), 20)]))).toMatchObject({
    code: "ERR_OUT_OF_RANGE",
  });
  expect(await file.readFile("utf8")).toBe("content");
});

test("Promise.all() of a chain rejects with what failed, even if a RingFile's method rejects after the cancellations", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "content");
    await using ring = new Ring();
    await using file = await ring.open(path);
    const chains = {
      "the first": () => ring.chain([() => file.write("x"), () => ring.nop(), () => ring.fsync(file)]),
      "the second": () => ring.chain([() => ring.nop(), () => file.writev([Buffer.from("x")]), () => ring.nop()]),
      "within the caller's own functions": () =>
        ring.chain([
          async () => await file.write("x").then(({ bytesWritten }) => bytesWritten),
          () => ring.nop(),
          () => ring.nop(),
        ]),
    };
    for (const [which, link] of Object.entries(chains)) {
      const { code } = await uringError(() => Promise.all<unknown>(link()));
      expect([which, code]).toEqual([which, "EBADF"]);
    }
  }));

test("an operation that starts a second request after an await rejects, and the rest of the chain runs", () =>
  leavingNothing(async () => {
    await using ring = new Ring();
    const [first, second] = await Promise.allSettled(
      ring.chain([
        async () => {
          await ring.nop();
          await ring.timeout(1);
        },
        () => ring.nop(),
      ]),
    );
    expect(first).toMatchObject({ status: "rejected", reason: { code: "ERR_INVALID_ARG_VALUE" } });
    if (first.status === "rejected") expect(String(first.reason)).toContain("timeout");
    expect(second.status).toBe("fulfilled");
    // Callbacks on an operation's result may start other requests.
    for (const done of ring.chain([() => ring.nop(), () => ring.nop()])) await done.then(() => ring.nop());
    expect(ring.inFlight).toBe(0);
  }));

test("an abort that makes room lets the requests queued after it proceed", () =>
  leavingNothing(async () => {
    using ends = pipe();
    await using ring = new Ring({ entries: 4, cqEntries: 4 });
    const reads = Array.from({ length: 3 }, () => ring.read(ends.readFd, shared(1)));
    const stop = new AbortController();
    const chain = Promise.allSettled(
      ring.chain([() => ring.nop({ signal: stop.signal }), () => ring.nop(), () => ring.nop()]),
    );
    const behind = ring.nop();
    await Promise.resolve(); // the requests that there is room for are submitted now
    stop.abort(new Error("enough"));
    await behind;
    expect((await chain).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    writeSync(ends.writeFd, "abc");
    await Promise.all(reads);
  }));

test("chain() of a closed ring fails with EBADF", async () => {
  const ring = new Ring();
  await ring.close();
  expect((await uringError(() => ring.chain([() => ring.nop()]))).code).toBe("EBADF");
});

test("writeDurably() writes all of the bytes, and then syncs them to stable storage", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const path = folder.write("file", "as it was");
    await using file = await ring.open(path, "r+");
    const data = Buffer.from("-durable-");
    expect(await file.writeDurably(data, 1, 7, 2)).toEqual({ bytesWritten: 7, buffer: data });
    expect(readFileSync(path, "latin1")).toBe("asdurable");
    await file.writeDurably(Buffer.from("AS"));
    await file.writeDurably(Buffer.from("is"));
    expect(readFileSync(path, "latin1")).toBe("ASisrable");
  }));

test("writeDurably() rejects with the write's error, or else with the sync's", () =>
  leavingNothing(async () => {
    await using ring = new Ring();
    await using full = await ring.open("/dev/full", "w");
    expect(await uringError(() => full.writeDurably(Buffer.from("x")))).toMatchObject({
      code: "ENOSPC",
      syscall: "write",
    });
    using ends = pipe();
    await using fifo = await ring.open(`/proc/self/fd/${ends.writeFd}`, "w");
    expect(await uringError(() => fifo.writeDurably(Buffer.from("x")))).toMatchObject({
      code: "EINVAL",
      syscall: "fdatasync",
    });
    await using closed = await ring.open("/dev/full", "w");
    await closed.close();
    expect((await uringError(() => closed.writeDurably(Buffer.from("x")))).code).toBe("EBADF");
  }));

test("an array that grows while its chain starts is taken as it was", () =>
  leavingNothing(async () => {
    await using ring = new Ring({ entries: 2 });
    const operations = [
      () => ring.nop(),
      () => {
        operations.push(() => ring.nop());
        return ring.nop();
      },
    ];
    expect(await Promise.all(ring.chain(operations))).toEqual([undefined, undefined]);
    expect(ring.inFlight).toBe(0);
  }));
