import { expect, test } from "bun:test";
import { readFileSync, readSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import type { Socket } from "node:net";
import { BufferPool, type FixedBuffer, openHandles, type ReadableOptions, Ring, type RingFile } from "bun-uring";
import { heapHeadroom } from "../lib/base/memory.ts";
import { readableOf } from "../lib/ring/readable.ts";
import type { StreamedFile } from "../lib/ring/stream-memory.ts";
import { writableOf } from "../lib/ring/writable.ts";
import { needs } from "./support/capabilities.ts";
import { collect } from "./support/collect.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { FaultyFiles } from "./support/faulty-files.ts";
import { Folder } from "./support/files.ts";
import { ask, askThroughSmallBuffer, dial, requestText } from "./support/http.ts";
import { pipe, terminal } from "./support/pipes.ts";
import { execute } from "./support/programs.ts";
import { fc } from "./support/properties.ts";
import { fdsOf, fdsUnder, leavingNothing } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";
import type { StreamerAnswer, StreamerJob } from "./workers/jobs.ts";

const slotBytes = 4096;

/**
 * Runs `body` with a pool of few slots and a ring that uses it. At the end every slot has to be back, those of dropped
 * chunks after a garbage collection, and nothing may be in flight.
 */
async function withStreams(
  body: (parts: { ring: Ring; pool: BufferPool; folder: Folder }) => Promise<void>,
  slots = 3,
  size = slotBytes,
): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    using pool = new BufferPool({ count: slots, size });
    await using ring = new Ring({ pool });
    await body({ ring, pool, folder });
    await collect(() => pool.available === slots);
    expect(pool.stats()).toMatchObject({ available: slots, held: 0, waiting: 0 });
    expect(ring.inFlight).toBe(0);
  });
}

/** Content in which no two aligned words are the same, so that bytes from the wrong position are noticed. */
function positional(sizeBytes: number): Buffer {
  const words = Uint32Array.from({ length: Math.ceil(sizeBytes / 4) }, (_, index) => index * 2654435761);
  return Buffer.from(words.buffer, 0, sizeBytes);
}

function isDisposable(value: object): value is Disposable {
  return Symbol.dispose in value;
}

/** Disposes a chunk if it is a zero-copy chunk, which gives its slot back. */
function dispose(chunk: object | undefined): void {
  if (chunk !== undefined && isDisposable(chunk)) chunk[Symbol.dispose]();
}

/** Waits for `count` turns of the event loop. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

async function contentOf(stream: ReadableStream<Uint8Array>, pause = 0): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of stream) {
    await turns(pause);
    parts.push(Buffer.from(chunk));
  }
  return Buffer.concat(parts);
}

function hasClosed(file: RingFile, path: string): boolean {
  return file.closed && fdsOf(path) === 0;
}

const sizes = fc.oneof(fc.constantFrom(0, 1, 4095, 4096, 4097, 3 * 4096, 65536, 65537), fc.nat(100_000));

test("a stream delivers any part of a file as node:fs reads it: with and without a pool, copied or not, at any depth, with a reader of any speed", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(100_000);
    const path = folder.write("file", content);
    await using file = await ring.open(path);
    const options = fc.record({
      kind: fc.constantFrom("own memory", "copies", "slots"),
      position: fc.nat(110_000),
      length: fc.option(sizes, { nil: undefined }),
      depth: fc.integer({ min: 1, max: 9 }),
      pause: fc.nat(2),
    });
    await fc.assert(
      fc.asyncProperty(options, async ({ kind, position, length, depth, pause }) => {
        const memory: ReadableOptions = kind === "own memory" ? {} : { pool, zeroCopy: kind === "slots" };
        const stream = file.readable({ ...memory, position, depth, ...(length === undefined ? {} : { length }) });
        const end = length === undefined ? content.length : position + length;
        expect((await contentOf(stream, pause)).equals(content.subarray(position, end))).toBe(true);
      }),
    );
  }));

test("several streams share fewer slots than they ask for, and all of them finish", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(200_000);
    await using file = await ring.open(folder.write("file", content));
    const streams = Array.from({ length: 8 }, (_, index) =>
      contentOf(file.readable({ pool, zeroCopy: index % 2 === 0 }), index % 3),
    );
    for (const read of await Promise.all(streams)) expect(read.equals(content)).toBe(true);
  }));

test("chunks that are copies may be kept: by tee(), by a transform, by a Response, or by a consumer that collects them", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(300_000);
    await using file = await ring.open(folder.write("file", content));
    for (const memory of [{ pool }, {}]) {
      const [fast, late] = file.readable(memory).tee();
      expect((await contentOf(fast)).equals(content)).toBe(true);
      expect((await contentOf(late)).equals(content)).toBe(true);
      expect(
        (await contentOf(file.readable(memory).pipeThrough(new TransformStream<Uint8Array, Uint8Array>()))).equals(
          content,
        ),
      ).toBe(true);
      expect(Buffer.from(await new Response(file.readable(memory)).arrayBuffer()).equals(content)).toBe(true);
      expect(Buffer.concat(await Array.fromAsync(file.readable(memory))).equals(content)).toBe(true);
      const written: Uint8Array[] = [];
      await file
        .readable(memory)
        .pipeTo(new WritableStream({ write: (chunk) => void written.push(chunk) }, { highWaterMark: 5 }));
      expect(Buffer.concat(written).equals(content)).toBe(true);
    }
  }));

test("a BYOB reader gets the whole file in its own buffers, of any size, and then the end of the stream", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(1_000_000);
    await using file = await ring.open(folder.write("file", content));
    for (const memory of [{ pool }, {}]) {
      for (const size of [1000, 4096, 10_000, 100_000, 2_000_000]) {
        const reader = file.readable({ ...memory, type: "bytes" }).getReader({ mode: "byob" });
        const parts: Uint8Array[] = [];
        for (let buffer = new Uint8Array(size); ; ) {
          const { value, done } = await reader.read(buffer);
          if (done || value === undefined) break;
          parts.push(value.slice());
          buffer = new Uint8Array(value.buffer);
        }
        expect(Buffer.concat(parts).equals(content)).toBe(true);
      }
    }
  }));

/** Takes all free slots, overwrites them, and gives them back. */
function overwriteFreeSlots(pool: BufferPool): void {
  const free: FixedBuffer[] = [];
  for (let buffer = pool.tryAcquire(); buffer !== undefined; buffer = pool.tryAcquire()) free.push(buffer);
  for (const buffer of free) {
    buffer.bytes.fill(0xee);
    buffer.release();
  }
}

/** Ways in which a stream ends while its consumer holds a chunk. */
const endings: Readonly<
  Record<
    string,
    (parts: { stopping: AbortController; iterator: AsyncIterator<Uint8Array>; file: RingFile; ring: Ring }) => unknown
  >
> = {
  "the signal aborts": ({ stopping }) => stopping.abort(),
  "the consumer leaves the loop": ({ iterator }) => iterator.return?.(),
  "the signal aborts and the file and the ring close": async ({ stopping, iterator, file, ring }) => {
    stopping.abort();
    await thrown(() => iterator.return?.()); // fails with the reason, as cancel() of a failed stream does
    await file.close();
    await ring.close();
  },
};

