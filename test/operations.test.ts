import { describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { BufferPool, Ring } from "bun-uring";
import { kernel } from "../lib/uring/kernel.ts";
import { IORING_OP_FTRUNCATE, IORING_OP_READV_FIXED } from "../lib/uring/uapi.ts";
import { needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";

/** Calls `body` with a ring, and a file of random bytes in a folder. Checks that nothing is left open or in flight. */
async function withFile(
  body: (ring: Ring, path: string, content: Buffer, folder: Folder) => Promise<void>,
  sizeBytes = 10_000,
): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", sizeBytes);
    await using ring = new Ring();
    await body(ring, path, content, folder);
    expect(ring.inFlight).toBe(0);
  });
}

async function codeOf(call: () => unknown): Promise<string> {
  return (await uringError(call)).code;
}

/** Until disposed, makes the library believe that the kernel lacks an opcode. */
function lacking(opcode: number): Disposable {
  const { opcodes } = kernel();
  if (!(opcodes instanceof Set)) throw new Error("not a Set");
  const known = opcodes.delete(opcode);
  return {
    [Symbol.dispose]() {
      if (known) opcodes.add(opcode);
    },
  };
}

describe("read and write", () => {
  test("move bytes between a file and any shared memory, at a given position or the file's own", () =>
    withFile(async (ring, path, content) => {
      await using file = await ring.open(path, "r+");
      const bytes = shared(4096);
      expect(await ring.read(file, bytes.subarray(1, 1000), { position: 77n })).toBe(999);
      expect(Buffer.compare(bytes.subarray(1, 1000), content.subarray(77, 1076))).toBe(0);
      expect(await ring.read(file, bytes)).toBe(4096);
      expect(await ring.read(file, bytes)).toBe(4096);
      expect(Buffer.compare(bytes, content.subarray(4096, 8192))).toBe(0);
      expect([
        await ring.read(file, bytes),
        await ring.read(file, bytes),
        await ring.read(file, bytes.subarray(0, 0)),
      ]).toEqual([10_000 - 8192, 0, 0]);
      bytes.fill(7);
      expect(await ring.write(file, bytes.subarray(0, 100), { position: 50 })).toBe(100);
      expect(await ring.write(file, bytes.subarray(0, 5))).toBe(5);
      content.fill(7, 50, 150);
      expect(Buffer.compare(readFileSync(path), Buffer.concat([content, Buffer.alloc(5, 7)]))).toBe(0);
    }));

  test("readv and writev move several pieces in order", () =>
    withFile(async (ring, path, content) => {
      await using file = await ring.open(path, "r+");
      const parts = [shared(100), shared(1), shared(3000)];
      expect(await ring.readv(file, parts, { position: 10 })).toBe(3101);
      expect(Buffer.compare(Buffer.concat(parts), content.subarray(10, 3111))).toBe(0);
      expect(await ring.writev(file, parts.toReversed(), { position: 5000 })).toBe(3101);
      expect(Buffer.compare(readFileSync(path).subarray(5000, 8101), Buffer.concat(parts.toReversed()))).toBe(0);
    }));

  for (const way of ["on this kernel", "on a kernel without READV_FIXED"]) {
    test(`readvFixed and writevFixed move parts of slots in order, ${way}`, () =>
      withFile(async (_ring, path, content) => {
        using _lacking = way === "on this kernel" ? undefined : lacking(IORING_OP_READV_FIXED);
        using pool = new BufferPool({ count: 3, size: 4096 });
        using other = new BufferPool({ count: 1, size: 4096 });
        await using ring = new Ring({ pool: [pool, other] });
        await using file = await ring.open(path, "r+");
        using first = await pool.acquire();
        using second = await pool.acquire();
        using third = await other.acquire();
        expect(
          await ring.readvFixed(file, [first, { buffer: second, offset: 96, length: 1000 }], { position: 3 }),
        ).toBe(5096);
        expect(
          Buffer.compare(Buffer.concat([first.bytes, second.bytes.subarray(96, 1096)]), content.subarray(3, 5099)),
        ).toBe(0);
        // Slots of two pools are in two registered buffers.
        expect(await ring.readvFixed(file, [third, { buffer: first, length: 10 }], { position: 1 })).toBe(4106);
        expect(
          Buffer.compare(Buffer.concat([third.bytes, first.bytes.subarray(0, 10)]), content.subarray(1, 4107)),
        ).toBe(0);
        expect(
          await ring.writevFixed(
            file,
            [
              { buffer: second, offset: 96, length: 1000 },
              { buffer: third, length: 1 },
            ],
            { position: 0 },
          ),
        ).toBe(1001);
        const expected = Buffer.concat([second.bytes.subarray(96, 1096), third.bytes.subarray(0, 1)]);
        expect(Buffer.compare(readFileSync(path).subarray(0, 1001), expected)).toBe(0);
        expect([pool.available, other.available]).toEqual([1, 0]);
      }));
  }

  test("slots released during a vectored request return to the pool when the request completes", () =>
    leavingNothing(async () => {
      using ends = pipe();
      using pool = new BufferPool({ count: 2, size: 4096 });
      await using ring = new Ring({ pool });
      const buffers = [await pool.acquire(), await pool.acquire()];
      const read = ring.readvFixed(ends.readFd, buffers);
      for (const buffer of buffers) buffer.release();
      expect(pool.available).toBe(0);
      writeSync(ends.writeFd, "x");
      expect([await read, pool.available]).toEqual([1, 2]);
    }));

  test("a transfer larger than the kernel's limit is split into several requests", async () => {
    await using ring = new Ring();
    const fd = openSync("/dev/null", "w"); // accepts writes of any size
    const length = 0x7ffff000 + 4096;
    expect(await ring.write(fd, shared(length), { position: 0 })).toBe(length);
    closeSync(fd);
  });
});

