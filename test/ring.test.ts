import { expect, jest, test } from "bun:test";
import { closeSync, constants as fsConstants, readFileSync, writeSync } from "node:fs";
import { mock } from "node:test";
import { pathToFileURL } from "node:url";
import { BufferPool, constants, RawRing, Ring, type RingFile } from "bun-uring";
import { bufferSource } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { fc } from "./support/properties.ts";
import { fdsOf, leavingNothing, ringFds } from "./support/resources.ts";

const { IORING_SETUP_IOPOLL } = constants;

test("any range of a file can be read into any range of a slot, and the slot's other bytes do not change", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 50_000);
  using pool = new BufferPool({ count: 4, size: 10_000 });
  await using ring = new Ring({ pool });
  const file = await ring.open(path);
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 55_000 }),
      fc.nat({ max: 10_000 }),
      fc.nat({ max: 10_000 }),
      fc.boolean(),
      async (position, offset, wanted, big) => {
        using buffer = await pool.acquire();
        buffer.bytes.fill(0xee);
        const length = Math.min(wanted, 10_000 - offset);
        const bytesRead = await ring.readFixed(file, buffer, {
          position: big ? BigInt(position) : position,
          offset,
          length,
        });
        const expected = content.subarray(position, position + length);
        expect(bytesRead).toBe(expected.length);
        expect(Buffer.compare(buffer.bytes.subarray(offset, offset + bytesRead), expected)).toBe(0);
        expect(buffer.bytes.subarray(0, offset).every((byte) => byte === 0xee)).toBe(true);
        expect(buffer.bytes.subarray(offset + bytesRead).every((byte) => byte === 0xee)).toBe(true);
      },
    ),
  );
});

test("node:fs reads what the ring has written", async () => {
  using folder = new Folder();
  using pool = new BufferPool({ count: 8, size: 4096 });
  await using ring = new Ring({ pool });
  const path = `${folder.path}/new file`;
  const file = await ring.open(pathToFileURL(path), "w+", 0o600);
  await Promise.all(
    Array.from({ length: 100 }, async (_, page) => {
      using buffer = await pool.acquire();
      buffer.bytes.fill(page);
      expect(await ring.writeFixed(file, buffer, { position: page * 4096 })).toBe(4096);
    }),
  );
  const written = readFileSync(path);
  expect(written.length).toBe(409_600);
  for (let page = 0; page < 100; page++)
    expect(written.subarray(page * 4096, (page + 1) * 4096).every((byte) => byte === page)).toBe(true);
});

test("without a position, a transfer uses the file's own and advances it", async () => {
  using folder = new Folder();
  const path = folder.write("file", "abcdef");
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool });
  const file = await ring.open(path);
  using buffer = await pool.acquire();
  for (const expected of ["abcd", "ef", ""]) {
    const bytesRead = await ring.readFixed(file, buffer, { length: 4 });
    expect(Buffer.from(buffer.bytes.subarray(0, bytesRead)).toString()).toBe(expected);
  }
});

test("more operations than the ring has entries all run, started in one tick or in many", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 1024 * 16);
  using pool = new BufferPool({ count: 1024, size: 4096 });
  await using ring = new Ring({ pool, entries: 8 });
  const file = await ring.open(path);
  let wrong = 0;
  await Promise.all(
    Array.from({ length: 1024 }, async (_, part) => {
      using buffer = await pool.acquire();
      const bytesRead = await ring.readFixed(file, buffer, { position: part * 16, length: 16 });
      if (
        bytesRead !== 16 ||
        Buffer.compare(buffer.bytes.subarray(0, 16), content.subarray(part * 16, (part + 1) * 16)) !== 0
      )
        wrong++;
    }),
  );
  expect([wrong, ring.inFlight, pool.available]).toEqual([0, 0, 1024]);
});

test("200 completions that arrive at once all settle, although one io_uring_enter runs only 20 of them", async () => {
  using ends = pipe();
  using pool = new BufferPool({ count: 200, size: 16 });
  await using ring = new Ring({ pool });
  const reads = Array.from({ length: 200 }, async () => {
    using buffer = await pool.acquire();
    return ring.readFixed(ends.readFd, buffer, { length: 1 });
  });
  await new Promise(setImmediate);
  expect(ring.inFlight).toBe(200);
  writeSync(ends.writeFd, Buffer.alloc(200));
  expect((await Promise.all(reads)).every((bytesRead) => bytesRead === 1)).toBe(true);
});

