import { describe, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { constants, RawRing, UringError } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { directFlags } from "./support/direct.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe, sockets } from "./support/pipes.ts";
import { fc } from "./support/properties.ts";
import { leavingNothing, ringFds } from "./support/resources.ts";
import { completions, kinds, shared, waitFor } from "./support/rings.ts";

/** Flags of `<linux/io_uring.h>` that a RawRing refuses. */
const IORING_SETUP_ATTACH_WQ = 32;
const IOSQE_CQE_SKIP_SUCCESS = 64;
const { IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_IOPOLL, IORING_SETUP_SINGLE_ISSUER } = constants;

for (const [kind, flags] of Object.entries(kinds)) {
  describe(`a ${kind} ring`, () => {
    test("completes every request once, with its own user data, up to 2^53 - 1", () => {
      fc.assert(
        fc.property(fc.array(fc.maxSafeNat(), { minLength: 1, maxLength: 16 }), (userData) => {
          using ring = new RawRing({ entries: 16, flags });
          for (const one of [...userData, Number.MAX_SAFE_INTEGER].slice(0, 16)) ring.prepNop(one);
          const expected = [...userData, Number.MAX_SAFE_INTEGER].slice(0, 16).toSorted((a, b) => a - b);
          expect(
            waitFor(ring, expected.length)
              .map(([one]) => one)
              .toSorted((a, b) => a - b),
          ).toEqual(expected);
        }),
        { numRuns: 20 },
      );
    });

    test("reads what node:fs wrote, and writes what node:fs reads, at any position", () => {
      using folder = new Folder();
      const { path, content } = folder.random("file", 100_000);
      using ring = new RawRing({ entries: 8, flags });
      const bytes = shared(8192);
      ring.registerBuffers([bytes]);
      const fd = openSync(path, "r+");
      ring.prepReadFixed(fd, bytes.subarray(100, 5100), 12_345, 0, 1);
      expect(waitFor(ring, 1)).toEqual([[1, 5000]]);
      expect(Buffer.compare(bytes.subarray(100, 5100), content.subarray(12_345, 17_345))).toBe(0);
      ring.prepWriteFixed(fd, bytes.subarray(100, 5100), 99_000n, 0, 2);
      expect(waitFor(ring, 1)).toEqual([[2, 5000]]);
      expect(Buffer.compare(readFileSync(path).subarray(99_000), content.subarray(12_345, 17_345))).toBe(0);
      ring.prepReadFixed(fd, bytes, 104_000, 0, 3);
      expect(waitFor(ring, 1)).toEqual([[3, 0]]);
      closeSync(fd);
    });

    test("closes with reads in flight and leaves no descriptor and no pinned page", () =>
      leavingNothing(() => {
        using ends = pipe();
        const ring = new RawRing({ entries: 8, flags });
        const bytes = shared(65536);
        ring.registerBuffers([bytes]);
        for (let read = 0; read < 8; read++)
          ring.prepReadFixed(ends.readFd, bytes.subarray(read * 4096, (read + 1) * 4096), -1, 0, read);
        ring.submit();
        ring.close();
        writeSync(ends.writeFd, Buffer.alloc(4096, 1));
        expect(bytes.every((byte) => byte === 0)).toBe(true);
      }));
  });
}

needs("256 MiB of locked memory")(
  "nothing is written to memory after close has returned, even if hundreds of block reads were in flight",
  () =>
    leavingNothing(() => {
      const count = 256;
      const readBytes = 65536;
      const fd = openSync(process.execPath, directFlags(process.execPath));
      for (let round = 0; round < times(5); round++) {
        const startReads = () => {
          const ring = new RawRing({ entries: count, flags: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN });
          const bytes = shared(count * readBytes);
          ring.registerBuffers([bytes]);
          for (let read = 0; read < count; read++)
            ring.prepReadFixed(
              fd,
              bytes.subarray(read * readBytes, (read + 1) * readBytes),
              ((read * 7 + round) % count) * readBytes * 5,
              0,
              read,
            );
          ring.submit();
          return { ring, bytes };
        };
        const { ring, bytes } = startReads();
        ring.close();
        bytes.fill(0x5a);
        // Waits for as many reads of the same disk: a late read of the closed ring would have landed before them.
        using clock = startReads().ring;
        waitFor(clock, count);
        expect(Buffer.compare(bytes, Buffer.alloc(bytes.length, 0x5a))).toBe(0);
      }
      closeSync(fd);
    }),
);

test("one call delivers all of 200 completions of deferred work, although one io_uring_enter runs only 20 of them", () => {
  using ends = sockets();
  using ring = new RawRing({ entries: 256, flags: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN });
  const bytes = shared(4096);
  ring.registerBuffers([bytes]);
  for (let read = 0; read < 200; read++) ring.prepReadFixed(ends.readFd, bytes.subarray(read, read + 1), -1, 0, read);
  ring.submit();
  expect(completions(ring)).toEqual([]);
  writeSync(ends.writeFd, Buffer.alloc(200, 7));
  expect(new Set(completions(ring).map(([userData]) => userData)).size).toBe(200);
});

test("completions that overflowed the completion queue are delivered, in one call", () => {
  using ring = new RawRing({ entries: 4, cqEntries: 4 });
  for (let request = 0; request < 64; request++) {
    ring.prepNop(request);
    ring.submit();
  }
  expect(completions(ring).map(([userData]) => userData)).toEqual(Array.from({ length: 64 }, (_, request) => request));
});

test("a full submission queue refuses the next request with EBUSY and loses none", async () => {
  using ring = new RawRing({ entries: 2 });
  ring.prepNop(1);
  ring.prepNop(2);
  const error = await uringError(() => ring.prepNop(3));
  expect([error.code, error.errno, error.message.includes("2 entries")]).toEqual(["EBUSY", -16, true]);
  ring.submit();
  ring.prepNop(3);
  expect(waitFor(ring, 3).map(([userData]) => userData)).toEqual([1, 2, 3]);
});

test("a callback may submit, prepare and look for completions itself, and each completion is delivered once", () => {
  using ring = new RawRing({ entries: 8 });
  const seen: number[] = [];
  const look = (userData: number) => {
    seen.push(userData);
    if (userData < 20) {
      ring.prepNop(userData + 10);
      ring.submit();
      ring.forEachCompletion(look);
    }
  };
  for (let request = 0; request < 4; request++) ring.prepNop(request);
  ring.submit();
  ring.forEachCompletion(look);
  expect(seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]);
});