for (const [ending, end] of Object.entries(endings)) {
  test(`after ${ending}, a zero-copy chunk and its subarrays stay valid until they are disposed or garbage-collected, and nothing is reported as dropped`, () =>
    withStreams(async ({ pool, folder }) => {
      const content = positional(100_000);
      const path = folder.write("file", content);
      const warnings: Error[] = [];
      const note = (warning: Error) => warnings.push(warning);
      process.on("warning", note);
      const first = async (part: boolean) => {
        const ring = new Ring({ pool });
        const stopping = new AbortController();
        const file = await ring.open(path);
        const stream = file.readable({ pool, zeroCopy: true, autoClose: true, signal: stopping.signal });
        const iterator = stream[Symbol.asyncIterator]();
        const { value = new Uint8Array() } = await iterator.next();
        const parts = { stopping, iterator, file, ring };
        return { chunk: part ? value.subarray(1000).subarray(1000, 2000) : value, from: part ? 2000 : 0, parts };
      };
      for (const part of [false, true]) {
        for (const how of ["disposed", "collected"]) {
          const keep = async () => {
            const { chunk, from, parts } = await first(part);
            await end(parts);
            await collect(() => pool.available === pool.count, 10);
            expect(pool.stats()).toMatchObject({ available: pool.count - 1, held: 1 });
            overwriteFreeSlots(pool);
            expect(Buffer.compare(chunk, content.subarray(from, from + chunk.length))).toBe(0);
            if (how === "disposed") {
              dispose(chunk);
              expect(pool.available).toBe(pool.count);
              dispose(chunk); // the second time does nothing
            }
            await parts.ring.close();
          };
          await keep();
          await collect(() => pool.available === pool.count);
          expect(pool.available).toBe(pool.count);
        }
      }
      await turns(3);
      process.off("warning", note);
      expect(warnings).toEqual([]);
    }));
}

test("a zero-copy chunk stays valid while the stream reads ahead, and after its file and its ring are closed", () =>
  withStreams(async ({ pool, folder }) => {
    const content = positional(100_000);
    const path = folder.write("file", content);
    await using ring = new Ring({ pool });
    const file = await ring.open(path);
    const reader = file.readable({ pool, zeroCopy: true, depth: 2 }).getReader();
    const { value: first } = await reader.read();
    while (ring.inFlight > 0) await turns(1);
    overwriteFreeSlots(pool);
    expect(content.subarray(0, slotBytes).equals(first ?? new Uint8Array())).toBe(true);
    const { value: second } = await reader.read();
    await file.close();
    await ring.close();
    overwriteFreeSlots(pool);
    expect(content.subarray(slotBytes, 2 * slotBytes).equals(second ?? new Uint8Array())).toBe(true);
    dispose(second);
    await thrown(async () => {
      while (!(await reader.read()).done);
    });
    expect(pool.available).toBe(pool.count);
  }));

test("a loop that disposes each chunk gives all slots back without a garbage collection, even if it breaks or throws", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(10 * slotBytes);
    await using file = await ring.open(folder.write("file", content));
    /** How many slots are free after the reads ahead have completed. */
    const available = async () => {
      while (ring.inFlight > 0) await turns(1);
      return pool.available;
    };
    const parts: Buffer[] = [];
    for await (using chunk of file.readable({ pool, zeroCopy: true })) parts.push(Buffer.from(chunk));
    expect(Buffer.concat(parts).equals(content)).toBe(true);
    expect(await available()).toBe(pool.count);
    for await (using _ of file.readable({ pool, zeroCopy: true })) break;
    expect(await available()).toBe(pool.count);
    const reason = new Error("enough");
    const failing = async () => {
      for await (using _ of file.readable({ pool, zeroCopy: true })) throw reason;
    };
    expect(await thrown(failing)).toBe(reason);
    expect(await available()).toBe(pool.count);
  }));

test("a zero-copy chunk is an open handle while its stream is open, and not after that", () =>
  withStreams(async ({ ring, pool, folder }) => {
    await using file = await ring.open(folder.write("file", positional(100_000)));
    const before = openHandles();
    const slots = () =>
      openHandles().filter((handle) => handle.kind === "FixedBuffer" && !before.includes(handle)).length;
    const reader = file.readable({ pool, zeroCopy: true, depth: 1 }).getReader();
    const { value: chunk } = await reader.read();
    expect(slots()).toBe(2);
    await reader.cancel();
    while (ring.inFlight > 0) await turns(1);
    expect([slots(), pool.stats().held]).toEqual([0, 1]);
    dispose(chunk);
  }));

test("slice(), map() and filter() of a zero-copy chunk return plain Uint8Arrays, which outlive the chunk", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(slotBytes);
    await using file = await ring.open(folder.write("file", content));
    const reader = file.readable({ pool, zeroCopy: true }).getReader();
    const { value: chunk = new Uint8Array() } = await reader.read();
    expect([isDisposable(chunk), pool.available < pool.count]).toEqual([true, true]);
    const copies = [chunk.slice(), chunk.map((byte) => byte), chunk.filter(() => true)];
    dispose(chunk);
    await reader.cancel();
    while (ring.inFlight > 0) await turns(1); // a read that was cancelled keeps its slot until it completes
    expect(pool.available).toBe(pool.count);
    overwriteFreeSlots(pool);
    for (const copy of copies) {
      expect([Object.getPrototypeOf(copy) === Uint8Array.prototype, isDisposable(copy)]).toEqual([true, false]);
      expect(content.equals(copy)).toBe(true);
    }
  }));

test("a zero-copy chunk that another stream writes stays valid until it is copied, even if its own stream has ended and the program has dropped it", () =>
  withStreams(
    async ({ ring, pool, folder }) => {
      const content = positional(pool.size);
      await using file = await ring.open(folder.write("file", content));
      using ends = pipe();
      const to = await ring.open(`/proc/self/fd/${ends.writeFd}`, "w");
      const from = await ring.open(`/proc/self/fd/${ends.readFd}`);
      ends.closeWriteFd();
      const writer = to.writable({ autoClose: true }).getWriter();
      const begin = async () => {
        const reader = file.readable({ pool, zeroCopy: true }).getReader();
        const writing = writer.write((await reader.read()).value ?? "");
        await reader.cancel();
        return { writing };
      };
      const { writing } = await begin();
      for (let turn = 0; turn < 10; turn++) {
        await collect(() => pool.available === pool.count, 3);
        overwriteFreeSlots(pool);
      }
      const read = contentOf(from.readable({ autoClose: true }));
      await writing;
      await writer.close();
      expect((await read).equals(content)).toBe(true);
    },
    3,
    2 ** 18,
  ));