test("open fails with the errno of open(2) and takes the flags of node:fs", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  const path = `${folder.path}/file`;
  const error = await uringError(() => ring.open(path));
  expect([error.code, error.errno, error.syscall]).toEqual(["ENOENT", -2, "openat"]);
  expect(error.message).toContain(path);
  await (await ring.open(path, "wx", 0o640)).close();
  expect((await uringError(() => ring.open(path, "wx"))).code).toBe("EEXIST");
  expect((await uringError(() => ring.open(path, fsConstants.O_DIRECTORY))).code).toBe("ENOTDIR");
  await using file = await ring.open(path);
  expect(readFileSync(`/proc/self/fdinfo/${file.fd}`, "utf8")).toMatch(/flags:\s+02/); // O_CLOEXEC
});

test("a closed file is refused, its descriptor is closed, and closing it again gives the same outcome", async () => {
  using folder = new Folder();
  const path = folder.write("file", "x");
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool });
  const file = await ring.open(path);
  using buffer = await pool.acquire();
  expect(fdsOf(path)).toBe(1);
  await Promise.all([file.close(), file.close()]);
  expect([file.fd, file.closed, fdsOf(path)]).toEqual([-1, true, 0]);
  expect((await uringError(() => ring.readFixed(file, buffer))).code).toBe("EBADF");
});

test("a file belongs to its ring: another ring refuses it", async () => {
  using folder = new Folder();
  const path = folder.write("file", "x");
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using one = new Ring({ pool });
  await using two = new Ring({ pool });
  const file = await one.open(path);
  using buffer = await pool.acquire();
  expect((await uringError(() => two.readFixed(file, buffer))).code).toBe("EXDEV");
});

test("close() cancels what is in flight, closes the ring's files, gives every caller the same outcome, and leaves nothing", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    using ends = pipe();
    const path = folder.write("file", "x");
    using pool = new BufferPool({ count: 300, size: 16 });
    const ring = new Ring({ pool, entries: 8 });
    const files: RingFile[] = [];
    for (let opened = 0; opened < 100; opened++) files.push(await ring.open(path));
    const buffers = Array.from({ length: 300 }, () => pool.tryAcquire());
    const outcomes = Promise.allSettled(
      buffers.map((buffer) => (buffer === undefined ? Promise.resolve(0) : ring.readFixed(ends.readFd, buffer))),
    );
    const opening = Promise.allSettled([ring.open(path)]);
    const closing = [ring.close(), ring.close(), ring[Symbol.asyncDispose]()];
    expect(ring.closed).toBe(true);
    const refused = await uringError(() => ring.open(path));
    expect(refused.code).toBe("EBADF");
    await Promise.all(closing);
    for (const outcome of await outcomes)
      expect(outcome.status === "rejected" && outcome.reason.code).toBe("ECANCELED");
    await opening;
    expect([fdsOf(path), ring.inFlight, files.every((file) => file.closed)]).toEqual([0, 0, true]);
    writeSync(ends.writeFd, Buffer.alloc(4096, 1));
    for (const buffer of buffers) {
      expect(buffer?.bytes.every((byte) => byte === 0)).toBe(true);
      buffer?.release();
    }
  }));

