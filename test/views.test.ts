/** The library takes the bounds of a program's views from the engine, not from the views' own properties. */

import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { BufferPool, constants, copyFile, hashFile, RawRing, Ring } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { resultOf } from "./support/rings.ts";

const zeros = openSync("/dev/zero", "r");
const sink = openSync("/dev/null", "w");
afterAll(() => {
  closeSync(zeros);
  closeSync(sink);
});

const page = 4096;
const lies = { length: 3 * page, byteLength: 3 * page, byteOffset: 0, buffer: new SharedArrayBuffer(3 * page) };

class Lying extends Uint8Array<SharedArrayBuffer> {
  override get length(): never {
    return lies.length as never;
  }
  override get byteLength(): never {
    return lies.byteLength as never;
  }
  override get byteOffset(): never {
    return lies.byteOffset as never;
  }
  override get buffer(): never {
    return lies.buffer as never;
  }
}

function withOwnProperties(bytes: Uint8Array): Uint8Array {
  return Object.defineProperties(
    bytes,
    Object.fromEntries(Object.entries(lies).map(([name, value]) => [name, { value }])),
  );
}

/** Views of `length` bytes at `offset` of a memory, which claim to be three pages from its beginning. */
const liars: Record<string, (memory: SharedArrayBuffer, offset: number, length: number) => Uint8Array> = {
  "a subclass's getters": (memory, offset, length) => new Lying(memory, offset, length),
  "own properties": (memory, offset, length) => withOwnProperties(new Uint8Array(memory, offset, length)),
  "a replaced prototype": (memory, offset, length) =>
    Object.setPrototypeOf(
      new Uint8Array(memory, offset, length),
      Object.create(Uint8Array.prototype, { length: { value: lies.length }, byteLength: { value: lies.byteLength } }),
    ),
  "a Buffer's own properties": (memory, offset, length) =>
    withOwnProperties(Object.setPrototypeOf(new Uint8Array(memory, offset, length), Buffer.prototype)),
};

/** A ring whose first buffer is the whole memory of three pages, filled with ones. */
function three(): { ring: RawRing; memory: SharedArrayBuffer; all: Uint8Array } {
  const memory = new SharedArrayBuffer(3 * page);
  const all = new Uint8Array(memory).fill(1);
  const ring = new RawRing({ entries: 8 });
  ring.registerBuffers([memory, null]);
  return { ring, memory, all };
}

function zeroed(all: Uint8Array): [first: number, end: number] {
  return [all.indexOf(0), all.lastIndexOf(0) + 1];
}

for (const [kind, make] of Object.entries(liars)) {
  describe(`with wrong bounds from ${kind},`, () => {
    test("reads and writes keep to the view's real bounds, the first time and later", () => {
      const { ring, memory, all } = three();
      using _ring = ring;
      const bytes = make(memory, page, 512);
      for (let time = 0; time < 2; time++) {
        all.fill(1);
        ring.prepReadFixed(zeros, bytes, 0, 0, 7);
        expect(resultOf(ring)).toBe(512);
        expect(zeroed(all)).toEqual([page, page + 512]);
        ring.prepWriteFixed(sink, bytes, 0, 0, 7);
        expect(resultOf(ring)).toBe(512);
      }
    });

    needs("READV_FIXED (Linux 6.15)")("vectored reads and writes keep to the views' real bounds", () => {
      const { ring, memory, all } = three();
      using _ring = ring;
      const parts = [make(memory, page, 512), make(memory, 2 * page, 100)];
      ring.prepReadvFixed(zeros, parts, 0, 0, 7);
      expect(resultOf(ring)).toBe(612);
      expect([zeroed(all), all.indexOf(1, page), all.indexOf(1, 2 * page)]).toEqual([
        [page, 2 * page + 100],
        page + 512,
        2 * page + 100,
      ]);
      ring.prepWritevFixed(sink, parts, 0, 0, 7);
      expect(resultOf(ring)).toBe(612);
    });

    test("registrations and updates cover only the view's real bytes", async () => {
      const { ring, memory, all } = three();
      using _ring = ring;
      ring.updateBuffers(1, [make(memory, page, page)]);
      ring.prepReadFixed(zeros, all.subarray(page, 2 * page), 0, 1, 7);
      expect(resultOf(ring)).toBe(page);
      expect((await thrown(() => ring.prepReadFixed(zeros, all, 0, 1, 7))).message).toContain(
        "within the registered buffer 1, 4096 bytes",
      );
      ring.unregisterBuffers();
      ring.registerBuffers([make(memory, page, page)]);
      expect((await thrown(() => ring.prepReadFixed(zeros, all, 0, 0, 7))).message).toContain(
        "within the registered buffer 0, 4096 bytes",
      );
    });

    test("a view outside its registered buffer is refused, and the error names the real bounds", async () => {
      const { ring, memory } = three();
      using _ring = ring;
      ring.updateBuffers(1, [new Uint8Array(memory, 0, page)]);
      const error = await thrown(() => ring.prepReadFixed(zeros, make(memory, page, 512), 0, 1, 7));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toContain("512 bytes outside it (byteOffset 4096, length 512)");
    });
  });
}