test("when a stream ends, the slot of a chunk that was garbage-collected comes back at once", () =>
  withStreams(async ({ ring, pool, folder }) => {
    await using file = await ring.open(folder.write("file", positional(100_000)));
    const reader = file.readable({ pool, zeroCopy: true, depth: 1, length: slotBytes }).getReader();
    const readAndDrop = async () => {
      const { value } = await reader.read();
      return new WeakRef(value ?? {});
    };
    const dropped = await readAndDrop();
    await collect(() => dropped.deref() === undefined);
    expect(pool.available).toBe(pool.count - 1);
    await reader.cancel();
    expect(pool.available).toBe(pool.count);
  }));

needs("a processor that is not emulated")(
  "however many clients stop reading, others are still served, by streams as in the recipe and by acquire()",
  () =>
    withStreams(async ({ ring, pool, folder }) => {
      const content = positional(8 * 2 ** 20);
      const path = folder.write("file", content);
      const large = folder.write("large", "");
      truncateSync(large, 2 ** 30); // more than sockets hold
      await using server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        idleTimeout: 0, // the stalled clients must not be disconnected
        async fetch(request) {
          const { pathname } = new URL(request.url);
          if (pathname === "/slot") {
            using buffer = await pool.acquire();
            return new Response(`${buffer.bytes.length}`);
          }
          const file = await ring.open(pathname === "/large" ? large : path);
          return new Response(file.readable({ pool, zeroCopy: pathname !== "/copies", autoClose: true }));
        },
      });
      const stalled: Socket[] = [];
      for (let client = 0; client < 40; client++) stalled.push(dial(server.url, requestText("/large")).pause());
      while (pool.available > 1 || fdsOf(large) < stalled.length) await turns(1);
      for (const asked of ["/", "/copies", "/"]) {
        const answer = await ask(server.url, asked);
        expect([answer.status, answer.complete, answer.body.equals(content)]).toEqual([200, true, true]);
        expect((await ask(server.url, "/slot")).body.toString()).toBe(`${slotBytes}`);
      }
      expect([pool.available, fdsOf(large)]).toEqual([1, stalled.length]);
      for (const socket of stalled) socket.destroy();
      await collect(() => pool.available === pool.count && fdsOf(large) === 0);
      expect([pool.available, fdsOf(large)]).toEqual([pool.count, 0]);
      expect((await ask(server.url, "/")).body.equals(content)).toBe(true);
    }, 8),
);

test("zero-copy chunks that Bun.serve sends reach slow clients unchanged, however few slots the pool has", async () => {
  using folder = new Folder();
  const content = positional(2 * 2 ** 20 + 17);
  const path = folder.write("file", content);
  for (const [slots, size] of [
    [1, 65536],
    [3, 5000],
    [3, 2 ** 20],
    [4, 65536],
  ] as const) {
    await withStreams(
      async ({ ring, pool }) => {
        await using server = Bun.serve({
          port: 0,
          hostname: "127.0.0.1",
          fetch: async () => new Response((await ring.open(path)).readable({ pool, zeroCopy: true, autoClose: true })),
        });
        const buffersBytes = [4096, 65536, 262144];
        const clients = Array.from({ length: times(8) }, (_, index) =>
          askThroughSmallBuffer(server.url, "/", buffersBytes[index % buffersBytes.length] ?? 0, () => turns(index)),
        );
        for (const { complete, body } of await Promise.all(clients))
          expect([complete, body.equals(content)]).toEqual([true, true]);
        expect(fdsOf(path)).toBe(0);
      },
      slots,
      size,
    );
  }
});

test("fetch uploads the right content from zero-copy chunks", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(2 ** 20);
    await using file = await ring.open(folder.write("file", content));
    await using server = Bun.serve({
      port: 0,
      fetch: async (request) => new Response(`${content.equals(Buffer.from(await request.arrayBuffer()))}`),
    });
    const uploaded = await fetch(server.url, { method: "POST", body: file.readable({ pool, zeroCopy: true }) });
    expect(await uploaded.text()).toBe("true");
  }));

test("files are copied from slot to slot of one pool, even if reading ahead could take all of its slots", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(300_000);
    const source = folder.write("file", content);
    const copies = Array.from({ length: 4 }, async (_, index) => {
      const from = await ring.open(source);
      const path = `${folder.path}/copy${index}`;
      const to = await ring.open(path, "w");
      await from.readable({ pool, zeroCopy: true, autoClose: true }).pipeTo(to.writable({ pool, autoClose: true }));
      expect(readFileSync(path).equals(content)).toBe(true);
    });
    await Promise.all(copies);
  }));

test("a stream that is cancelled at any moment closes its file and gives back all slots except that of the consumer's chunk", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const path = folder.write("file", positional(100_000));
    const moment = fc.record({
      zeroCopy: fc.boolean(),
      depth: fc.integer({ min: 1, max: 6 }),
      chunks: fc.nat(30),
      pause: fc.nat(3),
      midRead: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(moment, async ({ zeroCopy, depth, chunks, pause, midRead }) => {
        const file = await ring.open(path);
        const reader = file.readable({ pool, zeroCopy, depth, autoClose: true }).getReader();
        let last: Uint8Array | undefined;
        for (let chunk = 0; chunk < chunks; chunk++) last = (await reader.read()).value;
        const reading = midRead ? reader.read() : undefined;
        await turns(pause);
        await reader.cancel();
        const read = (await reading)?.value;
        expect(hasClosed(file, path)).toBe(true);
        if (!midRead || !zeroCopy) expect(pool.count - pool.available).toBe(zeroCopy && last !== undefined ? 1 : 0);
        else expect(pool.count - pool.available).toBeLessThanOrEqual(1);
        dispose(last);
        dispose(read);
        expect(pool.available).toBe(pool.count);
      }),
    );
  }));

test("a signal that aborts at any moment ends the stream with its reason, and all slots come back except that of the consumer's chunk", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const path = folder.write("file", positional(100_000));
    const moment = fc.record({
      zeroCopy: fc.boolean(),
      depth: fc.integer({ min: 1, max: 6 }),
      chunks: fc.nat(20),
      pause: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(moment, async ({ zeroCopy, depth, chunks, pause }) => {
        const file = await ring.open(path);
        const aborting = new AbortController();
        const reason = new Error("enough");
        const reader = file.readable({ pool, zeroCopy, depth, autoClose: true, signal: aborting.signal }).getReader();
        let last: Uint8Array | undefined;
        for (let chunk = 0; chunk < chunks; chunk++) last = (await reader.read()).value;
        const read: (Uint8Array | undefined)[] = [last];
        const note = ({ value }: { value?: Uint8Array | undefined }) => void read.push(value);
        const reading = Promise.allSettled([reader.read().then(note), reader.read().then(note)]);
        const closed = thrown(() => reader.closed);
        await turns(pause);
        aborting.abort(reason);
        expect(await closed).toBe(reason);
        await reading;
        while (!hasClosed(file, path)) await turns(1);
        expect(hasClosed(file, path)).toBe(true);
        expect(pool.count - pool.available).toBeLessThanOrEqual(zeroCopy ? 1 : 0);
        for (const chunk of read) dispose(chunk);
        expect(pool.available).toBe(pool.count);
      }),
    );
  }));