test("an abort rejects at once with its reason, frees the slot when the kernel is done with it, and affects no other operation", () =>
  leavingNothing(async () => {
    using ends = pipe();
    using other = pipe();
    using pool = new BufferPool({ count: 1, size: 16 });
    using bystanders = new BufferPool({ count: 1, size: 16 });
    await using ring = new Ring({ pool: [pool, bystanders] });
    using bystander = await bystanders.acquire();
    const standing = ring.readFixed(other.readFd, bystander, { length: 1 });
    for (let round = 0; round < 50; round++) {
      const buffer = await pool.acquire();
      const controller = new AbortController();
      const reason = new Error(`round ${round}`);
      const read = ring.readFixed(ends.readFd, buffer, { length: 1, signal: controller.signal });
      if (round % 2 === 0) await new Promise(setImmediate);
      buffer.release();
      controller.abort(reason);
      expect(await thrown(() => read)).toBe(reason);
      using again = await pool.acquire(); // granted by the completion of the cancelled read
      const next = ring.readFixed(ends.readFd, again, { length: 1 });
      writeSync(ends.writeFd, "x");
      expect(await next).toBe(1);
    }
    writeSync(other.writeFd, "x");
    expect(await standing).toBe(1);
    using buffer = await pool.acquire();
    const aborted = await thrown(() =>
      ring.readFixed(ends.readFd, buffer, { signal: AbortSignal.abort(new Error("before")) }),
    );
    expect(aborted.message).toBe("before");
  }));

test("an aborted operation that waits for room in the ring is dropped at once", async () => {
  using ends = pipe();
  using pool = new BufferPool({ count: 64, size: 16 });
  await using ring = new Ring({ pool, entries: 1 });
  const buffers = Array.from({ length: 64 }, () => pool.tryAcquire());
  const controller = new AbortController();
  const reads = buffers.map((buffer) =>
    buffer === undefined ? 0 : ring.readFixed(ends.readFd, buffer, { length: 1, signal: controller.signal }),
  );
  for (const buffer of buffers) buffer?.release();
  controller.abort(new Error("all"));
  for (const outcome of await Promise.allSettled(reads))
    expect(outcome.status === "rejected" && outcome.reason.message).toBe("all");
  // Every slot came back.
  for (const buffer of await Promise.all(Array.from({ length: 64 }, () => pool.acquire()))) buffer.release();
});

test("a bad argument rejects before anything reaches the kernel, the error names the value, and the ring stays usable", async () => {
  using folder = new Folder();
  const path = folder.write("file", "x");
  using pool = new BufferPool({ count: 2, size: 4096 });
  await using ring = new Ring({ pool });
  const file = await ring.open(path);
  const buffer = await pool.acquire();
  const released = await pool.acquire();
  released.release();
  const read =
    (...values: unknown[]) =>
    () =>
      Reflect.apply(ring.readFixed, ring, values);
  const open =
    (...values: unknown[]) =>
    () =>
      Reflect.apply(ring.open, ring, values);
  const make = (options: unknown) => () => Reflect.construct(Ring, [options]);
  const cases: [() => unknown, string, string][] = [
    [read(-1, buffer), "ERR_OUT_OF_RANGE", "-1"],
    [read(0.5, buffer), "ERR_OUT_OF_RANGE", "0.5"],
    [read("file", buffer), "ERR_INVALID_ARG_TYPE", '"file"'],
    [read(file, new Uint8Array(4096)), "ERR_INVALID_ARG_TYPE", "Uint8Array"],
    [read(file, undefined), "ERR_INVALID_ARG_TYPE", "undefined"],
    [read(file, released), "ESTALE", "slot"],
    [read(file, buffer, { position: -1 }), "ERR_OUT_OF_RANGE", "-1"],
    [read(file, buffer, { position: -1n }), "ERR_OUT_OF_RANGE", "-1n"],
    [read(file, buffer, { position: 2 ** 60 }), "ERR_OUT_OF_RANGE", "1152921504606847000"],
    [read(file, buffer, { position: NaN }), "ERR_OUT_OF_RANGE", "NaN"],
    [read(file, buffer, { position: "0" }), "ERR_INVALID_ARG_TYPE", '"0"'],
    [read(file, buffer, { position: null }), "ERR_INVALID_ARG_TYPE", "null"],
    [read(file, buffer, { offset: 4097 }), "ERR_OUT_OF_RANGE", "4097"],
    [read(file, buffer, { offset: 1, length: 4096 }), "ERR_OUT_OF_RANGE", "4096"],
    [read(file, buffer, { length: -1 }), "ERR_OUT_OF_RANGE", "-1"],
    [read(file, buffer, { lenght: 1 }), "ERR_INVALID_ARG_VALUE", "lenght"],
    [read(file, buffer, { signal: {} }), "ERR_INVALID_ARG_TYPE", "Object"],
    [read(file, buffer, null), "ERR_INVALID_ARG_TYPE", "null"],
    [open(7), "ERR_INVALID_ARG_TYPE", "7"],
    [open(""), "ERR_INVALID_ARG_VALUE", '""'],
    [open("a\0b"), "ERR_INVALID_ARG_VALUE", "a\\u0000b"],
    [open(path, "q"), "ERR_INVALID_ARG_VALUE", '"q"'],
    [open(path, "toString"), "ERR_INVALID_ARG_VALUE", '"toString"'],
    [open(path, -1), "ERR_OUT_OF_RANGE", "-1"],
    [open(path, "r", 0o10000), "ERR_OUT_OF_RANGE", "4096"],
    [make({ pool: {} }), "ERR_INVALID_ARG_TYPE", "Object"],
    [make({ pool: [pool, pool] }), "ERR_INVALID_ARG_VALUE", "twice"],
    [make({ entries: 0 }), "ERR_OUT_OF_RANGE", "0"],
    [make({ pools: pool }), "ERR_INVALID_ARG_VALUE", "pools"],
    [make({ flags: IORING_SETUP_IOPOLL }), "ERR_OUT_OF_RANGE", "IORING_SETUP_IOPOLL"],
  ];
  await leavingNothing(async () => {
    for (const [call, code, value] of cases) {
      const error = await thrown(call);
      expect([error.code, error.message]).toEqual([code, expect.stringContaining(value)]);
    }
  });
  expect(ring.inFlight).toBe(0);
  expect(await ring.readFixed(file, buffer, { position: 0 })).toBe(1);
  buffer.release();
  expect(pool.available).toBe(2);
});