test("parts of slots may be empty, and may add up to more than the kernel moves in one request", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 100);
  using pool = new BufferPool({ count: 1, size: 4 * 2 ** 20, hugePages: false });
  await using ring = new Ring({ pool });
  using buffer = await pool.acquire();
  await using file = await ring.open(path);
  expect(
    await ring.readvFixed(
      file,
      [
        { buffer, length: 0 },
        { buffer, offset: buffer.bytes.length },
        { buffer, length: 50 },
      ],
      { position: 10 },
    ),
  ).toBe(50);
  expect(Buffer.compare(buffer.bytes.subarray(0, 50), content.subarray(10, 60))).toBe(0);
  expect(await ring.readvFixed(file, [{ buffer, length: 0 }])).toBe(0);
  await using sink = await ring.open("/dev/null", "w");
  expect(await ring.writevFixed(sink, new Array(1024).fill(buffer))).toBe(0x7ffff000);
});

test("a file closed with operations in flight closes after them, and no other file is ever touched", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  let touched = 0;
  for (let round = 0; round < times(100); round++) {
    const names = Array.from({ length: 16 }, (_, index) => ({
      mine: folder.write(`mine-${index}`, "1234567890"),
      other: folder.write(`other-${index}`, "1234567890"),
    }));
    const files = await Promise.all(names.map(({ mine }) => ring.open(mine, "r+")));
    // The kernel looks up the descriptors of these requests in its workers, some time after the submission.
    const operations = files.flatMap((file) => [
      ring.fallocate(file, 20),
      ring.statx(file),
      ring.fdatasync(file),
      ring.fsync(file),
    ]);
    const closed = files.map((file) => file.close());
    for (const file of files) expect(await codeOf(() => ring.fsync(file))).toBe("EBADF");
    await Promise.resolve();
    const others = names.map(({ other }) => openSync(other, "r+"));
    await Promise.all([...operations, ...closed]);
    for (const [index, { mine, other }] of names.entries()) {
      expect(statSync(mine).size).toBe(20);
      if (statSync(other).size !== 10) touched++;
      closeSync(others[index] ?? -1);
    }
  }
  expect(touched).toBe(0);
});