test("a stream whose pool has no slot to spare still delivers the right content, and never takes the last slot", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(200_000);
    const path = folder.write("file", content);
    await using file = await ring.open(path);
    for (const free of [0, 1]) {
      const taken = Array.from({ length: pool.count - free }, () => pool.tryAcquire());
      for (const zeroCopy of [true, false]) {
        const parts: Buffer[] = [];
        for await (const chunk of file.readable({ pool, zeroCopy })) {
          parts.push(Buffer.from(chunk));
          expect(pool.stats()).toMatchObject({ available: free, waiting: 0 });
        }
        expect(Buffer.concat(parts).equals(content)).toBe(true);
        const copy = `${folder.path}/copy`;
        const to = await ring.open(copy, "w");
        await file.readable({ pool, zeroCopy }).pipeTo(to.writable({ pool, autoClose: true }));
        expect(readFileSync(copy).equals(content)).toBe(true);
        expect(pool.available).toBe(free);
      }
      for (const buffer of taken) buffer?.release();
    }
  }));

test("a stream that waits for data from a pipe can be cancelled", () =>
  withStreams(async ({ ring, pool }) => {
    using ends = pipe();
    const piped = await ring.open(`/proc/self/fd/${ends.readFd}`);
    const reader = piped.readable({ pool, zeroCopy: true, position: null, autoClose: true }).getReader();
    const reading = reader.read();
    await turns(2);
    await reader.cancel();
    expect((await reading).done).toBe(true);
    expect(piped.closed).toBe(true);
  }));

test("a failed read is the stream's error, at once if the file is a folder; a file that is truncated meanwhile ends early", () =>
  withStreams(async ({ ring, pool, folder }) => {
    for (const memory of [{ pool, zeroCopy: true }, { pool }, {}]) {
      const directory = await ring.open(folder.path);
      const error = await uringError(() =>
        directory
          .readable({ ...memory, autoClose: true })
          .getReader()
          .read(),
      );
      expect([error.code, directory.closed]).toEqual(["EISDIR", true]);

      const content = positional(200_000);
      const path = folder.write("cut", content);
      const file = await ring.open(path);
      const reader = file.readable({ ...memory, depth: 1, autoClose: true }).getReader();
      const { value: first } = await reader.read();
      truncateSync(path, 100_000);
      let bytes = first?.length ?? 0;
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        const expected = content.subarray(bytes, bytes + next.value.length);
        expect(Buffer.from(next.value).equals(expected)).toBe(true);
        bytes += next.value.length;
      }
      expect(bytes).toBeLessThanOrEqual(200_000);
      expect(bytes).toBeGreaterThanOrEqual(100_000);
      expect(hasClosed(file, path)).toBe(true);
    }
  }));

test("chunks of any size and kind, written at any position, produce the file that node:fs would write", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const path = folder.write("file", "");
    const chunk = fc.oneof(
      fc.uint8Array({ maxLength: 10 }),
      fc.integer({ min: 0, max: 40_000 }).map((length) => positional(length)),
      fc.string({ unit: "grapheme", maxLength: 20 }),
    );
    const plan = fc.record({
      chunks: fc.array(chunk, { maxLength: 8 }),
      position: fc.nat(10_000),
      depth: fc.integer({ min: 1, max: 6 }),
      pooled: fc.boolean(),
      durable: fc.boolean(),
      appends: fc.boolean(),
    });
    const before = positional(5000);
    await fc.assert(
      fc.asyncProperty(plan, async ({ chunks, position, depth, pooled, durable, appends }) => {
        writeFileSync(path, before);
        const file = await ring.open(path, appends ? "a" : "r+");
        const writer = file
          .writable({ ...(pooled ? { pool } : {}), position, depth, durable, autoClose: true })
          .getWriter();
        for (const one of chunks) {
          const reused = typeof one === "string" ? one : Uint8Array.from(one);
          await writer.write(reused);
          // A chunk that has been written belongs to the caller again.
          if (typeof reused !== "string") reused.fill(0xee);
        }
        await writer.close();
        const written = Buffer.concat(chunks.map((one) => (typeof one === "string" ? Buffer.from(one) : one)));
        const from = appends ? before.length : position;
        const expected = Buffer.alloc(
          written.length === 0 ? before.length : Math.max(before.length, from + written.length),
        );
        before.copy(expected);
        written.copy(expected, from);
        expect(readFileSync(path).equals(expected)).toBe(true);
        expect(hasClosed(file, path)).toBe(true);
      }),
    );
  }));