test("promise-returning methods never throw: they reject", async () => {
  const ring = new Ring();
  await ring.close();
  const outcomes = [
    Reflect.apply(ring.readFixed, ring, []),
    Reflect.apply(ring.writeFixed, ring, [null]),
    Reflect.apply(ring.open, ring, []),
  ];
  for (const outcome of await Promise.allSettled(outcomes)) expect(outcome.status).toBe("rejected");
});

test("a ring that is full of waiting reads can still cancel them and close", () =>
  leavingNothing(async () => {
    using ends = pipe();
    using pool = new BufferPool({ count: 40, size: 16 });
    const ring = new Ring({ pool, entries: 8, cqEntries: 16 });
    const controller = new AbortController();
    const read = (signal?: AbortSignal) => {
      const buffer = pool.tryAcquire();
      if (buffer === undefined) throw new Error("no slot");
      const promise = ring.readFixed(ends.readFd, buffer, { length: 1, signal });
      buffer.release();
      return promise;
    };
    const first = Promise.allSettled(Array.from({ length: 20 }, () => read(controller.signal)));
    await new Promise(setImmediate);
    expect(ring.inFlight).toBe(20);
    controller.abort();
    for (const outcome of await first) expect(outcome.status).toBe("rejected");
    const all = await Promise.all(Array.from({ length: 40 }, () => pool.acquire())); // every slot came back
    for (const buffer of all) buffer.release();
    const second = Promise.allSettled(Array.from({ length: 40 }, () => read()));
    await new Promise(setImmediate);
    await ring.close();
    for (const outcome of await second) expect(outcome.status === "rejected" && outcome.reason.code).toBe("ECANCELED");
    expect(pool.available).toBe(40);
  }));

test("if closing a file fails, ring.close() rejects after it has closed everything else", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "x");
    using pool = new BufferPool({ count: 1, size: 4096 });
    const ring = new Ring({ pool });
    const broken = await ring.open(path);
    await ring.open(path);
    closeSync(broken.fd);
    expect((await uringError(() => ring.close())).code).toBe("EBADF");
    expect(fdsOf(path)).toBe(0);
  }));

test("a constructor that throws leaves no ring behind", () =>
  leavingNothing(async () => {
    const pool = new BufferPool({ count: 1, size: 4096 });
    pool.close();
    const rings = ringFds();
    expect((await uringError(() => new Ring({ pool }))).code).toBe("EBADF");
    for (let attempt = 0; attempt < 3; attempt++) expect(() => new Ring({ pool })).toThrow("the pool is closed");
    expect(ringFds()).toBe(rings);
  }));

