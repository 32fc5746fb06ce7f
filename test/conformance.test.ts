/**
 * Checks, through this library, what liburing's own tests of registered buffers and files require of the kernel:
 * regbuf-clone, rsrc_tags, io_uring_register, vec-regbuf, fixed-seg.
 */
import { describe, expect, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { constants, RawRing } from "bun-uring";
import { checked } from "../lib/errors/uring-error.ts";
import { kernel } from "../lib/uring/kernel.ts";
import { addressOf } from "../lib/uring/native.ts";
import { uringOf } from "../lib/uring/raw-ring.ts";
import { scratch } from "../lib/uring/scratch.ts";
import {
  IORING_OP_POLL_ADD,
  IORING_OP_READ_FIXED,
  IORING_OP_READV_FIXED,
  IORING_REGISTER_BUFFERS_UPDATE,
  IORING_REGISTER_BUFFERS2,
} from "../lib/uring/uapi.ts";
import { needs } from "./support/capabilities.ts";
import { directFlags } from "./support/direct.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe, sockets } from "./support/pipes.ts";
import { fc } from "./support/properties.ts";
import { leavingNothing } from "./support/resources.ts";
import { completions, EFAULT, kinds, pieces, resultOf, shared, waitFor, whenRoom } from "./support/rings.ts";

const { IORING_REGISTER_FILES_SKIP, IORING_SETUP_SQPOLL, IOSQE_FIXED_FILE } = constants;

const IORING_REGISTER_BUFFERS = 0;

const count = 64;
const half = count / 2;

/** Checks that entry `index` of the ring's table holds `bytes`, by reading into them. Returns 0 or the read's -errno. */
function use(ring: RawRing, bytes: Uint8Array | undefined, index: number): number {
  if (bytes === undefined) throw new Error("no such buffer");
  using ends = pipe();
  const content = Buffer.alloc(32, 0xbb);
  bytes.fill(0, 0, 32);
  writeSync(ends.writeFd, content);
  ring.prepReadFixed(ends.readFd, bytes.subarray(0, 32), -1, index, 1);
  const result = resultOf(ring);
  expect(result < 0 || Buffer.compare(bytes.subarray(0, 32), content) === 0).toBe(true);
  return result < 0 ? result : 0;
}

/** Calls io_uring_register(2) with any opcode and argument, and throws its error. */
function registerAny(ring: RawRing, opcode: number, address: number, count: number): number {
  return checked(uringOf(ring).register(opcode, address, count), "io_uring_register");
}

/** The `code` of the error that a call throws. */
async function codeOf(call: () => unknown): Promise<string> {
  return (await uringError(call)).code;
}

/** Collects tags until `expected` of them have arrived. Older kernels post them from a worker, up to a second later. */
async function tagsOf(ring: RawRing, expected: number): Promise<number[]> {
  const tags: number[] = [];
  for (let turn = 0; turn < 500 && tags.length < expected; turn++) {
    ring.submit();
    tags.push(...completions(ring).map(([tag]) => tag));
    if (tags.length < expected) await Bun.sleep(10);
  }
  return tags;
}

/** Lays out iovecs after `headBytes` of other data. Their addresses may be any, even those that the library rejects. */
function iovecs(headBytes: number, ...entries: readonly (readonly [address: number, length: number])[]) {
  const memory = scratch(headBytes + 16 * entries.length);
  for (const [index, [address, length]] of entries.entries()) {
    memory.longs[headBytes / 8 + 2 * index] = BigInt(address);
    memory.longs[headBytes / 8 + 2 * index + 1] = BigInt(length);
  }
  return memory;
}

describe("cloning", () => {
  for (const sourceFd of ["plain", "registered"]) {
    for (const destinationFd of ["plain", "registered"]) {
      needs("clone (Linux 6.12)")(
        `works in both directions, with the source's ring descriptor ${sourceFd} and the destination's ${destinationFd}`,
        () =>
          leavingNothing(async () => {
            using source = new RawRing({ entries: 1 });
            using destination = new RawRing({ entries: 1 });
            if (sourceFd === "registered") source.registerRingFd();
            if (destinationFd === "registered") destination.registerRingFd();
            const buffers = pieces(count, 8192);
            const middle = buffers[half];
            expect(await codeOf(() => destination.cloneBuffers(source))).toBe("ENXIO");
            source.registerBuffers(buffers);
            expect([use(source, buffers[0], 0), use(destination, buffers[0], 0)]).toEqual([0, EFAULT]);
            destination.cloneBuffers(source);
            expect(use(destination, middle, half)).toBe(0);
            expect(await codeOf(() => destination.cloneBuffers(source))).toBe("EBUSY");
            destination.unregisterBuffers();
            expect(use(destination, middle, half)).toBe(EFAULT);
            expect(await codeOf(() => destination.unregisterBuffers())).toBe("ENXIO");
            expect(use(source, middle, half)).toBe(0);
            source.unregisterBuffers();
            expect(use(source, middle, half)).toBe(EFAULT);
            // The other direction.
            destination.registerBuffers(buffers);
            source.cloneBuffers(destination);
            destination.unregisterBuffers();
            expect(use(source, middle, half)).toBe(0);
            expect(await codeOf(() => destination.unregisterBuffers())).toBe("ENXIO");
            source.unregisterBuffers();
          }),
      );
    }
  }

  needs("clone of ranges (Linux 6.13)")(
    "puts each range of 64 buffers at the requested offset, into an empty, sparse or filled table, and grows the table",
    async () => {
      using source = new RawRing({ entries: 1 });
      using destination = new RawRing({ entries: 1 });
      const buffers = pieces(count, 8192);
      source.registerBuffers(buffers);
      const clone = (destinationOffset: number, sourceOffset: number, cloned: number, replace = false) =>
        destination.cloneBuffers(source, { destinationOffset, sourceOffset, count: cloned, replace });
      expect(await codeOf(() => clone(0, half, count))).toBe("EOVERFLOW");
      expect(await codeOf(() => clone(0, 0, count + 1))).toBe("EINVAL");
      expect(await codeOf(() => clone(0, 2 ** 32 - 33, count))).toBe("EOVERFLOW");

      clone(0, half, half);
      expect(use(destination, buffers[half], 0)).toBe(0);
      destination.unregisterBuffers();
      expect(use(destination, buffers[0], 0)).toBe(EFAULT);

      clone(half, half, half);
      expect([use(destination, buffers[0], 0), use(destination, buffers[half], half)]).toEqual([EFAULT, 0]);
      expect(await codeOf(() => clone(half, half, half))).toBe("EBUSY");
      clone(0, 0, half, true); // over the empty entries before the range
      expect(buffers.map((buffer, index) => use(destination, buffer, index))).toEqual(buffers.map(() => 0));
      destination.unregisterBuffers();

      destination.registerSparseBuffers(count);
      expect(await codeOf(() => clone(0, 0, half))).toBe("EBUSY");
      clone(0, 0, half, true);
      expect([use(destination, buffers[0], 0), use(destination, buffers[half], half)]).toEqual([0, EFAULT]);
      clone(half, 0, count, true); // the second half of the range is past the table's end
      expect(buffers.map((buffer, index) => use(destination, buffer, half + index))).toEqual(buffers.map(() => 0));
      expect([use(destination, buffers[half - 1], half - 1), use(destination, buffers[0], half + count)]).toEqual([
        0,
        EFAULT,
      ]);
    },
  );

  needs("clone of ranges (Linux 6.13)")(
    "with both offsets and the count 0 clones the whole table, and fails with EBUSY if there is a table already",
    async () => {
      using source = new RawRing({ entries: 1 });
      using destination = new RawRing({ entries: 1 });
      const buffers = pieces(3);
      source.registerBuffers(buffers);
      destination.cloneBuffers(source, { destinationOffset: 0, sourceOffset: 0, count: 0 });
      expect(buffers.map((buffer, index) => use(destination, buffer, index))).toEqual([0, 0, 0]);
      expect(await codeOf(() => destination.cloneBuffers(source, { count: 0 }))).toBe("EBUSY");
    },
  );

  needs("clone (Linux 6.12)")("copies empty entries as empty entries", () => {
    using source = new RawRing({ entries: 1 });
    using destination = new RawRing({ entries: 1 });
    source.registerBuffers([null]);
    destination.cloneBuffers(source);
    expect(use(destination, shared(4096), 0)).toBe(EFAULT);
    source.unregisterBuffers();
    destination.unregisterBuffers();
  });

  needs("clone of ranges (Linux 6.13)")("from a ring to itself may move entries up and grow the table", () => {
    using ring = new RawRing({ entries: 1 });
    const buffer = shared(8192);
    ring.registerBuffers([buffer, null]);
    ring.cloneBuffers(ring, { destinationOffset: 1, sourceOffset: 0, count: 2, replace: true });
    expect([0, 1, 2, 3].map((index) => use(ring, buffer, index))).toEqual([0, 0, EFAULT, EFAULT]);
  });
});

for (const [kind, flags] of Object.entries(kinds)) {
  describe(`tags of a ${kind} ring`, () => {
    test("are posted once each, when their buffer is replaced; a tag of 0 never is", async () => {
      using ring = new RawRing({ entries: 1, flags });
      const buffers = pieces(5, 1024);
      const replacement = [shared(1024)];
      ring.registerBuffers(buffers, [1, 2, 3, 4, 5]);
      expect(ring.updateBuffers(0, replacement, [666])).toBe(1);
      expect(await tagsOf(ring, 1)).toEqual([1]);
      expect(ring.updateBuffers(0, replacement, [0])).toBe(1);
      expect(await tagsOf(ring, 1)).toEqual([666]);
      expect(ring.updateBuffers(0, replacement, [7])).toBe(1); // the buffer that this one replaces has no tag
      expect(ring.updateBuffers(0, replacement)).toBe(1);
      expect(await tagsOf(ring, 1)).toEqual([7]);
    });

    needs("tags of tables that are unregistered (Linux 6.13)")(
      "are all posted when their table is unregistered",
      async () => {
        using folder = new Folder();
        using ring = new RawRing({ entries: 1, flags });
        const fd = openSync(folder.write("file", "x"), "r");
        ring.registerBuffers(pieces(5, 1024), [1, 2, 3, 0, 5]);
        ring.registerFiles([fd, fd, fd], [6, 0, 8]);
        ring.unregisterBuffers();
        ring.unregisterFiles();
        expect((await tagsOf(ring, 6)).toSorted()).toEqual([1, 2, 3, 5, 6, 8]);
        closeSync(fd);
      },
    );

    test("of files are posted once each, when a file is replaced or removed; a tag of 0 never is", async () => {
      using folder = new Folder();
      using ring = new RawRing({ entries: 1, flags });
      const fds = Array.from({ length: 5 }, (_, index) => openSync(folder.write(`file-${index}`, "x"), "r"));
      const [first = -1] = fds;
      ring.registerFiles(fds, [1, 2, 3, 4, 5]);
      expect(ring.updateFiles(0, [first], [666])).toBe(1);
      expect(await tagsOf(ring, 1)).toEqual([1]);
      expect(ring.updateFiles(0, [first], [0])).toBe(1);
      expect(await tagsOf(ring, 1)).toEqual([666]);
      expect(ring.updateFiles(0, [first], [7])).toBe(1);
      expect(ring.updateFiles(3, [-1])).toBe(1);
      expect(await tagsOf(ring, 1)).toEqual([4]);
      expect(ring.updateFiles(3, [-1])).toBeLessThanOrEqual(1); // the entry is empty already
      expect(await codeOf(() => ring.updateFiles(1, [-1], [9]))).toBe("EINVAL"); // a tag without a file
      expect(ring.updateFiles(2, [first])).toBe(1);
      expect(await tagsOf(ring, 1)).toEqual([3]);
      for (const fd of fds) closeSync(fd);
    });
  });
}

describe("tables", () => {
  test("post a buffer's tag only after the request in flight that uses the buffer", async () => {
    using ends = sockets();
    using ring = new RawRing({ entries: 4 });
    const [buffer = shared(1), replacement = shared(1)] = pieces(2, 1024);
    ring.registerBuffers([buffer, buffer], [1, 2]);
    ring.prepReadFixed(ends.readFd, buffer.subarray(0, 10), -1, 1, 100);
    expect(ring.submit()).toBe(1);
    expect(completions(ring)).toEqual([]);
    expect(ring.updateBuffers(1, [replacement], [3])).toBe(1);
    ring.submit();
    expect(completions(ring)).toEqual([]);
    writeSync(ends.writeFd, "0123456789");
    const [request, ...tags] = waitFor(ring, 1);
    expect(request).toEqual([100, 10]);
    expect([...tags.map(([tag]) => tag), ...(await tagsOf(ring, 1 - tags.length))]).toEqual([2]);
  });

  test("accept a buffer in an empty entry, and null in any; a length without an address fails with EFAULT", async () => {
    using ring = new RawRing({ entries: 1 });
    const buffer = shared(4096);
    ring.registerBuffers([buffer, null, null, null, null]);
    expect(ring.updateBuffers(1, [buffer])).toBe(1);
    expect(ring.updateBuffers(0, [null])).toBe(1);
    expect(ring.updateBuffers(2, [null])).toBe(1);
    expect([0, 1, 2].map((index) => use(ring, buffer, index))).toEqual([EFAULT, 0, EFAULT]);
    const update = iovecs(32, [0, 1]);
    update.words[0] = 3;
    update.longs[1] = BigInt(update.address + 32);
    update.words[6] = 1;
    expect(await codeOf(() => registerAny(ring, IORING_REGISTER_BUFFERS_UPDATE, update.address, 32))).toBe("EFAULT");
    for (const length of [10, 0]) {
      using ends = pipe();
      const sqe = {
        opcode: IORING_OP_READ_FIXED,
        flags: 0,
        fd: ends.readFd,
        off: -1,
        addr: 4096,
        len: length,
        opFlags: 0,
        bufIndex: 2,
        spliceFdIn: 0,
      };
      uringOf(ring).prepare(sqe, sqe.flags, sqe.fd, 1);
      expect(resultOf(ring)).toBe(EFAULT);
    }
  });

  test("accept two pages of one huge page into an empty table, with tags", () =>
    leavingNothing(async () => {
      using ring = new RawRing({ entries: 1 });
      const memory = new SharedArrayBuffer(4 * 2 ** 20);
      ring.registerBuffers(new Array<null>(8).fill(null));
      const pages = [0, 1].map((page) => new Uint8Array(memory, 2 ** 21 + page * 4096, 4096));
      expect(ring.updateBuffers(4, pages, [1, 2])).toBe(2);
      expect(pages.map((page, index) => use(ring, page, 4 + index))).toEqual([0, 0]);
    }));

  test("whose registration fails halfway post no tags, neither of buffers nor of files", async () => {
    using folder = new Folder();
    using ring = new RawRing({ entries: 4 });
    const page = shared(4096);
    const broken = iovecs(32, [addressOf(page), 4096], [0, 4096], [1, 2]); // the last pair are the two tags
    broken.words[0] = 2;
    broken.longs[2] = BigInt(broken.address + 32);
    broken.longs[3] = BigInt(broken.address + 64);
    const fd = openSync(folder.write("file", "x"), "r");
    expect(await codeOf(() => registerAny(ring, IORING_REGISTER_BUFFERS2, broken.address, 32))).toBe("EFAULT");
    expect(await codeOf(() => ring.registerFiles([fd, 2 ** 31 - 1], [3, 4]))).toBe("EBADF");
    closeSync(fd);
    // This tag does arrive. If theirs had been posted, they would have arrived by then.
    ring.registerBuffers([page], [5]);
    ring.updateBuffers(0, [page]);
    expect(await tagsOf(ring, 1)).toEqual([5]);
    expect(await codeOf(() => ring.unregisterFiles())).toBe("ENXIO");
  });

  test("without tags post nothing", async () => {
    using folder = new Folder();
    using ring = new RawRing({ entries: 4 });
    const fd = openSync(folder.write("file", "x"), "r");
    ring.registerFiles(new Array<number>(50).fill(fd));
    ring.registerBuffers(pieces(50));
    expect(ring.updateFiles(0, [-1, fd, IORING_REGISTER_FILES_SKIP])).toBe(3);
    expect(ring.updateBuffers(0, [null, shared(4096)])).toBe(2);
    ring.unregisterFiles();
    ring.unregisterBuffers();
    closeSync(fd);
    ring.registerBuffers([shared(4096)], [5]);
    ring.updateBuffers(0, [shared(4096)]);
    expect(await tagsOf(ring, 1)).toEqual([5]);
  });

  test("of files keep them open for requests by index, even after their descriptors are closed", async () => {
    using folder = new Folder();
    using ring = new RawRing({ entries: 4 });
    const page = shared(4096);
    const first = openSync(folder.write("first", "1"), "r");
    const second = openSync(folder.write("second", "2"), "r");
    ring.registerBuffers([page]);
    ring.registerSparseFiles(3);
    expect(ring.updateFiles(1, [first, second])).toBe(2);
    expect(ring.updateFiles(1, [IORING_REGISTER_FILES_SKIP])).toBe(1);
    closeSync(first);
    closeSync(second);
    const read = (index: number) => {
      ring.prepReadFixed(index, page.subarray(0, 1), 0, 0, 1, IOSQE_FIXED_FILE);
      const result = resultOf(ring);
      return result === 1 ? String.fromCharCode(page[0] ?? 0) : result;
    };
    expect([read(0), read(1), read(2), read(3)]).toEqual([-9, "1", "2", -9]);
    expect(await codeOf(() => ring.registerFiles([0]))).toBe("EBUSY");
    expect(await codeOf(() => ring.updateFiles(3, [0]))).toBe("EINVAL");
  });
});

describe("registering", () => {
  test("with an unknown opcode fails with EINVAL", async () => {
    using ring = new RawRing({ entries: 1 });
    expect(await codeOf(() => registerAny(ring, 0x7fff, 0, 0))).toBe("EINVAL");
  });

  needs("256 MiB of locked memory")("accepts 1024 buffers, and 16384, but not one more", async () => {
    using ring = new RawRing({ entries: 1 });
    const page = shared(4096);
    for (const entries of [1024, 16384]) {
      ring.registerBuffers(new Array<Uint8Array>(entries).fill(page));
      ring.unregisterBuffers();
    }
    const error = await uringError(() => ring.registerBuffers(new Array<Uint8Array>(16385).fill(page)));
    expect([error.code, error.hint]).toEqual(["EINVAL", expect.stringContaining("16384")]);
  });

  test("memory that is not mapped, or has length 0, fails with EFAULT", async () => {
    using ring = new RawRing({ entries: 1 });
    const page = addressOf(shared(4096));
    for (const entry of [
      [0, 4096],
      [page, 0],
      [4096, 8192], // below the lowest address that can be mapped
    ] as const) {
      const { address } = iovecs(0, entry);
      expect(await codeOf(() => registerAny(ring, IORING_REGISTER_BUFFERS, address, 1))).toBe("EFAULT");
    }
  });

  test("the memory of a mapped file is rejected", async () => {
    using folder = new Folder();
    using ring = new RawRing({ entries: 1 });
    const { path } = folder.random("file", 4096);
    const error = await thrown(() => ring.registerBuffers([Bun.mmap(path)]));
    expect([error.name, error.code]).toEqual(["TypeError", "ERR_INVALID_ARG_TYPE"]);
  });

  test("more files than may be open fails with EMFILE, and the ring's own descriptor with EBADF", async () => {
    using ring = new RawRing({ entries: 1 });
    const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
    if (limit < 2 ** 20) expect(await codeOf(() => ring.registerSparseFiles(limit + 1))).toBe("EMFILE");
    expect((await thrown(() => ring.registerSparseFiles(2 ** 20 + 1))).name).toBe("RangeError");
    ring.registerSparseFiles(Math.min(limit, 2 ** 15));
    ring.unregisterFiles();
    expect(await codeOf(() => ring.registerFiles([ring.fd]))).toBe("EBADF");
  });

  for (const flags of [0, IORING_SETUP_SQPOLL]) {
    test(`is not needed to poll the descriptor of a ring${flags === 0 ? "" : " with SQPOLL"}`, () => {
      using ring = new RawRing({ entries: 2, flags });
      const POLLIN = 1;
      const POLLOUT = 4;
      uringOf(ring).prepare(
        {
          opcode: IORING_OP_POLL_ADD,
          flags: 0,
          fd: 0,
          off: 0,
          addr: 0,
          len: 0,
          opFlags: POLLIN | POLLOUT,
          bufIndex: 0,
          spliceFdIn: 0,
        },
        0,
        ring.fd,
        1,
      );
      expect(resultOf(ring) & POLLOUT).toBe(POLLOUT);
    });
  }
});

describe("vectored requests", () => {
  const page = 4096;
  const size = 32 * page;

  needs("READV_FIXED (Linux 6.15)")(
    "write all parts of a buffer completely and in order, whether aligned or overlapping or not",
    () => {
      using folder = new Folder();
      using ring = new RawRing({ entries: 4 });
      const [content = shared(1)] = pieces(1, size);
      randomFillSync(content);
      ring.registerSparseBuffers(128);
      ring.updateBuffers(1, [content]);
      const part = fc
        .tuple(fc.nat(size - 1), fc.integer({ min: 1, max: size }))
        .map(([start, length]) => content.subarray(start, Math.min(start + length, size)));
      const path = `${folder.path}/written`;
      const written = (parts: readonly Uint8Array[]) => {
        const fd = openSync(path, "w");
        ring.prepWritevFixed(fd, parts, 0, 1, 1);
        const result = resultOf(ring);
        closeSync(fd);
        const expected = Buffer.concat(parts);
        expect([result, Buffer.compare(readFileSync(path), expected)]).toEqual([expected.length, 0]);
      };
      const cases: readonly (readonly (readonly [start: number, end: number])[])[] = [
        [[0, page]],
        [[0, 12 * page + 33]],
        [[1, 4]],
        [[10, 10 + 7 * page + 41]],
        [
          [0, page],
          [0, 12 * page + 33],
          [1, 4],
          [10, 10 + 7 * page + 41],
        ],
        [[size - page + 5, size]],
        [[size - page - 5, size]],
        Array.from({ length: 3 }, () => [0, size] as const),
        Array.from({ length: 3 }, () => [1, size] as const),
        Array.from({ length: 6 }, () => [page - 1, 2 * page + 1] as const),
      ];
      for (const parts of cases)
        for (let round = 0; round < 2; round++) written(parts.map(([start, end]) => content.subarray(start, end)));
      fc.assert(fc.property(fc.array(part, { minLength: 1, maxLength: 8, size: "max" }), written), { numRuns: 50 });
      written(Array.from({ length: 1024 }, (_, index) => content.subarray(index, index + 1)));
    },
  );

  needs("READV_FIXED (Linux 6.15)")(
    "read a file into parts of a buffer, and leave the rest of the buffer unchanged",
    () => {
      using folder = new Folder();
      const { path, content } = folder.random("file", 3 * page);
      for (const parts of [
        [[0, page]],
        [
          [0, page],
          [page, 2 * page],
          [2 * page, 3 * page],
        ],
        [[1, page]],
        [
          [9 * page + 7, 9 * page + 8],
          [5, 2 * page],
        ],
      ] as const) {
        using ring = new RawRing({ entries: 4 });
        const buffer = shared(size);
        const expected = Buffer.alloc(size);
        let position = 0;
        for (const [start, end] of parts) position += content.copy(expected, start, position, position + end - start);
        ring.registerBuffers([buffer]);
        const fd = openSync(path, "r");
        ring.prepReadvFixed(
          fd,
          parts.map(([start, end]) => buffer.subarray(start, end)),
          0,
          0,
          1,
        );
        expect([resultOf(ring), Buffer.compare(buffer, expected)]).toEqual([position, 0]);
        closeSync(fd);
      }
    },
  );

  needs("READV_FIXED (Linux 6.15)")(
    "keep the list of their parts until the kernel has read it, even on SQPOLL and with many requests queued",
    () => {
      using folder = new Folder();
      const { path, content } = folder.random("file", 64 * 16);
      for (const flags of Object.values(kinds)) {
        using ring = new RawRing({ entries: 16, flags });
        const buffer = shared(64 * 16);
        ring.registerBuffers([buffer]);
        const fd = openSync(path, "r");
        for (let round = 0; round < 4; round++) {
          buffer.fill(0);
          for (let request = 0; request < 16; request++) {
            const start = request * 64;
            whenRoom(ring, () =>
              ring.prepReadvFixed(
                fd,
                [buffer.subarray(start, start + 32), buffer.subarray(start + 32, start + 64)],
                start,
                0,
                request,
              ),
            );
          }
          Bun.gc(true);
          expect(waitFor(ring, 16).map(([, result]) => result)).toEqual(new Array<number>(16).fill(64));
          expect(Buffer.compare(buffer, content)).toBe(0);
        }
        closeSync(fd);
      }
    },
  );

  needs("READV_FIXED (Linux 6.15)")(
    "with parts outside the buffer are rejected, by the library if it knows the buffer, else by the kernel",
    async () => {
      using source = new RawRing({ entries: 1 });
      using ring = new RawRing({ entries: 1 });
      const memory = new SharedArrayBuffer(3 * page);
      source.registerBuffers([new Uint8Array(memory, page, page)]);
      ring.cloneBuffers({ fd: source.fd });
      using ends = pipe();
      writeSync(ends.writeFd, "content");
      const parts = { under: [page - 1, 1], over: [2 * page, 1], across: [2 * page - 1, 2] } as const;
      for (const [start, length] of Object.values(parts)) {
        const outside = new Uint8Array(memory, start, length);
        expect((await thrown(() => source.prepReadvFixed(ends.readFd, [outside], -1, 0, 1))).name).toBe("RangeError");
        ring.prepReadvFixed(ends.readFd, [outside], -1, 0, 1);
        expect(resultOf(ring)).toBe(EFAULT);
      }
      const refused: Record<string, unknown[]> = {
        RangeError: [
          [],
          [new Uint8Array(memory, page, 0)],
          new Array<Uint8Array>(1025).fill(new Uint8Array(memory, page, 1)),
        ],
        TypeError: [undefined, new Uint8Array(memory, page, 1), [null], [new Uint8Array(8)]],
      };
      for (const [name, values] of Object.entries(refused)) {
        for (const value of values) {
          const error = await thrown(() =>
            Reflect.apply(source.prepReadvFixed, source, [ends.readFd, value, -1, 0, 1]),
          );
          expect([value, error.name]).toEqual([value, name]);
        }
      }
      expect(source.submit()).toBe(0);
    },
  );

  test("are rejected by a kernel that lacks them, with a hint that names the Linux version that has them", async () => {
    const { opcodes } = kernel();
    if (!(opcodes instanceof Set)) throw new Error("not a Set");
    const known = opcodes.delete(IORING_OP_READV_FIXED);
    try {
      using ring = new RawRing({ entries: 1 });
      const buffer = shared(4096);
      ring.registerBuffers([buffer]);
      const error = await uringError(() => ring.prepReadvFixed(0, [buffer], 0, 0, 1));
      expect([error.code, error.syscall, error.hint]).toEqual([
        "EOPNOTSUPP",
        "readv_fixed",
        expect.stringContaining("Linux 6.15"),
      ]);
      expect(ring.submit()).toBe(0);
    } finally {
      if (known) opcodes.add(IORING_OP_READV_FIXED);
    }
  });
});

test("a buffer may be registered at any 512-byte boundary of a page, and O_DIRECT may read into it at any other", () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 128 * 1024);
  const fd = openSync(path, directFlags(path));
  const buffer = shared(512 * 1024);
  using ring = new RawRing({ entries: 8 });
  for (const offset of [0, 512, 3584]) {
    ring.registerBuffers([buffer.subarray(offset)]);
    for (const [start, length] of [
      [offset, 4096],
      [4096, 8192],
      [4096, 4096],
      [4096 + 512, 64 * 1024],
    ] as const) {
      const bytes = buffer.subarray(start, start + length);
      bytes.fill(0);
      ring.prepReadFixed(fd, bytes, 0, 0, 1);
      expect([resultOf(ring), Buffer.compare(bytes, content.subarray(0, length))]).toEqual([length, 0]);
    }
    ring.unregisterBuffers();
  }
  closeSync(fd);
});