test("a callback may close the ring, and is not called again", () => {
  const ring = new RawRing({ entries: 8 });
  for (let request = 0; request < 4; request++) ring.prepNop(request);
  ring.submit();
  const seen: number[] = [];
  expect(
    ring.forEachCompletion((userData) => {
      seen.push(userData);
      ring.close();
    }),
  ).toBe(1);
  expect(seen).toEqual([0]);
});

test("if a callback throws, the remaining completions are left for the next call", () => {
  using ring = new RawRing({ entries: 8 });
  for (let request = 0; request < 4; request++) ring.prepNop(request);
  ring.submit();
  expect(() =>
    ring.forEachCompletion((userData) => {
      if (userData === 1) throw new Error("mine");
    }),
  ).toThrow("mine");
  expect(completions(ring).map(([userData]) => userData)).toEqual([2, 3]);
});

test("close drops requests that were prepared but never submitted", () => {
  using folder = new Folder();
  const path = folder.write("file", "untouched");
  const fd = openSync(path, "r+");
  const ring = new RawRing({ entries: 8 });
  const bytes = shared(4096).fill(65);
  ring.registerBuffers([bytes]);
  ring.prepWriteFixed(fd, bytes, 0, 0, 1);
  ring.close();
  closeSync(fd);
  expect(readFileSync(path, "utf8")).toBe("untouched");
});

test("every method of a closed ring throws EBADF, and closing it again does nothing", async () => {
  const ring = new RawRing();
  const bytes = shared(4096);
  using other = new RawRing();
  expect(ring.closed).toBe(false);
  ring.close();
  ring.close();
  ring[Symbol.dispose]();
  expect(ring.closed).toBe(true);
  const calls: Record<string, () => unknown> = {
    registerBuffers: () => ring.registerBuffers([bytes]),
    registerSparseBuffers: () => ring.registerSparseBuffers(1),
    updateBuffers: () => ring.updateBuffers(0, [bytes]),
    unregisterBuffers: () => ring.unregisterBuffers(),
    cloneBuffers: () => ring.cloneBuffers(other),
    "cloneBuffers from it": () => other.cloneBuffers(ring),
    registerRingFd: () => ring.registerRingFd(),
    unregisterRingFd: () => ring.unregisterRingFd(),
    prepNop: () => ring.prepNop(1),
    prepReadFixed: () => ring.prepReadFixed(0, bytes, 0, 0, 1),
    prepWriteFixed: () => ring.prepWriteFixed(0, bytes, 0, 0, 1),
    prepReadvFixed: () => ring.prepReadvFixed(0, [bytes], 0, 0, 1),
    prepWritevFixed: () => ring.prepWritevFixed(0, [bytes], 0, 0, 1),
    registerFiles: () => ring.registerFiles([0]),
    registerSparseFiles: () => ring.registerSparseFiles(1),
    updateFiles: () => ring.updateFiles(0, [0]),
    unregisterFiles: () => ring.unregisterFiles(),
    submit: () => ring.submit(),
    submitAndWait: () => ring.submitAndWait(0),
    forEachCompletion: () => ring.forEachCompletion(() => undefined),
  };
  for (const [name, call] of Object.entries(calls))
    expect([name, (await uringError(call)).code]).toEqual([name, "EBADF"]);
});