const flood = times(100_000);

test(`${flood} operations started at once on a ring of 8 entries all run, and timers fire meanwhile`, async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 4096);
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool, entries: 8, cqEntries: 16 });
  const file = await ring.open(path);
  using buffer = await pool.acquire();
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const reads = Array.from({ length: flood }, (_, index) =>
    ring.readFixed(file, buffer, { position: index % 4096, offset: index % 4096, length: 1 }),
  );
  expect(ring.inFlight).toBe(flood);
  expect((await Promise.all(reads)).every((bytesRead) => bytesRead === 1)).toBe(true);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(1);
  expect([Buffer.compare(buffer.bytes, content), ring.inFlight]).toEqual([0, 0]);
});

test("a transfer of zero bytes resolves to 0", async () => {
  using folder = new Folder();
  const path = folder.write("file", "x");
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool });
  using buffer = await pool.acquire();
  expect(await ring.readFixed(await ring.open(path), buffer, { position: 0, length: 0 })).toBe(0);
  expect(await ring.readFixed(await ring.open(path), buffer, { position: 0, offset: 4096 })).toBe(0);
});

test("without a free descriptor, calls that need one fail with EMFILE, operations in flight complete, and no acquire hangs", async () => {
  const program = new URL("./programs/emfile.ts", import.meta.url).pathname;
  const child = Bun.spawn(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, program], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  expect([child.exitCode, stderr]).toEqual([0, ""]);
  expect(stdout.trim().split("\n")).toEqual([
    "open: EMFILE openat",
    "hashFile: EMFILE openat",
    "copyFile: EMFILE open",
    "new RawRing: EMFILE io_uring_setup",
    "new Ring: EMFILE io_uring_setup",
    "acquire: EMFILE eventfd",
    // attach() needs a descriptor only if the pool has a registration to clone from.
    bufferSource.one === "cloned" ? "attach: EMFILE attach" : "attach: no error",
    "create: EMFILE io_uring_setup",
    "read: 1",
    "waiting: 1",
    "free: 1",
  ]);
});

test("opening a FIFO waits for the other end, as open(2) does", async () => {
  using folder = new Folder();
  const path = `${folder.path}/fifo`;
  expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
  using pool = new BufferPool({ count: 1, size: 16 });
  await using ring = new Ring({ pool });
  expect((await uringError(() => ring.open(path, fsConstants.O_WRONLY | fsConstants.O_NONBLOCK))).code).toBe("ENXIO");
  const order: string[] = [];
  const reading = ring.open(path).then((file) => {
    order.push("the reader");
    return file;
  });
  await ring.open("/dev/null"); // one round trip through the ring, during which the reader's open keeps waiting
  order.push("before the writer");
  const writer = await ring.open(path, fsConstants.O_WRONLY);
  const reader = await reading;
  expect(order).toEqual(["before the writer", "the reader"]);
  using buffer = await pool.acquire();
  buffer.bytes.set(Buffer.from("through"));
  expect(await ring.writeFixed(writer, buffer, { length: 7 })).toBe(7);
  buffer.bytes.fill(0);
  expect(await ring.readFixed(reader, buffer)).toBe(7);
  expect(Buffer.from(buffer.bytes.subarray(0, 7)).toString()).toBe("through");
});

test("a ring can close while the kernel's workers are all busy with another ring's requests", async () => {
  using folder = new Folder();
  const path = `${folder.path}/fifo`;
  expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
  const busy = new Ring();
  const opens = Promise.allSettled(Array.from({ length: 64 }, () => busy.open(path)));
  const raw = new RawRing({ entries: 1 });
  raw.close();
  const ring = new Ring();
  await ring.close();
  await busy.close();
  for (const outcome of await opens) expect(outcome.status).toBe("rejected");
});

test("an endless sequence of reads that complete at once does not keep timers from firing", async () => {
  using folder = new Folder();
  const { path } = folder.random("file", 4096);
  using pool = new BufferPool({ count: 8, size: 4096 });
  await using ring = new Ring({ pool });
  const file = await ring.open(path);
  let ended = false;
  setTimeout(() => {
    ended = true;
  }, 5);
  const lane = async () => {
    using buffer = await pool.acquire();
    while (!ended) expect(await ring.readFixed(file, buffer, { position: 0 })).toBe(4096);
  };
  await Promise.all(Array.from({ length: 8 }, lane));
});