test("operations that ring.close() cancels reject with ECANCELED, wherever they waited", async () => {
  using ends = pipe();
  using other = pipe();
  const ring = new Ring();
  const waiting = [
    ring.splice(ends.readFd, other.writeFd, 1),
    ring.poll(ends.readFd, 1),
    ring.timeout(1e9),
    ring.read(ends.readFd, shared(1)),
  ];
  const codes = waiting.map((promise) => codeOf(() => promise));
  await Bun.sleep(20); // gives the splice time to start waiting in the kernel: nothing reports when it does
  await ring.close();
  expect(await Promise.all(codes)).toEqual(["ECANCELED", "ECANCELED", "ECANCELED", "ECANCELED"]);
});

test("fsync and fdatasync resolve for a regular file and reject with the kernel's EINVAL for a pipe", () =>
  withFile(async (ring, path) => {
    await using file = await ring.open(path, "r+");
    expect([await ring.fsync(file), await ring.fdatasync(file)]).toEqual([undefined, undefined]);
    using ends = pipe();
    const error = await uringError(() => ring.fsync(ends.readFd));
    expect([error.code, error.syscall]).toEqual(["EINVAL", "fsync"]);
  }));

test("statx returns what node:fs's bigint stat returns, for a path, a file, a descriptor and a link", () =>
  withFile(async (ring, path, _content, folder) => {
    const link = `${folder.path}/link`;
    symlinkSync(path, link);
    await using file = await ring.open(path);
    const expected = statSync(path, { bigint: true });
    for (const what of [path, new URL(`file://${path}`), file, file.fd, link]) {
      const found = await ring.statx(what);
      expect({
        ino: found.ino,
        size: found.size,
        blocks: found.blocks,
        mode: BigInt(found.mode),
        nlink: BigInt(found.nlink),
        uid: BigInt(found.uid),
        gid: BigInt(found.gid),
        blksize: BigInt(found.blksize),
        mtimeNs: found.mtimeNs,
        ctimeNs: found.ctimeNs,
      }).toEqual({
        ino: expected.ino,
        size: expected.size,
        blocks: expected.blocks,
        mode: expected.mode,
        nlink: expected.nlink,
        uid: expected.uid,
        gid: expected.gid,
        blksize: expected.blksize,
        mtimeNs: expected.mtimeNs,
        ctimeNs: expected.ctimeNs,
      });
    }
    expect((await ring.statx(link, { flags: 0x100 })).ino).toBe(lstatSync(link, { bigint: true }).ino);
    expect((await ring.statx(path, { mask: 0x200 })).size).toBe(10_000n);
    const error = await uringError(() => ring.statx(`${path}-not`));
    expect([error.code, error.path, error.message]).toEqual([
      "ENOENT",
      `${path}-not`,
      expect.stringContaining(`${path}-not`),
    ]);
  }));

needs("FTRUNCATE (Linux 6.9)")("ftruncate shortens and extends a file", () =>
  withFile(async (ring, path, content) => {
    await using file = await ring.open(path, "r+");
    await ring.ftruncate(file, 100);
    expect(Buffer.compare(readFileSync(path), content.subarray(0, 100))).toBe(0);
    await ring.ftruncate(file, 200n);
    expect(Buffer.compare(readFileSync(path), Buffer.concat([content.subarray(0, 100), Buffer.alloc(100)]))).toBe(0);
    expect((await thrown(() => ring.ftruncate(file, -1))).name).toBe("RangeError");
  }),
);

test("on a kernel without FTRUNCATE, ftruncate names the Linux version that has it", () =>
  withFile(async (ring, path) => {
    using _lacking = lacking(IORING_OP_FTRUNCATE);
    await using file = await ring.open(path, "r+");
    const error = await uringError(() => ring.ftruncate(file, 1));
    expect([error.code, error.hint]).toEqual(["EOPNOTSUPP", expect.stringContaining("Linux 6.9")]);
  }));