test("Proxies, objects that only have a view's prototype, other views and non-objects are refused, before and after a valid view", async () => {
  const { ring, memory } = three();
  using _ring = ring;
  const real = new Uint8Array(memory, 0, 512);
  const others: unknown[] = [
    new Proxy(real, {}),
    Object.create(Uint8Array.prototype),
    Object.setPrototypeOf(new DataView(memory), Uint8Array.prototype),
    Object.setPrototypeOf(new Uint8Array(memory), null),
    new Uint16Array(memory),
    undefined,
    null,
    0,
  ];
  for (let time = 0; time < 2; time++) {
    for (const other of others) {
      const bytes = other as Uint8Array;
      for (const use of [
        () => ring.prepReadFixed(zeros, bytes, 0, 0, 7),
        () => ring.prepWriteFixed(sink, bytes, 0, 0, 7),
      ])
        expect(await thrown(use)).toBeInstanceOf(TypeError);
      if (other !== null) expect(await thrown(() => ring.updateBuffers(1, [bytes]))).toBeInstanceOf(TypeError);
    }
    ring.prepReadFixed(zeros, real, 0, 0, 7);
    expect(resultOf(ring)).toBe(512);
  }
});

test("the length of a view that grows with its memory is read for each request", async () => {
  const memory = new SharedArrayBuffer(page, { maxByteLength: 4 * page });
  const growing = new Uint8Array(memory);
  using ring = new RawRing({ entries: 8 });
  ring.registerBuffers([memory]);
  ring.prepWriteFixed(sink, growing, 0, 0, 7);
  expect(resultOf(ring)).toBe(page);
  memory.grow(2 * page);
  expect((await thrown(() => ring.prepWriteFixed(sink, growing, 0, 0, 7))).message).toContain("8192 bytes outside it");
  expect(ring.updateBuffers(0, [memory])).toBe(1);
  ring.prepWriteFixed(sink, growing, 0, 0, 7);
  expect(resultOf(ring)).toBe(2 * page);
});

test("properties that are added to a view after its first use change nothing", () => {
  const { ring, memory, all } = three();
  using _ring = ring;
  const bytes = new Uint8Array(memory, page, 512);
  ring.prepReadFixed(zeros, bytes, 0, 0, 7);
  expect(resultOf(ring)).toBe(512);
  all.fill(1);
  withOwnProperties(bytes);
  ring.prepReadFixed(zeros, bytes, 0, 0, 7);
  expect([resultOf(ring), ...zeroed(all)]).toEqual([512, page, page + 512]);
});

needs("6 GiB of memory")("a view of 4 GiB, whose length would be 0 in a request, is refused", async () => {
  using ring = new RawRing({ entries: 2 });
  ring.registerSparseBuffers(1);
  const bytes = new Uint8Array(new SharedArrayBuffer(2 ** 32));
  for (const use of [
    () => ring.prepReadFixed(zeros, bytes, 0, 0, 1),
    () => ring.prepWriteFixed(sink, bytes, 0, 0, 1),
  ]) {
    const error = await thrown(use);
    expect([error instanceof RangeError, error.message]).toEqual([
      true,
      expect.stringContaining("at most 2147479552 bytes long"),
    ]);
  }
  expect(ring.submit()).toBe(0);
});