/** Does `count` reads in sequence, and calls `handle` after each. Returns the event loop turn that each settled in. */
async function turnsOfReads(count: number, handle: () => void): Promise<number[]> {
  using folder = new Folder();
  const { path } = folder.random("file", 4096);
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool });
  const file = await ring.open(path);
  using buffer = await pool.acquire();
  const turns: number[] = [];
  let turn = 0;
  let immediate = setImmediate(function next() {
    turn++;
    immediate = setImmediate(next);
  });
  try {
    for (let read = 0; read < count; read++) {
      expect(await ring.readFixed(file, buffer, { position: 0 })).toBe(4096);
      turns.push(turn);
      handle();
    }
  } finally {
    clearImmediate(immediate);
  }
  return turns;
}

test("a ring yields to the event loop after half a millisecond, however few reads it has settled", async () => {
  const turns = await turnsOfReads(20, () => Bun.sleepSync(1));
  // The ring settles two such reads before it yields, and two more if the kernel wakes it again in the same turn.
  for (const [read, turn] of turns.entries())
    expect(turns[read + 4] ?? Infinity, `turns: ${turns}`).toBeGreaterThan(turn);
});

test("a ring yields to the event loop even if the clock stands still", async () => {
  jest.useFakeTimers();
  try {
    // The ring yields after every 1024 completions, except that it may settle the first two such shares in one turn.
    const turns = await turnsOfReads(5000, () => undefined);
    expect(turns.at(-1)).toBeGreaterThan(1);
  } finally {
    jest.useRealTimers();
  }
});

test("a ring keeps working when a test has replaced the global timers", async () => {
  mock.timers.enable();
  try {
    const { path } = import.meta;
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    await using file = await ring.open(path);
    using buffer = await pool.acquire();
    for (let read = 0; read < 3000; read++) expect(await ring.readFixed(file, buffer, { position: 0 })).toBe(4096);
  } finally {
    mock.timers.reset();
  }
});

test("a ring keeps listening while the program handles a completion, however long that takes", async () => {
  using ends = pipe();
  using pool = new BufferPool({ count: 1, size: 1 });
  await using ring = new Ring({ pool });
  using buffer = await pool.acquire();
  using opened = jest.spyOn(Blob.prototype, "stream"); // called each time the ring starts listening to its eventfd
  for (let read = 0; read < 5; read++) {
    const reading = ring.readFixed(ends.readFd, buffer);
    await new Promise(setImmediate);
    writeSync(ends.writeFd, "1");
    expect(await reading).toBe(1);
    Bun.sleepSync(1);
  }
  expect(opened).toHaveBeenCalledTimes(1);
});

test("open() takes its flags, mode, direct and signal by position or in one object, and nothing after that", async () => {
  using folder = new Folder();
  const path = `${folder.path}/new`;
  await using ring = new Ring();
  await using made = await ring.open(path, { flags: "wx+", mode: 0o640 });
  await made.writeFile("content");
  expect((await made.stat()).mode & 0o777 & ~0o640).toBe(0);
  await using file = await ring.open(path, {});
  expect(await file.readFile("utf8")).toBe("content");
  const open = (...given: unknown[]) => thrown(() => Reflect.apply(ring.open, ring, [path, ...given]));
  expect((await open({ flags: "r" }, 0o600)).message).toContain("nothing may follow");
  expect((await open({ flags: "r" }, undefined, { signal: AbortSignal.abort() })).message).toContain(
    "nothing may follow",
  );
  expect((await open({ flag: "r" })).message).toContain("flag");
  expect((await open("r", 0o600, { flags: "r" })).message).toContain("flags");
  for (const wrong of [[], new Date(), null, true])
    expect(await open(wrong)).toMatchObject({ code: "ERR_INVALID_ARG_TYPE" });
  expect(await open({ signal: AbortSignal.abort() })).toMatchObject({ name: "AbortError" });
});
