import { expect } from "bun:test";
import { closeSync, openSync, readFileSync, truncateSync } from "node:fs";
import { BufferPool, hashFile, Ring, type RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { numbered } from "./support/content.ts";
import { uringError } from "./support/errors.ts";
import { FaultyFiles } from "./support/faulty-files.ts";
import { start } from "./support/programs.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";
import { TestWorker } from "./support/workers.ts";

/** Neither a multiple of a chunk nor of a page. */
const sizeBytes = 100_003;
const slotBytes = 65536;

const content = Buffer.from(numbered(2 ** 18)).subarray(0, sizeBytes);

interface Opened {
  readonly ring: Ring;
  readonly pool: BufferPool;
  readonly file: RingFile;
  readonly path: string;
}

async function withFile(
  modes: readonly string[],
  flags: string,
  body: (opened: Opened) => Promise<void>,
): Promise<void> {
  await leavingNothing(async () => {
    await using files = await FaultyFiles.mount(...modes);
    const path = files.of("good");
    truncateSync(path, sizeBytes);
    using pool = new BufferPool({ count: 8, size: slotBytes });
    {
      await using ring = new Ring({ pool });
      await using file = await ring.open(path, flags);
      await body({ ring, pool, file, path });
      expect(ring.inFlight).toBe(0);
      expect(pool.available).toBe(8);
    }
    expect(fdsUnder(files.path)).toBe(0);
  });
}

for (const modes of [[], ["direct"], ["direct", "async"]])
  needs("mounts of FUSE")(
    `a file of a FUSE file system is read and written correctly in every way${modes.length > 0 ? `, ${modes.join(" and ")}` : ""}`,
    async () => {
      await withFile(modes, "r+", async ({ ring, pool, file, path }) => {
        // Reads that go past the end.
        for (const length of [100, 4096, 2 ** 20, 5 * 2 ** 20]) {
          const { bytesRead, buffer } = await file.read(Buffer.alloc(length, 0xee), 0, length, sizeBytes - 8);
          expect([length, bytesRead, buffer.toString("hex", 0, 9)]).toEqual([
            length,
            8,
            `${content.toString("hex", sizeBytes - 8)}ee`,
          ]);
        }
        using buffer = await pool.acquire();
        expect(await ring.readFixed(file, buffer, { position: slotBytes })).toBe(sizeBytes - slotBytes);
        expect(Buffer.compare(buffer.bytes.subarray(0, sizeBytes - slotBytes), content.subarray(slotBytes))).toBe(0);
        const parts = [shared(4096), shared(2 ** 17)];
        expect(await ring.readv(file, parts, { position: 0 })).toBe(sizeBytes);
        expect(Buffer.compare(Buffer.concat(parts).subarray(0, sizeBytes), content)).toBe(0);
        expect(Buffer.compare(await file.readFile(), content)).toBe(0);
        for (const options of [{}, { pool }, { pool, depth: 1 }])
          expect(Buffer.compare(Buffer.concat(await Array.fromAsync(file.readable(options))), content)).toBe(0);
        expect(await hashFile(path)).toBe(new Bun.CryptoHasher("sha256").update(content).digest("hex"));

        // At the file's own position, which is the end now.
        await Promise.all(["one ", "two ", "three "].map((text) => file.write(text)));
        await ring.write(file, Buffer.from(new SharedArrayBuffer(4)).fill("four"));
        await file.writeDurably(Buffer.from(" five"));
        expect(readFileSync(path, "latin1").slice(sizeBytes)).toBe("one two three four five");
      });
    },
  );

needs("mounts of FUSE")(
  "chains on a FUSE file run in order, stop at the first short or failed operation, and can be aborted and closed",
  async () => {
    await withFile(["direct"], "r+", async ({ ring, file, path }) => {
      const [read, write] = await Promise.all(
        ring.chain([() => file.read(Buffer.alloc(4), 0, 4, 0), () => file.write("AB", 4), () => ring.fsync(file)]),
      );
      expect([read.bytesRead, write.bytesWritten, readFileSync(path, "latin1").slice(4, 6)]).toEqual([4, 2, "AB"]);

      const short = await Promise.allSettled(
        ring.chain([
          () => file.read(Buffer.alloc(100), 0, 100, sizeBytes - 5),
          () => file.write("never", 0),
          () => ring.nop(),
        ]),
      );
      expect(short).toMatchObject([
        { value: { bytesRead: 5 } },
        { reason: { code: "ECANCELED" } },
        { reason: { code: "ECANCELED" } },
      ]);

      await using readOnly = await ring.open(path, "r");
      const failed = await uringError(() =>
        Promise.all(ring.chain([() => readOnly.write("x", 0), () => ring.fsync(readOnly), () => ring.nop()])),
      );
      expect([failed.code, failed.syscall]).toEqual(["EBADF", "write"]);

      const stop = new AbortController();
      const aborted = ring.chain([
        () => file.read(Buffer.alloc(4), 0, 4, 0),
        () => ring.write(file, shared(4), { position: 0, signal: stop.signal }),
        () => ring.nop(),
      ]);
      stop.abort(new Error("enough"));
      expect(await Promise.allSettled(aborted)).toMatchObject([
        { status: "fulfilled" },
        { reason: { message: "enough" } },
        { reason: { code: "ECANCELED" } },
      ]);
      expect(ring.inFlight).toBe(0);

      const closing = new Ring();
      const other = await closing.open(path, "r");
      const outcomes = Promise.allSettled(
        closing.chain([() => other.read(Buffer.alloc(4), 0, 4, 0), () => other.read(Buffer.alloc(4), 0, 4, 0)]),
      );
      await closing.close();
      for (const outcome of await outcomes)
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "ECANCELED" });
      expect(closing.inFlight).toBe(0);
    });
  },
);