test("an element of a list of tags or descriptors is read once, so its getter cannot change it after the check", async () => {
  const { ring, memory } = three();
  using _ring = ring;
  let reads = 0;
  const turning = (first: number, later: unknown) =>
    Object.defineProperty([0], 0, {
      get: () => {
        reads++;
        return reads === 1 ? first : later;
      },
    });
  ring.updateBuffers(0, [memory], turning(5, "tag"));
  expect(reads).toBe(1);
  reads = 0;
  ring.registerFiles(turning(zeros, -3));
  expect(reads).toBe(1);
});

test("attach() takes the lengths of a handle's memories from the engine, and receive() reads a token's numbers once", async () => {
  using pool = new BufferPool({ count: 2, size: page, hugePages: false });
  const handle = pool.share();
  const short = Object.defineProperty(new SharedArrayBuffer(page), "byteLength", { value: 2 * page });
  expect((await thrown(() => BufferPool.attach({ ...handle, memories: [short] }))).message).toContain(
    "handle.memories[0] must be a SharedArrayBuffer of 8192 bytes",
  );
  const control = Object.defineProperty(new SharedArrayBuffer(64), "byteLength", { value: handle.control.byteLength });
  expect((await thrown(() => BufferPool.attach({ ...handle, control }))).message).toContain("handle.control");

  using buffer = await pool.acquire();
  const { slotIndex: index } = buffer;
  const token = buffer.handOver();
  let reads = 0;
  const turning = Object.defineProperty({ ...token }, "slotIndex", { get: () => (reads++ === 0 ? index : 1000) });
  using received = pool.receive(turning);
  expect([received.slotIndex, reads]).toEqual([index, 1]);
});

test("a ring that a getter of its argument closes refuses the registration", async () => {
  const memory = new Uint8Array(new SharedArrayBuffer(page));
  const calls: Readonly<Record<string, (ring: RawRing, closing: <Item>(items: Item[]) => Item[]) => unknown>> = {
    registerBuffers: (ring, closing) => ring.registerBuffers(closing([memory])),
    updateBuffers: (ring, closing) => ring.updateBuffers(0, closing([memory])),
    registerFiles: (ring, closing) => ring.registerFiles(closing([-1])),
    updateFiles: (ring, closing) => ring.updateFiles(0, closing([-1])),
  };
  for (const [name, act] of Object.entries(calls)) {
    const ring = new RawRing({ entries: 1 });
    const others: RawRing[] = [];
    const closing = <Item>(items: Item[]) =>
      new Proxy(items, {
        get: (target, key) => {
          if (key === "0" && !ring.closed) {
            ring.close();
            others.push(new RawRing({ entries: 1 })); // its memory may be where the closed one's was
          }
          return Reflect.get(target, key);
        },
      });
    expect(await thrown(() => act(ring, closing)), name).toMatchObject({ code: "EBADF" });
    for (const other of others) {
      other.registerBuffers([memory]);
      other.close();
    }
  }
});

test("options that are accessors of a class, or a prototype's, count as an object's own do", async () => {
  using folder = new Folder();
  const path = folder.write("file", "0123456789");
  await using ring = new Ring();
  await using file = await ring.open(path, Object.create({ flags: "r+" }));
  class At {
    readonly #position: number;
    constructor(position: number) {
      this.#position = position;
    }
    get position(): number {
      return this.#position;
    }
  }
  const bytes = new Uint8Array(new SharedArrayBuffer(2));
  await ring.read(file, bytes, new At(4));
  await ring.write(file, bytes, new At(8));
  expect(await file.readFile("utf8")).toBe("0123456745");
  const other = folder.write("other", "precious");
  expect(
    await thrown(() => ring.rename(path, other, Object.create({ flags: constants.RENAME_NOREPLACE }))),
  ).toMatchObject({
    code: "EEXIST",
  });
  expect(await thrown(() => copyFile(path, other, Object.create({ mode: 1 })))).toMatchObject({ code: "EEXIST" });
  expect((await hashFile(path, Object.create({ algorithm: "sha512" }))).length).toBe(128);
});