test("fallocate extends a file, keeps its size if asked to, and punches holes", () =>
  withFile(async (ring, path, content) => {
    await using file = await ring.open(path, "r+");
    await ring.fallocate(file, 20_000);
    expect(statSync(path).size).toBe(20_000);
    const FALLOC_FL_KEEP_SIZE = 1;
    const FALLOC_FL_PUNCH_HOLE = 2;
    await ring.fallocate(file, 1_000_000n, { mode: FALLOC_FL_KEEP_SIZE });
    expect(statSync(path).size).toBe(20_000);
    await ring.fallocate(file, 4096, { position: 4096, mode: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE });
    expect(Buffer.compare(readFileSync(path).subarray(0, 10_000), content.fill(0, 4096, 8192))).toBe(0);
  }));

test("fadvise accepts each kind of advice and refuses any other", () =>
  withFile(async (ring, path) => {
    await using file = await ring.open(path);
    for (const advice of ["normal", "random", "sequential", "willneed", "dontneed", "noreuse"] as const)
      expect(await ring.fadvise(file, advice, { position: 4096, length: 100 })).toBeUndefined();
    expect((await thrown(() => Reflect.apply(ring.fadvise, ring, [file, "toString"]))).message).toContain(
      'not "toString"',
    );
    using ends = pipe();
    expect((await uringError(() => ring.fadvise(ends.readFd, "normal"))).code).toBe("ESPIPE");
  }));

test("node:fs sees the effects of unlink, rename and mkdir, and their errors name the paths", () =>
  withFile(async (ring, path, _content, folder) => {
    const made = `${folder.path}/made`;
    await ring.mkdir(made, 0o700);
    expect(statSync(made).mode & 0o777).toBe(0o700);
    expect((await uringError(() => ring.mkdir(made))).code).toBe("EEXIST");
    await ring.rename(path, new URL(`file://${made}/moved`));
    expect([existsSync(path), existsSync(`${made}/moved`)]).toEqual([false, true]);
    writeFileSync(path, "new");
    const taken = await uringError(() => ring.rename(path, `${made}/moved`, { flags: 1 }));
    expect([taken.code, taken.path, taken.dest, taken.message]).toEqual([
      "EEXIST",
      path,
      `${made}/moved`,
      expect.stringContaining(`'${path}' -> '${made}/moved'`),
    ]);
    expect((await uringError(() => ring.unlink(made))).code).toBe("EISDIR");
    expect((await uringError(() => ring.unlink(made, { flags: 0x200 }))).code).toBe("ENOTEMPTY");
    await ring.unlink(`${made}/moved`);
    await ring.unlink(made, { flags: 0x200 });
    expect(existsSync(made)).toBe(false);
    const gone = await uringError(() => ring.unlink(made));
    expect([gone.code, gone.path]).toEqual(["ENOENT", made]);
    for (const wrong of ["", "a\0b"]) expect((await thrown(() => ring.unlink(wrong))).name).toBe("TypeError");
  }));

test("splice moves bytes from a file to a pipe and from a pipe to a file", () =>
  withFile(async (ring, path, content, folder) => {
    using ends = pipe();
    await using file = await ring.open(path);
    await using copy = await ring.open(`${folder.path}/copy`, "w+");
    expect(await ring.splice(file, ends.writeFd, 3000, { fromPosition: 17n })).toBe(3000);
    expect(await ring.splice(ends.readFd, copy, 4096, { toPosition: 5n })).toBe(3000);
    expect(
      Buffer.compare(readFileSync(`${folder.path}/copy`), Buffer.concat([Buffer.alloc(5), content.subarray(17, 3017)])),
    ).toBe(0);
    expect(await ring.splice(file, ends.writeFd, 10)).toBe(10);
    const bytes = Buffer.alloc(10);
    readSync(ends.readFd, bytes);
    expect(Buffer.compare(bytes, content.subarray(0, 10))).toBe(0);
    expect((await uringError(() => ring.splice(file, copy, 10))).code).toBe("EINVAL");
  }));