needs("mounts of FUSE")(
  "a FUSE file system that does not answer blocks no event loop; an abort rejects at once, and close() waits for the answer",
  async () => {
    await leavingNothing(async () => {
      await using files = await FaultyFiles.mount("direct");
      using pool = new BufferPool({ count: 1, size: 4096 });
      const ring = new Ring({ pool });
      const file = await ring.open(files.of("read-held"));
      const stop = new AbortController();
      const buffer = await pool.acquire();
      const read = ring.readFixed(file, buffer, { position: 0, signal: stop.signal });
      await files.held("read-held"); // resolves only if the event loop is not blocked
      const reason = new Error("enough");
      stop.abort(reason);
      expect(await read.catch((error: unknown) => error)).toBe(reason);
      buffer.release();
      expect(pool.available).toBe(0); // the read may still write to the slot
      expect(ring.inFlight).toBe(1);
      const closed = ring.close();
      files.release();
      await closed;
      expect(pool.available).toBe(1);
    });
  },
);

needs("mounts of FUSE")(
  "files of a FUSE file system that does not answer can be opened, read and written by their paths without blocking",
  async () => {
    await using files = await FaultyFiles.mount("direct");
    const program = start("read-path", [files.of("read-held"), files.of("write-held")]);
    await Promise.all([files.held("read-held"), files.held("write-held")]);
    program.tell("are you there?\n");
    await program.until("here\n"); // does not come if the event loop is blocked
    files.release();
    const { exitCode, stderr, stdout } = await program.outcome();
    expect([exitCode, stderr, stdout]).toEqual([0, "", expect.stringMatching(/^here\n\d+ bytes\n$/)]);
  },
);

for (const modes of [[], ["direct"], ["direct", "async"]])
  needs("mounts of FUSE")(
    `a FUSE file given as a descriptor number is read correctly, too${modes.length > 0 ? `, ${modes.join(" and ")}` : ""}`,
    async () => {
      await withFile(modes, "r+", async ({ ring, pool, path }) => {
        const fd = openSync(path, "r+");
        using buffer = await pool.acquire();
        const bytes = shared(4096);
        const [fixed, plain, past] = await Promise.all([
          ring.readFixed(fd, buffer, { position: slotBytes }),
          ring.read(fd, bytes, { position: sizeBytes - 8 }),
          ring.read(fd, shared(10), { position: sizeBytes }),
        ]);
        expect([fixed, plain, past]).toEqual([sizeBytes - slotBytes, 8, 0]);
        expect(Buffer.compare(buffer.bytes.subarray(0, fixed), content.subarray(slotBytes))).toBe(0);
        expect(Buffer.compare(bytes.subarray(0, 8), content.subarray(-8))).toBe(0);
        closeSync(fd);
      });
    },
  );