test("if every write goes to the end of the file, one write is in flight at a time", async () => {
  for (const [appends, expected] of [
    [true, 1],
    [false, 4],
  ] as const) {
    let inFlight = 0;
    let most = 0;
    const file: StreamedFile = {
      appends,
      seekable: true,
      positionBytes: 1,
      paused: false,
      assertHas: () => undefined,
      async transfer(_direction, bytes) {
        inFlight++;
        most = Math.max(most, inFlight);
        await turns(1);
        inFlight--;
        return bytes.length;
      },
      transferFixed: () => Promise.reject(new Error("there is no pool")),
      datasync: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
    await new Blob([positional(1_000_000)]).stream().pipeTo(writableOf(file, {}));
    expect(most).toBe(expected);
  }
});

/** A file whose transfers complete when the test says so, or at once. */
class HeldFile implements StreamedFile {
  completesAtOnce = false;
  readonly appends = false;
  readonly seekable = true;
  readonly positionBytes = 1;
  paused = false;
  readonly assertHas = () => undefined;
  readonly transfers: { readonly bytes: Uint8Array; readonly position: unknown; complete(bytes?: number): void }[] = [];

  transfer(_direction: "read" | "write", bytes: Uint8Array, position: unknown, signal: AbortSignal): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    signal.addEventListener("abort", () => reject(signal.reason));
    this.transfers.push({ bytes, position, complete: (transferred = bytes.length) => resolve(transferred) });
    if (this.completesAtOnce) resolve(bytes.length);
    return promise;
  }

  transferFixed(): Promise<number> {
    return Promise.reject(new Error("there is no pool"));
  }

  datasync(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

test("without a pool, a stream reads one chunk at a time as long as the data is in memory, and up to depth if it waits", async () => {
  for (const [depth, isInMemory, expected] of [
    [4, true, 1],
    [4, false, 4],
    [2, false, 2],
  ] as const) {
    const file = new HeldFile();
    file.completesAtOnce = isInMemory;
    const reader = readableOf(file, { depth }).getReader();
    for (let chunk = 0; chunk < 3; chunk++) {
      const reading = reader.read();
      await turns(1);
      expect(file.transfers.length).toBe(chunk + expected);
      file.transfers[chunk]?.complete();
      await reading;
    }
    await reader.cancel();
  }
});

test("without a pool, each chunk is memory of its own, holds nothing but the chunk, and is at most 512 KiB large", () =>
  withStreams(async ({ ring, folder }) => {
    for (const sizeBytes of [1, 4096, 65_536, 65_537, 3_000_000]) {
      const content = positional(sizeBytes);
      await using file = await ring.open(folder.write("file", content));
      for (const options of [{}, { type: "bytes" }, { position: null }, { length: 70_000 }] as const) {
        const chunks = await Array.fromAsync(file.readable(options));
        for (const { buffer, byteOffset, length } of chunks) {
          expect([byteOffset, length]).toEqual([0, buffer.byteLength]);
          expect([buffer instanceof ArrayBuffer, length <= 2 ** 19]).toEqual([true, true]);
        }
        expect(new Set(chunks.map(({ buffer }) => buffer)).size).toBe(chunks.length);
      }
    }
  }));

test("streams of large chunks share one headroom in the heap, until the last of them has ended", () =>
  withStreams(async ({ ring, folder }) => {
    await using file = await ring.open(folder.write("file", positional(3_000_000)));
    const streams = [file.readable().getReader(), file.readable().getReader()];
    const readLarge = async (reader: { read(): Promise<{ readonly value?: Uint8Array | undefined }> }) => {
      while ((await reader.read()).value?.length !== 2 ** 19);
    };
    const share = async () => {
      for (const stream of streams) await readLarge(stream);
      return new WeakRef(heapHeadroom());
    };
    const headroom = await share();
    const isGone = () => headroom.deref() === undefined;
    for (const stream of streams) {
      await turns(1);
      Bun.gc(true);
      expect(isGone()).toBe(false);
      await stream.cancel();
    }
    await collect(isGone);
    expect([isGone(), streams.length]).toEqual([true, 2]); // although the streams are still referenced
  }));

test("memory that an aborted read may still write is never given to anyone", async () => {
  for (const isBytes of [false, true]) {
    const file = new HeldFile();
    const stopping = new AbortController();
    const stream = readableOf(file, { signal: stopping.signal, ...(isBytes ? { type: "bytes" } : {}) });
    const byob = isBytes ? stream.getReader({ mode: "byob" }) : undefined;
    const reader = byob === undefined ? stream.getReader() : undefined;
    const read = async () => (await (byob?.read(new Uint8Array(100_000)) ?? reader?.read()))?.value;
    const first = read();
    await turns(1);
    file.transfers[0]?.bytes.fill(0x61);
    file.transfers[0]?.complete();
    const value = await first;
    const second = thrown(read);
    await turns(1);
    expect(file.transfers.length).toBeGreaterThan(1);
    stopping.abort(new Error("enough"));
    expect((await second).message).toBe("enough");
    for (const { bytes } of file.transfers.slice(1)) bytes.fill(0xee);
    expect(value?.every((byte) => byte === 0x61)).toBe(true);
  }
});

test("a BYOB reader's memory is read into directly, and is its own again when the read has completed", async () => {
  const file = new HeldFile();
  const reader = readableOf(file, { type: "bytes" }).getReader({ mode: "byob" });
  for (let round = 0; round < 3; round++) {
    const reading = reader.read(new Uint8Array(100_000));
    await turns(1);
    expect(file.transfers.map(({ bytes, position }) => [bytes.length, position])[round]).toEqual([
      100_000,
      round * 70_000,
    ]);
    file.transfers[round]?.bytes.fill(round + 1, 0, 70_000);
    file.transfers[round]?.complete(70_000);
    const { value } = await reading;
    expect([value?.length, value?.buffer.byteLength, value?.every((byte) => byte === round + 1)]).toEqual([
      70_000,
      100_000,
      true,
    ]);
  }
  await reader.cancel();
});

test("a BYOB read of a pipe can be cancelled, and one whose reader lets go of the stream loses no data", () =>
  withStreams(async ({ ring }) => {
    using ends = pipe();
    await using file = await ring.open(`/proc/self/fd/${ends.readFd}`);
    const stream = file.readable({ type: "bytes" });
    const first = stream.getReader({ mode: "byob" });
    const reading = thrown(() => first.read(new Uint8Array(100_000)));
    await turns(2);
    expect(ring.inFlight).toBe(1);
    first.releaseLock();
    expect(await reading).toBeInstanceOf(TypeError);
    writeSync(ends.writeFd, "what came later");
    const second = stream.getReader({ mode: "byob" });
    const { value } = await second.read(new Uint8Array(100_000));
    expect(Buffer.from(value ?? []).toString()).toBe("what came later");
    const last = second.read(new Uint8Array(100_000));
    await turns(2);
    await second.cancel();
    expect((await last).done).toBe(true);
    while (ring.inFlight > 0) await turns(1);
  }));

needs("mounts of FUSE")(
  "memory of an aborted read that is still in progress goes to nobody else, even if its stream is dropped and memory is collected",
  () =>
    withStreams(async ({ ring }) => {
      await using files = await FaultyFiles.mount();
      const name = "read-held-0-0";
      const begin = async () => {
        await using file = await ring.open(files.of(name)); // its close waits for the read
        const stopping = new AbortController();
        const reading = thrown(() => file.readable({ signal: stopping.signal }).getReader().read());
        await files.held(name);
        stopping.abort(new Error("enough"));
        expect((await reading).message).toBe("enough");
      };
      const closing = begin();
      await files.held(name);
      await turns(3);
      Bun.gc(true);
      const others = Array.from({ length: 500 }, () => Buffer.allocUnsafeSlow(2 ** 16).fill(0x55));
      expect(ring.inFlight).toBeGreaterThan(0);
      files.release();
      await closing;
      while (ring.inFlight > 0) await turns(1);
      expect(others.every((other) => other.every((byte) => byte === 0x55))).toBe(true);
    }),
);

test("a chunk is written at once if no write is in flight; chunks that come meanwhile share a write, in order", async () => {
  const file = new HeldFile();
  const writer = writableOf(file, {}).getWriter();
  const written = () => file.transfers.map(({ bytes, position }) => [Buffer.from(bytes).toString(), position]);
  await writer.write("one ");
  expect(written()).toEqual([["one ", 0]]);
  await writer.write("two ");
  await writer.write("three ");
  await turns(3);
  expect(written().length).toBe(1);
  file.transfers[0]?.complete();
  await turns(1);
  expect(written()).toEqual([
    ["one ", 0],
    ["two three ", 4],
  ]);
  await writer.write("four");
  const closing = writer.close();
  await turns(1);
  expect(written().slice(2)).toEqual([["four", 14]]);
  for (const { complete } of file.transfers) complete();
  await closing;
});

test("memory of a write is used again only when the write has completed, and never after an abort", async () => {
  const file = new HeldFile();
  const writer = writableOf(file, { depth: 2 }).getWriter();
  const closed = thrown(() => writer.closed);
  const inFlight: HeldFile["transfers"] = [];
  const chunk = new Uint8Array(2 ** 19);
  for (let write = 0; write < 20; write++) {
    const writing = writer.write(chunk);
    await turns(1);
    while (inFlight.length < 2 && file.transfers.length > 0) inFlight.push(...file.transfers.splice(0, 1));
    const buffers = [...inFlight, ...file.transfers].map(({ bytes }) => bytes.buffer);
    expect(new Set(buffers).size).toBe(buffers.length);
    for (const { complete } of [...inFlight.splice(0), ...file.transfers.splice(0)]) complete();
    await turns(2);
    for (const { complete } of file.transfers.splice(0)) complete();
    await writing;
  }
  const held = writer.write(chunk);
  held.catch(() => undefined);
  await turns(1);
  const aborting = writer.abort(new Error("enough"));
  const used = file.transfers.length;
  await aborting;
  await turns(2);
  expect((await closed).message).toBe("enough");
  expect(file.transfers.length).toBe(used);
});

test("a stream reports the error that ended it, not a later error from closing its file", async () => {
  const file: StreamedFile = {
    appends: false,
    seekable: true,
    positionBytes: 1,
    paused: false,
    assertHas: () => undefined,
    transferFixed: () => Promise.resolve(0),
    transfer: () => Promise.reject(new Error("the transfer's error")),
    datasync: () => Promise.resolve(),
    close: () => Promise.reject(new Error("the close's error")),
  };
  expect((await thrown(() => readableOf(file, { autoClose: true }).getReader().read())).message).toBe(
    "the transfer's error",
  );
  const writing = new Blob([positional(1_000_000)]).stream().pipeTo(writableOf(file, { autoClose: true }));
  expect((await thrown(() => writing)).message).toBe("the transfer's error");
  const writer = writableOf(file, { autoClose: true }).getWriter();
  writer.closed.catch(() => undefined);
  await writer.write("x");
  expect((await thrown(() => writer.close())).message).toBe("the transfer's error");
});

test("a stream reads no more from a pipe than its consumer asks for", () =>
  withStreams(async ({ ring, pool }) => {
    const content = positional(10_000);
    using ends = pipe();
    for (const zeroCopy of [true, false]) {
      writeSync(ends.writeFd, content);
      await using file = await ring.open(`/proc/self/fd/${ends.readFd}`);
      const reader = file.readable({ pool, zeroCopy, position: null }).getReader();
      const { value } = await reader.read();
      const first = Buffer.from(value ?? []);
      await turns(3);
      await reader.cancel();
      const rest = Buffer.alloc(content.length);
      const restBytes = readSync(ends.readFd, rest, 0, rest.length, null);
      expect(Buffer.concat([first, rest.subarray(0, restBytes)]).equals(content)).toBe(true);

      writeSync(ends.writeFd, content);
      expect(
        (await contentOf(file.readable({ pool, zeroCopy, position: null, length: content.length }))).equals(content),
      ).toBe(true);
    }
  }));

test("a failed write is the stream's error, and the stream's slots come back", () =>
  withStreams(async ({ ring, pool, folder }) => {
    for (const memory of [{ pool }, {}]) {
      const path = folder.write("file", "");
      const file = await ring.open(path, "r");
      const writer = file.writable({ ...memory, autoClose: true }).getWriter();
      writer.closed.catch(() => undefined);
      const failures = await Promise.allSettled([writer.write("x"), writer.write(positional(50_000)), writer.close()]);
      expect(failures.some(({ status }) => status === "rejected")).toBe(true);
      expect((await uringError(() => writer.closed)).code).toBe("EBADF");
      expect(hasClosed(file, path)).toBe(true);

      const full = await ring.open("/dev/full", "w");
      const filling = full.writable({ ...memory, autoClose: true });
      const error = await uringError(() => new Blob([positional(50_000)]).stream().pipeTo(filling));
      expect([error.code, full.closed]).toEqual(["ENOSPC", true]);
    }
  }));

test("a stream that its writer or a signal aborts at any moment gives its slots back and closes its file", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const path = folder.write("file", "");
    const plan = fc.record({ pooled: fc.boolean(), bySignal: fc.boolean(), chunks: fc.nat(10), pause: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(plan, async ({ pooled, bySignal, chunks, pause }) => {
        const file = await ring.open(path, "r+");
        const aborting = new AbortController();
        const reason = new Error("enough");
        const writer = file
          .writable({ ...(pooled ? { pool } : {}), autoClose: true, signal: aborting.signal })
          .getWriter();
        const closed = thrown(() => writer.closed);
        const writing = Promise.allSettled(
          Array.from({ length: chunks }, (_, index) => writer.write(positional(index * 3000))),
        );
        await turns(pause);
        if (bySignal) aborting.abort(reason);
        else await writer.abort(reason);
        if (!bySignal) expect(hasClosed(file, path)).toBe(true);
        expect(await closed).toBe(reason);
        await writing;
        while (!hasClosed(file, path)) await turns(1);
        expect(pool.available).toBe(pool.count);
      }),
    );
  }));

test("a write to a full pipe can be aborted", () =>
  withStreams(async ({ ring, pool }) => {
    for (const bySignal of [true, false]) {
      using ends = pipe();
      const file = await ring.open(`/proc/self/fd/${ends.writeFd}`, "w");
      const aborting = new AbortController();
      const reason = new Error("enough");
      const writer = file.writable({ pool, position: null, autoClose: true, signal: aborting.signal }).getWriter();
      const closed = thrown(() => writer.closed);
      const writing = thrown(() => writer.write(positional(200_000)));
      await turns(5);
      expect(ring.inFlight).toBe(1);
      if (bySignal) aborting.abort(reason);
      else await writer.abort(reason);
      expect(await closed).toBe(reason);
      expect(await writing).toBe(reason);
      await file.close();
      expect(file.closed).toBe(true);
    }
  }));

test("closing the ring ends its streams with an error, and the slots come back", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", positional(100_000));
    using pool = new BufferPool({ count: 4, size: slotBytes });
    const ring = new Ring({ pool });
    const reader = (await ring.open(path)).readable({ pool, zeroCopy: true }).getReader();
    const writer = (await ring.open(`${folder.path}/new`, "w")).writable({ pool }).getWriter();
    await reader.read();
    await writer.write("x");
    await ring.close();
    const drained = async () => {
      while (!(await reader.read()).done);
    };
    expect((await uringError(drained)).code).toMatch(/EBADF|ECANCELED/);
    writer.closed.catch(() => undefined);
    await thrown(() => writer.write("y").then(() => writer.close()));
    expect(pool.available).toBe(pool.count);
    expect(fdsOf(path)).toBe(0);
  }));