test("poll waits until a descriptor is ready and returns the events", async () => {
  await using ring = new Ring();
  using ends = pipe();
  const POLLIN = 1;
  const POLLOUT = 4;
  expect(await ring.poll(ends.writeFd, POLLOUT)).toBe(POLLOUT);
  const readable = ring.poll(ends.readFd, POLLIN);
  expect(ring.inFlight).toBe(1);
  writeSync(ends.writeFd, "x");
  expect(await readable).toBe(POLLIN);
});

test("timeouts resolve in the order of their durations and never early, and a nop resolves at once", async () => {
  await using ring = new Ring();
  const order: string[] = [];
  const note = (name: string) => () => order.push(name);
  const longest = new AbortController();
  // The durations are far apart: on a slow machine, timeouts that expire between two polls may resolve in any order.
  const later = ring.timeout(3_600_000, { signal: longest.signal });
  const started = performance.now();
  await Promise.all([ring.timeout(30).then(note("30")), ring.nop().then(note("nop"))]);
  expect(performance.now() - started).toBeGreaterThanOrEqual(30);
  await ring.timeout(0.5).then(note("0.5"));
  expect([order, Bun.peek.status(later)]).toEqual([["nop", "30", "0.5"], "pending"]);
  longest.abort();
  expect((await thrown(() => later)).name).toBe("AbortError");
  for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY])
    expect((await thrown(() => ring.timeout(wrong))).name).toBe("RangeError");
});

test("every operation takes a signal: an abort rejects at once with the signal's reason, and the ring can close", async () => {
  const ring = new Ring();
  using ends = pipe();
  using other = pipe();
  const bytes = shared(16);
  const pending: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
    read: (signal) => ring.read(ends.readFd, bytes, { signal }),
    readv: (signal) => ring.readv(ends.readFd, [bytes], { signal }),
    splice: (signal) => ring.splice(ends.readFd, other.writeFd, 1, { signal }),
    poll: (signal) => ring.poll(ends.readFd, 1, { signal }),
    timeout: (signal) => ring.timeout(1e9, { signal }),
  };
  for (const [name, start] of Object.entries(pending)) {
    const controller = new AbortController();
    const reason = new Error(name);
    const promise = start(controller.signal);
    expect(ring.inFlight).toBeGreaterThan(0);
    controller.abort(reason);
    expect(await thrown(() => promise)).toBe(reason);
    expect(await thrown(() => start(AbortSignal.abort(reason)))).toBe(reason);
  }
  const quick: ((options: { signal: AbortSignal }) => Promise<unknown>)[] = [
    (options) => ring.fsync(0, options),
    (options) => ring.fdatasync(0, options),
    (options) => ring.statx("/", options),
    (options) => ring.fallocate(0, 1, options),
    (options) => ring.fadvise(0, "normal", options),
    (options) => ring.unlink("/nothing", options),
    (options) => ring.rename("/nothing", "/nothing2", options),
    (options) => ring.mkdir("/", 0o777, options),
    (options) => ring.nop(options),
    (options) => ring.write(1, bytes, options),
    (options) => ring.writev(1, [bytes], options),
    (options) => ring.splice(0, 1, 1, options),
  ];
  const reason = new Error("before");
  for (const start of quick) expect(await thrown(() => start({ signal: AbortSignal.abort(reason) }))).toBe(reason);
  await ring.close();
  expect(ring.inFlight).toBe(0);
});

test("AbortSignal.timeout ends a read that never gets data", async () => {
  await using ring = new Ring();
  using ends = pipe();
  expect((await thrown(() => ring.read(ends.readFd, shared(1), { signal: AbortSignal.timeout(5) }))).name).toBe(
    "TimeoutError",
  );
});

