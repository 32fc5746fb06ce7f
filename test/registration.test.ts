import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { BufferPool, type CloneOptions, constants, RawRing, Ring, UringError } from "bun-uring";
import { clonesOf, kernel } from "../lib/uring/kernel.ts";
import { needs } from "./support/capabilities.ts";
import { uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { fc } from "./support/properties.ts";
import { leavingNothing, pinnedKb } from "./support/resources.ts";
import { completions, pieces, readThrough, ringWith, shared } from "./support/rings.ts";
import { TestWorker } from "./support/workers.ts";

const { IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER } = constants;

const clone = "io_uring_clone_buffers";

/** Returns a clone from a ring with `entries` buffers to an empty one. */
function cloneOf(entries: number, options?: CloneOptions): () => void {
  return () => {
    using source = ringWith(entries).ring;
    using destination = new RawRing();
    destination.cloneBuffers(source, options);
  };
}

/** Every error of a clone, with a call that causes it. */
const cloneErrors: Record<string, [code: string, errno: number, act: () => void]> = {
  "from a source without buffers": [
    "ENXIO",
    -6,
    () => {
      using source = new RawRing();
      using destination = new RawRing();
      destination.cloneBuffers(source);
    },
  ],
  "to a destination that has buffers": [
    "EBUSY",
    -16,
    () => {
      using source = ringWith(1).ring;
      using destination = ringWith(1).ring;
      destination.cloneBuffers(source);
    },
  ],
  "to a destination that has a sparse table": [
    "EBUSY",
    -16,
    () => {
      using source = ringWith(1).ring;
      using destination = new RawRing();
      destination.registerSparseBuffers(1);
      destination.cloneBuffers(source);
    },
  ],
  "of more entries than the source has": ["EINVAL", -22, cloneOf(2, { count: 3 })],
  "past the source's end": ["EOVERFLOW", -75, cloneOf(4, { sourceOffset: 2, count: 3 })],
  "past 16384 entries of the destination": ["EINVAL", -22, cloneOf(2, { destinationOffset: 16383, count: 2 })],
  "with count 0 and an offset": ["EINVAL", -22, cloneOf(2, { sourceOffset: 1 })],
  "of a ring to itself without replace": [
    "EBUSY",
    -16,
    () => {
      using source = ringWith(2).ring;
      source.cloneBuffers(source);
    },
  ],
  "from a descriptor that is not a ring": [
    "EOPNOTSUPP",
    -95,
    () => {
      using ends = pipe();
      using destination = new RawRing();
      destination.cloneBuffers({ fd: ends.readFd });
    },
  ],
  "from a closed descriptor": [
    "EBADF",
    -9,
    () => {
      using destination = new RawRing();
      const { ring } = ringWith(1);
      ring.close();
      destination.cloneBuffers({ fd: ring.fd });
    },
  ],
};

const ranged = new Set([
  "of more entries than the source has",
  "past the source's end",
  "past 16384 entries of the destination",
  "with count 0 and an offset",
]);

for (const [how, [code, errno, act]] of Object.entries(cloneErrors)) {
  needs(ranged.has(how) ? "clone of ranges (Linux 6.13)" : "clone (Linux 6.12)")(
    `a clone ${how} throws ${code} and leaves nothing behind`,
    () =>
      leavingNothing(async () => {
        const error = await uringError(act);
        expect([error.code, error.errno, error.syscall]).toEqual([code, errno, clone]);
      }),
  );
}

needs("clone (Linux 6.12)")(
  "a clone from another thread's SINGLE_ISSUER ring throws EEXIST, or works if the kernel allows it; from a plain ring it works",
  async () => {
    using destination = new RawRing();
    const owner = new TestWorker<{ single: number; plain: number }>("ring-owner", {
      single: IORING_SETUP_SINGLE_ISSUER,
      deferred: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    });
    const { single, plain } = await owner.answer();
    try {
      destination.cloneBuffers({ fd: single });
      destination.unregisterBuffers(); // Linux 6.12 to 6.16 allow it, and the clone is a table like any other
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      expect([error.code, error.errno, error.syscall]).toEqual(["EEXIST", -17, clone]);
    }
    destination.cloneBuffers({ fd: plain });
    await owner.terminate();
  },
);

needs("clone (Linux 6.12)")("an unknown clone flag fails with EINVAL", async () => {
  // The public method cannot pass an unknown flag, so the test calls the shim directly.
  const { native } = await import("../lib/uring/native.ts");
  const { scratch } = await import("../lib/uring/scratch.ts");
  const out = scratch(11 * 8);
  expect(native().ringInit(1, 0, 0, 0, out.address)).toBe(0);
  const address = Number(out.longs[0]);
  using source = ringWith(1).ring;
  expect(native().ringClone(address, source.fd, 0, 0, 0, 4)).toBe(-22);
  expect(native().ringClose(address)).toBe(0);
});

test("a request on an empty entry, or past the table's end, completes with EFAULT", () => {
  using folder = new Folder();
  const path = folder.write("file", "x");
  using ring = new RawRing();
  ring.registerSparseBuffers(2);
  expect(readThrough(ring, path, shared(4096), 0)).toBe(-14);
  expect(readThrough(ring, path, shared(4096), 5)).toBe(-14);
});

test("unregistering twice throws ENXIO", async () => {
  using ring = ringWith(1).ring;
  ring.unregisterBuffers();
  const error = await uringError(() => ring.unregisterBuffers());
  expect([error.code, error.errno, error.syscall]).toEqual(["ENXIO", -6, "io_uring_unregister_buffers"]);
});

test("registering twice throws EBUSY, and updating without a table throws ENXIO", async () => {
  using ring = ringWith(1).ring;
  expect((await uringError(() => ring.registerBuffers([shared(4096)]))).code).toBe("EBUSY");
  expect((await uringError(() => ring.registerSparseBuffers(1))).code).toBe("EBUSY");
  ring.unregisterBuffers();
  expect((await uringError(() => ring.updateBuffers(0, [shared(4096)]))).code).toBe("ENXIO");
});

test("a buffer of more than 1 GiB is registered if the kernel accepts it; otherwise the error is EFAULT and names the limit", () => {
  using ring = new RawRing();
  try {
    ring.registerBuffers([new SharedArrayBuffer(2 ** 30 + 4096)]);
    ring.unregisterBuffers(); // Linux 7.3 accepts it
  } catch (error) {
    if (!(error instanceof UringError)) throw error;
    expect([error.code, error.hint]).toEqual(["EFAULT", expect.stringContaining("1 GiB")]);
  }
});

needs("clone (Linux 6.12)")(
  "a clone of a whole table reads the same memory, adds nothing to VmPin, and outlives its source",
  async () => {
    using folder = new Folder();
    const path = folder.write("file", "Z");
    const { ring: source, pages } = ringWith(3);
    using destination = new RawRing();
    const pinned = pinnedKb();
    destination.cloneBuffers(source);
    expect(pinnedKb()).toBe(pinned);
    source.close();
    for (const [index, page] of pages.entries()) {
      expect(readThrough(destination, path, page, index)).toBe(1);
      expect(page[0]).toBe(90);
    }
  },
);

needs("clone of ranges (Linux 6.13)")(
  "a clone at an offset fills only its range and leaves gaps empty; `replace` overwrites entries and grows the table",
  () => {
    using folder = new Folder();
    const path = folder.write("file", "Z");
    const { ring: source, pages } = ringWith(4);
    using _source = source;
    using destination = new RawRing();
    destination.cloneBuffers(source, { destinationOffset: 2, sourceOffset: 1, count: 2 });
    const result = (page: number, index: number) => readThrough(destination, path, pages[page] ?? shared(1), index);
    expect([result(1, 2), result(2, 3), result(0, 0), result(0, 1), result(0, 4)]).toEqual([1, 1, -14, -14, -14]);
    destination.cloneBuffers(source, { destinationOffset: 3, sourceOffset: 0, count: 4, replace: true });
    expect([result(1, 2), result(0, 3), result(1, 4), result(2, 5), result(3, 6)]).toEqual([1, 1, 1, 1, 1]);
    destination.cloneBuffers(destination, { destinationOffset: 0, sourceOffset: 2, count: 1, replace: true });
    expect([result(1, 0), result(0, 1), result(0, 3)]).toEqual([1, -14, 1]);
  },
);

needs("clone of ranges (Linux 6.13)")(
  "after a clone of a whole table from a bare descriptor, the ring leaves it to the kernel to check its entries",
  () => {
    using folder = new Folder();
    const path = folder.write("file", "Z");
    const old = shared(4096);
    const { ring: source, pages } = ringWith(2);
    using _source = source;
    using destination = new RawRing();
    destination.registerBuffers([old]);
    destination.cloneBuffers({ fd: source.fd }, { replace: true });
    expect(pages.map((page, index) => readThrough(destination, path, page, index))).toEqual([1, 1]);
    expect(readThrough(destination, path, old, 0)).toBe(-14);
  },
);

/** For each of the first `count` entries, the index of the page that can be read through it, or undefined. */
function contents(ring: RawRing, path: string, pages: readonly Uint8Array[], count: number): (number | undefined)[] {
  // A ring that does not know its table's entries lets the kernel check any page through any entry.
  using bare = new RawRing();
  bare.cloneBuffers({ fd: ring.fd });
  return Array.from({ length: count }, (_, index) => {
    const found = pages.findIndex((page) => readThrough(bare, path, page, index) === 1);
    return found === -1 ? undefined : found;
  });
}

for (const way of ["as this kernel does it", "with the workaround for kernels that get it wrong"]) {
  describe(`a clone that replaces entries, ${way}`, () => {
    const found = kernel();
    const { cloneAbility } = found;
    const needsRanges = needs("clone of ranges (Linux 6.13)");
    beforeAll(() => {
      if (way !== "as this kernel does it") Object.assign(found, { cloneAbility: cloneAbility & 3 });
    });
    afterAll(() => {
      Object.assign(found, { cloneAbility });
    });

    needsRanges("changes only its range, whatever the lengths of both tables, and leaves nothing behind", () =>
      leavingNothing(() => {
        using folder = new Folder();
        const path = folder.write("file", "Z");
        const offset = fc.nat(9);
        fc.assert(
          fc.property(
            fc.integer({ min: 1, max: 9 }),
            fc.integer({ min: 1, max: 9 }),
            offset,
            offset,
            fc.nat(9),
            fc.boolean(),
            (mine, theirs, to, from, count, bare) => {
              const pages = pieces(mine + theirs);
              using destination = new RawRing({ entries: 1 });
              using source = new RawRing({ entries: 1 });
              destination.registerBuffers(pages.slice(0, mine));
              source.registerBuffers(pages.slice(mine));
              const before = Array.from({ length: mine }, (_, index) => index);
              const whole = count === 0 && to === 0 && from === 0;
              const fits = whole || (count > 0 && count <= theirs && from + count <= theirs);
              const clone = () =>
                destination.cloneBuffers(bare ? { fd: source.fd } : source, {
                  destinationOffset: to,
                  sourceOffset: from,
                  count,
                  replace: true,
                });
              let expected: (number | undefined)[] = before;
              if (fits) {
                clone();
                expected = Array.from(
                  { length: Math.max(mine, to + (whole ? theirs : count)) },
                  (_, index) => before[index],
                );
                for (let entry = 0; entry < (whole ? theirs : count); entry++)
                  expected[to + entry] = mine + from + entry;
              } else {
                expect(clone).toThrow(UringError);
              }
              expect(contents(destination, path, pages, expected.length + 1)).toEqual([...expected, undefined]);
            },
          ),
          { numRuns: 60 },
        );
      }),
    );

    needsRanges("works between a ring's own entries", () => {
      using folder = new Folder();
      const path = folder.write("file", "Z");
      const { ring, pages } = ringWith(4);
      using _ring = ring;
      ring.cloneBuffers(ring, { destinationOffset: 1, sourceOffset: 0, count: 2, replace: true });
      expect(contents(ring, path, pages, 5)).toEqual([0, 0, 1, 3, undefined]);
    });

    needsRanges("works in a table whose entries the ring does not know", () => {
      using folder = new Folder();
      const path = folder.write("file", "Z");
      const { ring: source, pages } = ringWith(6);
      using _source = source;
      using ring = new RawRing();
      ring.cloneBuffers({ fd: source.fd });
      ring.cloneBuffers({ fd: source.fd }, { destinationOffset: 2, sourceOffset: 5, count: 1, replace: true });
      expect(contents(ring, path, pages, 7)).toEqual([0, 1, 5, 3, 4, 5, undefined]);
    });

    needsRanges("posts the tag of the replaced entry and no other, or is refused", async () => {
      const ring = new RawRing({ entries: 4 });
      using _ring = ring;
      using source = ringWith(1).ring;
      const pages = pieces(3);
      ring.registerBuffers(pages, [11, 22, 33]);
      const clone = () => ring.cloneBuffers(source, { destinationOffset: 1, sourceOffset: 0, count: 1, replace: true });
      if (clonesOf(found.cloneAbility).replaceKeepsTail) {
        clone();
        ring.submit();
        expect(completions(ring)).toEqual([[22, 0]]);
      } else {
        const error = await uringError(clone);
        expect([error.code, error.hint]).toEqual(["EOPNOTSUPP", expect.stringContaining("6.18.44")]);
        expect(completions(ring)).toEqual([]);
        ring.unregisterBuffers();
        ring.registerBuffers(pages);
        clone();
      }
    });

    needsRanges("does not keep several pools of one ring pinned after they are closed", () =>
      leavingNothing(async () => {
        const pools = [1, 2, 3, 4].map(() => new BufferPool({ count: 1, size: 65536 }));
        const ring = new Ring({ pool: pools });
        expect(ring.bufferSource).toBe("cloned");
        await ring.close();
        for (const pool of pools) pool.close();
      }),
    );
  });
}

needs("clone (Linux 6.12)")(
  "a clone is a snapshot: updating or unregistering the source's buffers later does not change it",
  () => {
    using folder = new Folder();
    const path = folder.write("file", "Z");
    const { ring: source, pages } = ringWith(2);
    using _source = source;
    const [first = shared(1)] = pages;
    using destination = new RawRing();
    destination.cloneBuffers(source);
    const replacement = shared(4096);
    expect(source.updateBuffers(0, [replacement])).toBe(1);
    expect([readThrough(destination, path, first, 0), readThrough(source, path, replacement, 0)]).toEqual([1, 1]);
    expect(() => source.prepReadFixed(0, first, 0, 0, 1)).toThrow(RangeError);
    source.unregisterBuffers();
    expect(readThrough(destination, path, first, 0)).toBe(1);
  },
);

needs("clone (Linux 6.12)")(
  "a tag is posted when the kernel is done with its buffer, and clones carry no tags",
  async () => {
    using source = new RawRing();
    source.registerBuffers([shared(4096), shared(4096), null], [77, 0, 0]);
    using destination = new RawRing();
    destination.cloneBuffers(source);
    destination.unregisterBuffers();
    const seen: number[] = [];
    const look = async (ring: RawRing, count: number) => {
      // Older kernels post tags from a worker, some time later.
      for (let turn = 0; turn < 500 && seen.length < count; turn++) {
        ring.submit();
        ring.forEachCompletion((tag) => seen.push(tag));
        if (seen.length < count) await Bun.sleep(10);
      }
    };
    expect(source.updateBuffers(0, [shared(4096)], [88])).toBe(1);
    await look(source, 1);
    expect(seen).toEqual([77]);
    expect(source.updateBuffers(0, [null])).toBe(1);
    await look(source, 2);
    expect(seen).toEqual([77, 88]);
    destination.forEachCompletion((tag) => seen.push(tag));
    expect(seen).toEqual([77, 88]);
  },
);

needs("clone (Linux 6.12)")(
  "clones work whether or not the source and destination have registered their ring descriptors, in one thread or between two",
  async () => {
    using folder = new Folder();
    const path = folder.write("file", "Z");
    for (const sourceRegistered of [false, true]) {
      for (const destinationRegistered of [false, true]) {
        const { ring: source, pages } = ringWith(1);
        using _source = source;
        using destination = new RawRing();
        if (sourceRegistered) source.registerRingFd();
        if (destinationRegistered) destination.registerRingFd();
        destination.cloneBuffers(source);
        expect(readThrough(destination, path, pages[0] ?? shared(1), 0)).toBe(1);
        const other = new TestWorker<string>("ring-cloner", { fd: source.fd, register: destinationRegistered });
        expect(await other.answer()).toBe("cloned");
        await other.ended;
        if (destinationRegistered) destination.unregisterRingFd();
      }
    }
  },
);

test("registering the ring descriptor twice throws EEXIST, unregistering it while it is not registered throws EINVAL", async () => {
  using ring = new RawRing();
  expect((await uringError(() => ring.unregisterRingFd())).code).toBe("EINVAL");
  ring.registerRingFd();
  expect((await uringError(() => ring.registerRingFd())).code).toBe("EEXIST");
  ring.unregisterRingFd();
  ring.registerRingFd();
});

test("memory removed from the table stays alive while a request in flight can still write to it", () =>
  leavingNothing(async () => {
    using ends = pipe();
    using ring = new RawRing();
    let collected = 0;
    const registry = new FinalizationRegistry<string>(() => collected++);
    (() => {
      const memory = new SharedArrayBuffer(65536);
      registry.register(memory, "memory");
      const bytes = new Uint8Array(memory);
      ring.registerBuffers([bytes]);
      ring.prepReadFixed(ends.readFd, bytes, -1, 0, 1);
      ring.submit();
      ring.updateBuffers(0, [null]); // before Linux 6.13, unregisterBuffers() would wait for the read
    })();
    for (let round = 0; round < 10; round++) {
      Bun.gc(true);
      await new Promise(setImmediate);
    }
    expect(collected).toBe(0);
  }));