test("closing the pool at any moment ends its streams with an error, after the chunks that were already read, and the slots come back", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const content = positional(100_000);
    const path = folder.write("file", content);
    const moment = fc.record({
      zeroCopy: fc.boolean(),
      depth: fc.integer({ min: 1, max: 6 }),
      chunks: fc.nat(10),
      microtasks: fc.nat(30),
    });
    await fc.assert(
      fc.asyncProperty(moment, async ({ zeroCopy, depth, chunks, microtasks }) => {
        const pool = new BufferPool({ count: 3, size: slotBytes, hugePages: false });
        await using ring = new Ring({ pool });
        const reader = (await ring.open(path)).readable({ pool, zeroCopy, depth }).getReader();
        for (let chunk = 0; chunk < chunks; chunk++) await reader.read();
        const reading = reader.read();
        for (let turn = 0; turn < microtasks; turn++) await Promise.resolve();
        pool.close();
        const outcome = await reading.catch((error) => error);
        if (outcome instanceof Error) expect(outcome).toMatchObject({ code: "EBADF" });
        else expect(content.subarray(chunks * slotBytes, (chunks + 1) * slotBytes).equals(outcome.value)).toBe(true);
        const drained = async () => {
          while (!(await reader.read()).done);
        };
        expect((await uringError(drained)).code).toBe("EBADF");
        expect(pool.stats().held).toBe(0);
      }),
    );
  }));