test("bad arguments reject with a TypeError or RangeError that shows the value, and nothing is started", async () => {
  using pool = new BufferPool({ count: 1, size: 4096 });
  using stranger = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool });
  using buffer = await pool.acquire();
  using foreign = await stranger.acquire();
  const bytes = shared(16);
  const apply = (method: (...values: never[]) => unknown, ...values: unknown[]) => Reflect.apply(method, ring, values);
  const cases: [call: () => unknown, code: string, shown: string][] = [
    [() => apply(ring.read, -1, bytes), "ERR_OUT_OF_RANGE", "-1"],
    [() => apply(ring.read, 0, new Uint8Array(8)), "ERR_INVALID_ARG_TYPE", "Uint8Array"],
    [() => apply(ring.read, 0, null), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.read, 0, bytes, { position: -1 }), "ERR_OUT_OF_RANGE", "-1"],
    [() => apply(ring.read, 0, bytes, { offset: 1 }), "ERR_INVALID_ARG_VALUE", "offset"],
    [() => apply(ring.read, 0, bytes, { signal: 1 }), "ERR_INVALID_ARG_TYPE", "1"],
    [() => apply(ring.read, 0, bytes, null), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.statx, "/", null), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.fallocate, 0, 1, null), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.fadvise, 0, "normal", null), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.fadvise, 0, -5n), "ERR_INVALID_ARG_VALUE", "-5n"],
    [() => apply(ring.splice, 0, 1, 1, null), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.unlink, "/", null), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.read, 0, buffer.bytes), "ERR_INVALID_ARG_VALUE", "readFixed"],
    [() => apply(ring.readv, 0, [bytes, buffer.bytes]), "ERR_INVALID_ARG_VALUE", "buffers[1]"],
    [() => apply(ring.readv, 0, new Array(1)), "ERR_INVALID_ARG_TYPE", "undefined"],
    [() => apply(ring.readvFixed, 0, [null]), "ERR_INVALID_ARG_TYPE", "null"],
    [() => apply(ring.readv, 0, bytes), "ERR_INVALID_ARG_TYPE", "Uint8Array"],
    [() => apply(ring.readv, 0, []), "ERR_OUT_OF_RANGE", "0"],
    [() => apply(ring.readv, 0, new Array(1025).fill(bytes)), "ERR_OUT_OF_RANGE", "1025"],
    [() => apply(ring.readvFixed, 0, [bytes]), "ERR_INVALID_ARG_TYPE", "parts[0].buffer"],
    [() => apply(ring.readvFixed, 0, [{ buffer, offset: 4097 }]), "ERR_OUT_OF_RANGE", "4097"],
    [() => apply(ring.readvFixed, 0, [{ buffer, offset: 1, length: 4096 }]), "ERR_OUT_OF_RANGE", "4096"],
    [() => apply(ring.readvFixed, 0, [foreign]), "ERR_INVALID_ARG_VALUE", "pool"],
    [() => apply(ring.statx, 1.5), "ERR_OUT_OF_RANGE", "1.5"],
    [() => apply(ring.statx, "/", { mask: "all" }), "ERR_INVALID_ARG_TYPE", "all"],
    [() => apply(ring.fallocate, 0, 0), "ERR_OUT_OF_RANGE", "0"],
    [() => apply(ring.mkdir, "/tmp", "rwx"), "ERR_INVALID_ARG_TYPE", "rwx"],
    [() => apply(ring.poll, 0, 0), "ERR_OUT_OF_RANGE", "0"],
    [() => apply(ring.timeout, "soon"), "ERR_INVALID_ARG_TYPE", "soon"],
    [() => apply(ring.splice, 0, 1, -1), "ERR_OUT_OF_RANGE", "-1"],
    [() => apply(ring.rename, "/a", 7), "ERR_INVALID_ARG_TYPE", "7"],
  ];
  for (const [call, code, value] of cases) {
    const error = await thrown(call);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(value)]);
  }
  expect([ring.inFlight, pool.available]).toEqual([0, 0]);
});