test("a bad argument throws before anything reaches the kernel, the error names the value, and the ring stays usable", async () => {
  using ring = new RawRing({ entries: 4 });
  const bytes = shared(4096);
  ring.registerBuffers([bytes]);
  const read = (fd: unknown, view: unknown, position: unknown, index: unknown, userData: unknown) => () =>
    Reflect.apply(ring.prepReadFixed, ring, [fd, view, position, index, userData]);
  const construct = (options: unknown) => () => Reflect.construct(RawRing, [options]);
  const apply =
    (method: (...values: never[]) => unknown, ...values: unknown[]) =>
    () =>
      Reflect.apply(method, ring, values);
  const cases: [() => unknown, string, string][] = [
    [read(-1, bytes, 0, 0, 1), "ERR_OUT_OF_RANGE", "-1"],
    [read(1.5, bytes, 0, 0, 1), "ERR_OUT_OF_RANGE", "1.5"],
    [read(NaN, bytes, 0, 0, 1), "ERR_OUT_OF_RANGE", "NaN"],
    [read(2 ** 31, bytes, 0, 0, 1), "ERR_OUT_OF_RANGE", "2147483648"],
    [read("0", bytes, 0, 0, 1), "ERR_INVALID_ARG_TYPE", '"0"'],
    [read(undefined, bytes, 0, 0, 1), "ERR_INVALID_ARG_TYPE", "undefined"],
    [read(0, bytes, -2, 0, 1), "ERR_OUT_OF_RANGE", "-2"],
    [read(0, bytes, 0.5, 0, 1), "ERR_OUT_OF_RANGE", "0.5"],
    [read(0, bytes, 2 ** 53, 0, 1), "ERR_OUT_OF_RANGE", "9007199254740992"],
    [read(0, bytes, 2n ** 63n, 0, 1), "ERR_OUT_OF_RANGE", "9223372036854775808n"],
    [read(0, bytes, null, 0, 1), "ERR_INVALID_ARG_TYPE", "null"],
    [read(0, bytes, 0, -1, 1), "ERR_OUT_OF_RANGE", "-1"],
    [read(0, bytes, 0, 16384, 1), "ERR_OUT_OF_RANGE", "16384"],
    [read(0, bytes, 0, 0, -1), "ERR_OUT_OF_RANGE", "-1"],
    [read(0, bytes, 0, 0, 2 ** 53), "ERR_OUT_OF_RANGE", "9007199254740992"],
    [read(0, bytes, 0, 0, 1n), "ERR_INVALID_ARG_TYPE", "1n"],
    [read(0, new Uint8Array(16), 0, 0, 1), "ERR_INVALID_ARG_TYPE", "Uint8Array"],
    [read(0, shared(4096), 0, 0, 1), "ERR_OUT_OF_RANGE", "4096 bytes outside it"],
    [read(0, new Uint16Array(bytes.buffer), 0, 0, 1), "ERR_INVALID_ARG_TYPE", "Uint16Array"],
    [construct({ entries: 0 }), "ERR_OUT_OF_RANGE", "0"],
    [construct({ entries: 2 ** 20 }), "ERR_OUT_OF_RANGE", "1048576"],
    [construct({ entrys: 8 }), "ERR_INVALID_ARG_VALUE", "entrys"],
    [construct({ flags: -1 }), "ERR_OUT_OF_RANGE", "-1"],
    [construct({ flags: IORING_SETUP_ATTACH_WQ }), "ERR_OUT_OF_RANGE", "IORING_SETUP_ATTACH_WQ"],
    [construct(null), "ERR_INVALID_ARG_TYPE", "null"],
    [apply(ring.registerBuffers, bytes), "ERR_INVALID_ARG_TYPE", "Uint8Array"],
    [apply(ring.registerBuffers, [new ArrayBuffer(16)]), "ERR_INVALID_ARG_TYPE", "ArrayBuffer"],
    [apply(ring.registerBuffers, []), "ERR_OUT_OF_RANGE", "0"],
    [apply(ring.registerBuffers, new Array(3)), "ERR_INVALID_ARG_TYPE", "undefined"],
    [apply(ring.registerBuffers, [new SharedArrayBuffer(0)]), "ERR_OUT_OF_RANGE", "0 bytes"],
    [read(0, bytes.subarray(0, 0), 0, 0, 1), "ERR_OUT_OF_RANGE", "0 bytes"],
    [apply(ring.registerBuffers, [bytes], [1, 2]), "ERR_OUT_OF_RANGE", "2"],
    [apply(ring.registerSparseBuffers, 0), "ERR_OUT_OF_RANGE", "0"],
    [apply(ring.updateBuffers, -1, [bytes]), "ERR_OUT_OF_RANGE", "-1"],
    [apply(ring.cloneBuffers, 7), "ERR_INVALID_ARG_TYPE", "7"],
    [apply(ring.cloneBuffers, { fd: -1 }), "ERR_OUT_OF_RANGE", "-1"],
    [apply(ring.cloneBuffers, { fd: 3 }, { offset: 1 }), "ERR_INVALID_ARG_VALUE", "offset"],
    [apply(ring.submitAndWait, 1e9), "ERR_OUT_OF_RANGE", "1000000000"],
    [apply(ring.forEachCompletion, "x"), "ERR_INVALID_ARG_TYPE", '"x"'],
    [apply(ring.prepNop, 0.1), "ERR_OUT_OF_RANGE", "0.1"],
    [apply(ring.prepNop, 1, IOSQE_CQE_SKIP_SUCCESS), "ERR_OUT_OF_RANGE", "64"],
    [apply(ring.prepNop, 1, 1.5), "ERR_OUT_OF_RANGE", "1.5"],
    [apply(ring.registerFiles, []), "ERR_OUT_OF_RANGE", "0"],
    [apply(ring.registerFiles, ["x"]), "ERR_INVALID_ARG_TYPE", '"x"'],
    [apply(ring.updateFiles, -1, [0]), "ERR_OUT_OF_RANGE", "-1"],
  ];
  for (const [call, code, value] of cases) {
    const error = await thrown(call);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(value)]);
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
  }
  expect(ring.submit()).toBe(0);
  ring.prepNop(9);
  expect(waitFor(ring, 1)).toEqual([[9, 0]]);
});