test("a stream still delivers what it read before its pool was closed", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const content = positional(3 * slotBytes);
    const path = folder.write("file", content);
    for (const zeroCopy of [true, false]) {
      const pool = new BufferPool({ count: 4, size: slotBytes, hugePages: false });
      await using ring = new Ring({ pool });
      const reader = (await ring.open(path)).readable({ pool, zeroCopy }).getReader();
      const parts = [Buffer.from((await reader.read()).value ?? [])];
      while (ring.inFlight > 0) await turns(1);
      pool.close();
      for (let part = 1; part < 3; part++) parts.push(Buffer.from((await reader.read()).value ?? []));
      expect(Buffer.concat(parts).equals(content)).toBe(true);
      await reader.cancel();
      await collect(() => pool.stats().held === 0);
      expect(pool.stats().held).toBe(0);
    }
  }));

/** Chunks that lie about what they are, each with its real bytes, or undefined if it is not a valid chunk. */
const oddChunks: Readonly<Record<string, () => { chunk: unknown; bytes: Uint8Array | undefined }>> = {
  "a subclass with its own length": () => {
    class Lying extends Uint8Array {
      override get length() {
        return 2 ** 20;
      }
      override get byteLength() {
        return 2 ** 20;
      }
      override get byteOffset() {
        return -4096;
      }
      override get buffer(): ArrayBuffer {
        throw new Error("the chunk's getter");
      }
    }
    const bytes = positional(5000);
    return { chunk: new Lying(bytes), bytes };
  },
  "a view with its own properties": () => {
    const bytes = positional(5000);
    const chunk = Object.defineProperties(new Uint8Array(bytes), {
      length: { value: 2 ** 33 },
      byteLength: { value: 2 ** 33 },
      byteOffset: { value: -1 },
    });
    return { chunk, bytes };
  },
  "a DataView of a part of its buffer": () => {
    const bytes = positional(5000);
    return { chunk: new DataView(new Uint8Array(bytes).buffer, 1000, 2000), bytes: bytes.subarray(1000, 3000) };
  },
  "a Uint16Array in the middle of its buffer": () => {
    const bytes = positional(5000);
    return { chunk: new Uint16Array(new Uint8Array(bytes).buffer, 2, 5), bytes: bytes.subarray(2, 12) };
  },
  "a growable SharedArrayBuffer": () => {
    const bytes = positional(5000);
    const memory = new SharedArrayBuffer(5000, { maxByteLength: 10_000 });
    new Uint8Array(memory).set(bytes);
    return { chunk: memory, bytes };
  },
  "an ArrayBuffer with another prototype": () => {
    const bytes = positional(5000);
    return { chunk: Object.setPrototypeOf(new Uint8Array(bytes).buffer, null), bytes };
  },
  "a string with a lone surrogate": () => ({ chunk: "\ud800x", bytes: Buffer.from("\ufffdx") }),
  "a detached view": () => {
    const chunk = new Uint8Array(5000);
    structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
    return { chunk, bytes: undefined };
  },
  "a Proxy": () => ({ chunk: new Proxy(new Uint8Array(5000), {}), bytes: undefined }),
  "a Proxy that throws": () => {
    const fail = () => {
      throw new TypeError("the Proxy's own");
    };
    return { chunk: new Proxy(new Uint8Array(5000), { get: fail, getPrototypeOf: fail, has: fail }), bytes: undefined };
  },
  "an object with a view's prototype": () => ({ chunk: Object.create(Uint8Array.prototype), bytes: undefined }),
  "an object with a buffer's prototype": () => ({ chunk: Object.create(ArrayBuffer.prototype), bytes: undefined }),
  "a String object": () => ({ chunk: Object("text"), bytes: undefined }),
  "a symbol": () => ({ chunk: Symbol("chunk"), bytes: undefined }),
  null: () => ({ chunk: null, bytes: undefined }),
};

for (const [name, make] of Object.entries(oddChunks)) {
  test(`a chunk that is ${name} is written with its real bytes, or fails only its own stream`, () =>
    withStreams(async ({ ring, pool, folder }) => {
      for (const memory of [{ pool }, {}]) {
        const path = folder.write("file", "");
        const file = await ring.open(path, "w");
        const other = await ring.open(`${folder.path}/other`, "w");
        const otherWriter = other.writable({ pool }).getWriter();
        await otherWriter.write("before, ");
        const { chunk, bytes } = make();
        const stream: WritableStream<unknown> = file.writable({ ...memory, autoClose: true });
        const writer = stream.getWriter();
        writer.closed.catch(() => undefined);
        await writer.write("head ");
        if (bytes === undefined) {
          expect(await thrown(() => writer.write(chunk))).toBeInstanceOf(TypeError);
        } else {
          await writer.write(chunk);
          await writer.close();
          expect(readFileSync(path).equals(Buffer.concat([Buffer.from("head "), bytes]))).toBe(true);
        }
        expect(hasClosed(file, path)).toBe(true);
        await otherWriter.write("after");
        await otherWriter.close();
        expect(readFileSync(`${folder.path}/other`, "utf8")).toBe("before, after");
        await other.close();
        expect([pool.available, ring.inFlight]).toEqual([pool.count, 0]);
      }
    }));
}

test("a chunk that shrinks during its write fails the write, and only bytes of the chunk are written", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const path = `${folder.path}/file`;
    for (const view of [false, true]) {
      overwriteFreeSlots(pool);
      const memory = new ArrayBuffer(20 * slotBytes, { maxByteLength: 40 * slotBytes });
      new Uint8Array(memory).fill(0x61);
      await using file = await ring.open(path, "w");
      const writer = file.writable({ pool }).getWriter();
      writer.closed.catch(() => undefined);
      const writing = thrown(() => writer.write(view ? new Uint8Array(memory, slotBytes, 19 * slotBytes) : memory));
      await Promise.resolve();
      memory.resize(5.5 * slotBytes);
      expect(await writing).toBeInstanceOf(TypeError);
      while (ring.inFlight > 0) await turns(1);
      expect(readFileSync(path, "latin1")).toMatch(/^a*$/);
    }
  }));