needs("mounts of FUSE")(
  "in a chain at a file's own position each write begins where the previous one ended, in the kernel or in a thread",
  async () => {
    await withFile(["direct"], "r+", async ({ ring, pool, file, path }) => {
      using buffer = await pool.acquire();
      buffer.bytes.set(Buffer.from("AAAABBBBCCCC"));
      const write = (offset: number, dsync: boolean) => () =>
        ring.writeFixed(file, buffer, { offset, length: 4, dsync });
      await Promise.all(ring.chain([write(0, true), write(4, false), write(8, true)]));
      expect(readFileSync(path, "latin1").slice(0, 12)).toBe("AAAABBBBCCCC");
    });
  },
);

needs("mounts of FUSE")(
  "if a chain is aborted while a thread runs one operation, that one keeps its slot until it ends; no other begins",
  async () => {
    await leavingNothing(async () => {
      await using files = await FaultyFiles.mount("direct");
      using pool = new BufferPool({ count: 2, size: 4096 });
      await using ring = new Ring({ pool });
      await using held = await ring.open(files.of("read-held"), "r+");
      await using good = await ring.open(files.of("good"), "r+");
      const before = readFileSync(files.of("good"));
      const [into, from] = [await pool.acquire(), await pool.acquire()];
      const stop = new AbortController();
      const { signal } = stop;
      const outcomes = Promise.allSettled(
        ring.chain([
          () => ring.nop(),
          () => ring.readFixed(held, into, { position: 0, signal }),
          () => ring.writeFixed(good, from, { position: 0, signal }),
          () => ring.nop(),
        ]),
      );
      await files.held("read-held");
      stop.abort(new Error("enough"));
      expect((await outcomes).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "rejected"]);
      into.release();
      from.release();
      expect([pool.available, ring.inFlight]).toEqual([1, 1]); // the read still holds its slot
      using other = await pool.acquire();
      other.bytes.fill(0x5a);
      const again = pool.acquire();
      files.release();
      (await again).release(); // the read has ended
      expect(ring.inFlight).toBe(0);
      expect(other.bytes.every((byte) => byte === 0x5a)).toBe(true);
      expect(Buffer.compare(readFileSync(files.of("good")), before)).toBe(0);
    });
  },
);

needs("mounts of FUSE")(
  "closing a ring settles every operation of a chain with a FUSE file, whether the kernel has it or it has not begun",
  async () => {
    await withFile(["direct"], "r", async ({ path }) => {
      const ring = new Ring();
      const file = await ring.open(path);
      const outcomes = Promise.allSettled(
        ring.chain([() => ring.timeout(1e6), () => file.read(Buffer.alloc(4)), () => ring.nop()]),
      );
      await ring.close();
      for (const outcome of await outcomes)
        expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ECANCELED" } });
      expect(ring.inFlight).toBe(0);
    });
  },
);

needs("mounts of FUSE")(
  "if the kernel no longer accepts a ring's requests, every operation of a chain rejects, even those not begun",
  async () => {
    await using files = await FaultyFiles.mount("direct");
    const program = start("broken", [files.of("read-held"), files.of("good")]);
    await program.until("started\n");
    await files.held("read-held");
    program.tell("go\n");
    await program.until("]\n");
    files.release();
    const { stdout, exitCode } = await program.outcome();
    expect([stdout, exitCode]).toEqual([
      `started\n${JSON.stringify(["EBADF", "EBADF", "EBADF", "EBADF", "EBADF"])}\n`,
      0,
    ]);
  },
);

needs("mounts of FUSE")(
  "if a Worker ends while a FUSE file system does not answer, a late answer does not touch its slot; nothing stays open",
  async () => {
    await leavingNothing(async () => {
      await using files = await FaultyFiles.mount("direct");
      using pool = new BufferPool({ count: 1, size: 4096 });
      const worker = new TestWorker("holder", { pool: pool.share(), path: files.of("read-held") });
      await files.held("read-held");
      const ended = worker.terminate();
      using buffer = await pool.acquire(); // the teardown has returned the slot while the thread of node:fs still reads
      buffer.bytes.fill(0xaa);
      files.release();
      await ended; // termination waits for that thread
      expect(buffer.bytes.every((byte) => byte === 0xaa)).toBe(true);
      expect(fdsUnder(files.path)).toBe(0);
    });
  },
);