test("if the kernel refuses a ring, the constructor throws the kernel's error and leaves no descriptor", async () => {
  const before = ringFds();
  const error = await uringError(() => new RawRing({ entries: 8, cqEntries: 4 }));
  expect([error.code, error.errno, error.syscall]).toEqual(["EINVAL", -22, "io_uring_setup"]);
  expect(error.hint).toContain("CQ entries");
  expect((await uringError(() => new RawRing({ flags: IORING_SETUP_DEFER_TASKRUN }))).code).toBe("EINVAL");
  expect(ringFds()).toBe(before);
});

test("a ring has the sizes, features and descriptor that the kernel gave it", () => {
  using ring = new RawRing({ entries: 5, cqEntries: 20 });
  expect([ring.sqEntries, ring.cqEntries]).toEqual([8, 32]);
  expect(ring.features & 3).toBe(3);
  expect(readFileSync(`/proc/self/fdinfo/${ring.fd}`, "utf8")).toContain("SqMask:\t0x7");
});

test("a UringError is an Error with code, errno and syscall, and its message contains the hint", () => {
  const error = new UringError(-1, "io_uring_setup");
  expect(error).toBeInstanceOf(Error);
  expect([error.name, error.code, error.errno, error.syscall]).toEqual(["UringError", "EPERM", -1, "io_uring_setup"]);
  expect(error.hint).toContain("seccomp");
  expect(error.message).toContain(error.hint ?? "no hint");
});

test("an IOPOLL ring can be closed", () =>
  leavingNothing(() => {
    const ring = new RawRing({ flags: IORING_SETUP_IOPOLL });
    ring.close();
  }));