test("an error that a consumer or an option's getter throws affects only its own stream", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(100_000);
    const path = folder.write("file", content);
    const reason = new Error("thrown");
    for (const memory of [{ pool, zeroCopy: true }, { pool }, {}]) {
      const other = await ring.open(path);
      const reading = contentOf(other.readable({ ...memory, autoClose: true }), 1);
      const file = await ring.open(path);
      const consume = async () => {
        for await (const _ of file.readable({ ...memory, autoClose: true })) throw reason;
      };
      expect(await thrown(consume)).toBe(reason);
      expect(file.closed).toBe(true);
      const piped = await ring.open(path);
      const failing = new WritableStream<Uint8Array>({
        write() {
          throw reason;
        },
      });
      expect(await thrown(() => piped.readable({ ...memory, autoClose: true }).pipeTo(failing))).toBe(reason);
      expect(piped.closed).toBe(true);
      const options = {
        ...memory,
        get length(): number {
          throw reason;
        },
      };
      await using third = await ring.open(path);
      expect(await thrown(() => third.readable(options))).toBe(reason);
      expect((await reading).equals(content)).toBe(true);
    }
    expect(fdsOf(path)).toBe(0);
  }));

test("a pipe or a FIFO is streamed in order without a position, and refuses a position with ESPIPE", () =>
  withStreams(async ({ ring, pool, folder }) => {
    const content = positional(300_000);
    const fifo = `${folder.path}/fifo`;
    expect(Bun.spawnSync(["mkfifo", fifo]).exitCode).toBe(0);
    for (const memory of [{ pool, zeroCopy: true, depth: 8 }, { pool }, {}]) {
      const { zeroCopy: _, ...writing } = { zeroCopy: false, ...memory };
      {
        const [from, to] = await Promise.all([ring.open(fifo), ring.open(fifo, "w")]);
        const read = contentOf(from.readable({ ...memory, autoClose: true }), 1);
        await new Blob([content]).stream().pipeTo(to.writable({ ...writing, autoClose: true }));
        expect((await read).equals(content)).toBe(true);
      }
      {
        using ends = pipe();
        const from = await ring.open(`/proc/self/fd/${ends.readFd}`);
        const to = await ring.open(`/proc/self/fd/${ends.writeFd}`, "w");
        ends.closeWriteFd();
        for (const position of [0, 4096, 5n]) {
          for (const call of [
            () => from.readable({ ...memory, position }),
            () => to.writable({ ...writing, position }),
          ]) {
            const error = await uringError(call);
            expect([error.code, error.message]).toEqual([
              "ESPIPE",
              expect.stringContaining(`options.position is ${position}`),
            ]);
          }
        }
        const read = contentOf(from.readable({ ...memory, autoClose: true }), 1);
        await new Blob([content]).stream().pipeTo(to.writable({ ...writing, position: null, autoClose: true }));
        expect((await read).equals(content)).toBe(true);
      }
    }
  }));

needs("terminals")(
  "a terminal is read line by line and written without a position, and refuses a position with ESPIPE",
  () =>
    withStreams(async ({ ring, pool }) => {
      for (const memory of [{ pool, zeroCopy: true, depth: 8 }, { pool }, {}]) {
        using ends = terminal();
        await using file = await ring.open(ends.path, "r+");
        expect((await uringError(() => file.readable({ ...memory, position: 0 }))).code).toBe("ESPIPE");
        const reader = file.readable(memory).getReader();
        for (const line of ["one\n", "two\n"]) {
          writeSync(ends.fd, line);
          expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe(line);
        }
        await reader.cancel();
        const writer = file.writable(memory.pool === undefined ? {} : { pool }).getWriter();
        await writer.write("three\n");
        await writer.close();
        let echoed = "";
        while (!echoed.includes("three")) echoed += readSyncText(ends.fd);
      }
    }),
);

function readSyncText(fd: number): string {
  const bytes = Buffer.alloc(4096);
  return bytes.toString("latin1", 0, readSync(fd, bytes, 0, bytes.length, null));
}

needs("bash, split, sha256sum and perl")(
  "input from a shell's pipe, as /dev/stdin or as <(…), has the digest that sha256sum prints",
  async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 3_000_000);
    const program = `
    import { Ring } from ${JSON.stringify(new URL("../lib/index.ts", import.meta.url).pathname)};
    await using ring = new Ring();
    const file = await ring.open(process.argv[1]);
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of file.readable({ autoClose: true })) hash.update(chunk);
    console.log(hash.digest("hex"));`;
    const run = async (command: string) =>
      (await execute(["bash", "-c", command, "bash", path, process.execPath, program])).stdout.split(" ")[0]?.trim();
    const expected = await run('sha256sum "$1"');
    expect(await run('cat "$1" | "$2" -e "$3" /dev/stdin')).toBe(expected);
    expect(await run('"$2" -e "$3" <(cat "$1")')).toBe(expected);
    expect(await run('"$2" -e "$3" /dev/stdin < "$1"')).toBe(expected);
  },
);

for (const way of [
  "reads slots",
  "reads copies",
  "reads without a pool",
  "reads into its own memory",
  "writes without a pool",
  "writes",
  "pipes from slot to slot",
  "drops chunks",
  "serves",
] as const) {
  test(`a Worker that is terminated while it ${way} leaves no descriptor and no slot`, () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const source = folder.write("source", positional(500_000));
      if (way === "serves") truncateSync(source, 2 ** 30); // more than sockets hold
      using pool = new BufferPool({ count: 8, size: slotBytes });
      for (let round = 0; round < times(4); round++) {
        const worker = new TestWorker<StreamerAnswer>("streamer", {
          way,
          pool: pool.share(),
          source,
          target: `${folder.path}/target`,
        } satisfies StreamerJob);
        const { port } = await worker.answer();
        if (port === undefined) {
          await turns(round);
        } else {
          const url = new URL(`http://127.0.0.1:${port}`);
          const clients = Array.from({ length: 3 }, () => dial(url, requestText("/")).pause());
          while (fdsOf(source) < clients.length) await turns(1);
          clients[0]?.resume();
          await turns(round);
          await worker.terminate();
          for (const client of clients) client.destroy();
        }
        await worker.terminate();
        expect([fdsUnder(folder.path), pool.available, pool.stats().othersAttached]).toEqual([0, pool.count, 0]);
      }
    }));
}

for (const turns of [0, 1, 2, 3, 4, 6, 8, 12, 20]) {
  test(`a chunk that is detached ${turns} microtasks after its write began fails the write, and no slot is lost`, () =>
    withStreams(async ({ ring, pool, folder }) => {
      await using file = await ring.open(`${folder.path}/file`, "w+");
      const writer = file.writable({ pool }).getWriter();
      await writer.write("");
      const chunk = positional(20 * slotBytes);
      const { buffer } = new Uint8Array(chunk);
      const writing = writer.write(buffer);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      structuredClone(buffer, { transfer: [buffer] });
      expect(await thrown(() => writing)).toBeInstanceOf(TypeError);
    }));
}

test("a stream refuses a pool that its ring does not have when it is made", async () => {
  using folder = new Folder();
  using pool = new BufferPool({ count: 2, size: 4096 });
  await using ring = new Ring();
  await using file = await ring.open(folder.write("file", "content"), "r+");
  for (const make of [() => file.readable({ pool }), () => file.writable({ pool })])
    expect(make).toThrow("options.pool is a pool that this ring does not have");
});
