import { expect, test } from "bun:test";
import {
  closeSync,
  constants,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { BufferPool, copyFile, hashFile, RawRing, Ring, type RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { numbered } from "./support/content.ts";
import { directFlags } from "./support/direct.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { FaultyFiles, faultyFileBytes } from "./support/faulty-files.ts";
import { Folder } from "./support/files.ts";
import { LoopDevice } from "./support/loop-device.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { pipe } from "./support/pipes.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { completions, kinds, shared, waitFor, whenRoom } from "./support/rings.ts";

const EIO = -5;
const slotBytes = 65536;
const slotCount = 8;

interface Place {
  readonly ring: Ring;
  readonly pool: BufferPool;
  readonly folder: Folder;
  /** Checks that the ring still reads correctly, has nothing in flight, and that the pool has all its slots back. */
  readonly stillWorks: () => Promise<void>;
}

/** Runs `body`, which may call `stillWorks` at any time. Afterwards the ring must work, and no resource may be left. */
async function withRing(body: (place: Place) => Promise<void>): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    const { path, content } = folder.random("good", 3 * slotBytes + 5);
    using pool = new BufferPool({ count: slotCount, size: slotBytes });
    {
      await using ring = new Ring({ pool });
      const stillWorks = async () => {
        await using file = await ring.open(path);
        const read = async (position: number) => {
          using buffer = await pool.acquire();
          const bytesRead = await ring.readFixed(file, buffer, { position });
          expect(
            Buffer.compare(buffer.bytes.subarray(0, bytesRead), content.subarray(position, position + slotBytes)),
          ).toBe(0);
        };
        await Promise.all(Array.from({ length: 2 * slotCount }, (_, index) => read((index % 4) * slotBytes)));
        expect(Buffer.compare(await file.readFile(), content)).toBe(0);
        await slotsBack(pool);
        expect(ring.inFlight).toBe(0);
      };
      await stillWorks();
      await body({ ring, pool, folder, stillWorks });
      await stillWorks();
    }
    expect(fdsUnder(folder.path)).toBe(0);
  });
}

/** Resolves when all slots are free. The kernel may still be working on requests that were aborted. */
async function slotsBack(pool: BufferPool): Promise<void> {
  for (const buffer of await Promise.all(Array.from({ length: slotCount }, () => pool.acquire()))) buffer.release();
  expect(pool.available).toBe(slotCount);
}

async function consume(stream: ReadableStream<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream) {
    expect(Buffer.compare(chunk, numbered(chunk.length, bytes / 4))).toBe(0);
    bytes += chunk.length;
  }
  return bytes;
}

/** The methods used here that RingFile and FileHandle have in common. */
type Either = Pick<RingFile, "writeFile" | "datasync" | "sync" | "close"> & { readFile(): Promise<Buffer> };
const shared64k = () => shared(slotBytes);

const byFile: Record<string, [method: string, use: (file: Either) => Promise<unknown>][]> = {
  read: [["readFile", (file) => file.readFile()]],
  write: [["writeFile", (file) => file.writeFile(Buffer.alloc(100))]],
  fsync: [
    ["sync", (file) => file.sync()],
    ["datasync", (file) => file.datasync()],
  ],
  flush: [["close", (file) => file.close()]],
};

const byRing: Record<string, [method: string, use: (file: RingFile, place: Place) => Promise<unknown>][]> = {
  read: [
    ["readFixed", (file, { ring, pool }) => withSlot(pool, (buffer) => ring.readFixed(file, buffer, { position: 0 }))],
    [
      "readvFixed",
      (file, { ring, pool }) => withSlot(pool, (buffer) => ring.readvFixed(file, [buffer], { position: 0 })),
    ],
    ["Ring.read", (file, { ring }) => ring.read(file, shared64k(), { position: 0 })],
    ["readv", (file, { ring }) => ring.readv(file, [shared64k(), shared64k()], { position: 0 })],
    ["RingFile.read", (file) => file.read(Buffer.alloc(100), 0, 100, 0)],
    ["RingFile.readFixed", (file, { pool }) => withSlot(pool, (buffer) => file.readFixed(buffer))],
    ["readable", (file) => consume(file.readable())],
    ["readable, zero-copy", (file, { pool }) => consume(file.readable({ pool, zeroCopy: true, depth: 6 }))],
    ["iteration", (file) => Array.fromAsync(file)],
  ],
  write: [
    [
      "writeFixed",
      (file, { ring, pool }) => withSlot(pool, (buffer) => ring.writeFixed(file, buffer, { position: 0 })),
    ],
    [
      "writevFixed",
      (file, { ring, pool }) => withSlot(pool, (buffer) => ring.writevFixed(file, [buffer], { position: 0 })),
    ],
    ["Ring.write", (file, { ring }) => ring.write(file, shared64k(), { position: 0 })],
    ["writev", (file, { ring }) => ring.writev(file, [shared64k(), shared64k()], { position: 0 })],
    ["RingFile.write", (file) => file.write("text", 0)],
    ["writeDurably", (file) => file.writeDurably(Buffer.alloc(100), 0, 100, 0)],
    ["writable", (file) => new Blob([Buffer.alloc(300_000)]).stream().pipeTo(file.writable())],
    [
      "writable with a pool",
      (file, { pool }) => new Blob([Buffer.alloc(300_000)]).stream().pipeTo(file.writable({ pool, depth: 6 })),
    ],
  ],
  fsync: [
    ["fsync", (file, { ring }) => ring.fsync(file)],
    ["fdatasync", (file, { ring }) => ring.fdatasync(file)],
    ["writeDurably", (file) => file.writeDurably(Buffer.alloc(100), 0, 100, 0)],
    [
      "durable writable",
      (file, { pool }) => new Blob(["text"]).stream().pipeTo(file.writable({ pool, durable: true })),
    ],
  ],
  flush: [
    [
      "writable with autoClose",
      (file, { pool }) => new Blob(["text"]).stream().pipeTo(file.writable({ pool, autoClose: true })),
    ],
  ],
};

async function withSlot<Result>(
  pool: BufferPool,
  use: (buffer: Awaited<ReturnType<BufferPool["acquire"]>>) => Promise<Result>,
): Promise<Result> {
  using buffer = await pool.acquire();
  return await use(buffer);
}

for (const [operation, codes] of Object.entries({
  read: ["EIO"],
  // Not EINTR: transfers of FUSE files run in threads of node:fs, which retry for ever after EINTR.
  write: ["EIO", "ENOSPC", "EDQUOT"],
  fsync: ["EIO", "ENOSPC"],
  flush: ["EIO", "EDQUOT"],
}))
  for (const code of codes)
    needs("mounts of FUSE")(
      `if a file's ${operation} fails with ${code}, every method reports it, as in node:fs, and the ring keeps working`,
      () =>
        withRing(async (place) => {
          await using files = await FaultyFiles.mount();
          const path = files.of(`${operation}-${code}`);
          const seen: Record<string, unknown> = {};
          for (const [name, use] of byFile[operation] ?? []) {
            const handle: FileHandle = await open(path, "r+");
            const file = await place.ring.open(path, "r+");
            const error = await uringError(() => use(file));
            seen[name] = error.code;
            // node:fs does not report that a close failed.
            if (operation !== "flush") expect((await thrown(() => use(handle))).code).toBe(error.code);
            if (operation !== "flush") expect(error.path).toBe(path);
            await handle.close().catch(() => undefined);
            await file.close().catch(() => undefined);
          }
          for (const [name, use] of byRing[operation] ?? []) {
            const file = await place.ring.open(path, "r+");
            seen[name] = (await uringError(() => use(file, place))).code;
            await slotsBack(place.pool);
            await file.close().catch(() => undefined);
          }
          for (const [name, found] of Object.entries(seen)) expect([name, found]).toEqual([name, code]);
          await place.stillWorks();
        }),
    );

needs("mounts of FUSE")(
  "a file that fails from some position on is read up to there; hashFile and copyFile fail with its errno and path, and leave nothing",
  () =>
    withRing(async ({ ring, pool, folder }) => {
      await using files = await FaultyFiles.mount();
      const broken = files.of("read-EIO-131072");
      const good = files.of("good");
      await using file = await ring.open(broken);
      for (const options of [{}, { pool }, { pool, zeroCopy: true }, { pool, depth: 1 }]) {
        let bytes = 0;
        const read = async () => {
          for await (const chunk of file.readable(options)) {
            expect(Buffer.compare(chunk, numbered(chunk.length, bytes / 4))).toBe(0);
            bytes += chunk.length;
          }
        };
        expect([(await uringError(read)).code, bytes]).toEqual(["EIO", 131_072]);
        await slotsBack(pool);
      }
      const odd = files.of("read-EIO-135168"); // within a 64 KiB read, which is short then
      for (const take of [
        async (bytes: (chunk: Uint8Array) => void) => {
          await using iterated = await ring.open(odd);
          for await (const chunk of iterated) bytes(chunk);
        },
        async (bytes: (chunk: Uint8Array) => void) => {
          await using streamed = await ring.open(odd);
          for await (const chunk of streamed.readable({ position: null })) bytes(chunk);
        },
      ]) {
        const parts: Uint8Array[] = [];
        expect((await uringError(() => take((chunk) => parts.push(chunk)))).code).toBe("EIO");
        expect(Buffer.compare(Buffer.concat(parts), numbered(135_168))).toBe(0);
      }
      await using whole = await ring.open(odd);
      expect((await uringError(() => whole.readFile())).code).toBe("EIO");
      expect(await uringError(() => hashFile(broken, { ring, pool }))).toMatchObject({ code: "EIO", path: broken });
      const to = `${folder.path}/copy`;
      expect(await uringError(() => copyFile(broken, to, { ring, pool }))).toMatchObject({
        code: "EIO",
        path: broken,
        dest: to,
      });
      expect((await thrown(() => open(to))).code).toBe("ENOENT");
      for (const [name, code, durable] of [
        ["write-EIO-131072", "EIO", false],
        ["write-ENOSPC-131072", "ENOSPC", false],
        ["fsync-EIO", "EIO", true],
      ] as const)
        expect([name, await uringError(() => copyFile(good, files.of(name), { ring, pool, durable }))]).toMatchObject([
          name,
          { code, path: good },
        ]);
      expect((await copyFile(good, to, { ring, pool })).copiedBytes).toBe(faultyFileBytes);
    }),
);

for (const [kind, flags] of Object.entries(kinds))
  needs("loop devices")(
    `after a loop device's file is truncated, a ${kind} RawRing's reads past its end fail with EIO, and no others`,
    () =>
      leavingNothing(() => {
        using folder = new Folder();
        const path = folder.write("image", numbered(2 ** 20));
        using device = new LoopDevice(path);
        truncateSync(path, 2 ** 19);
        const fd = openSync(device.path, constants.O_RDONLY | constants.O_DIRECT);
        try {
          expect(() => readSync(fd, Buffer.from(new SharedArrayBuffer(4096)), 0, 4096, 2 ** 19)).toThrow("EIO");
          using ring = new RawRing({ entries: 64, flags });
          const memory = shared(64 * 4096);
          ring.registerBuffers([memory]);
          for (let round = 0; round < times(5); round++) {
            memory.fill(0xff);
            const position = (index: number) => ((index * 37 + round) % 256) * 4096;
            const part = (index: number) => memory.subarray(index * 4096, (index + 1) * 4096);
            for (let index = 0; index < 64; index++)
              whenRoom(ring, () => ring.prepReadFixed(fd, part(index), position(index), 0, index));
            for (const [index, result] of waitFor(ring, 64)) {
              expect([position(index), result]).toEqual([position(index), position(index) < 2 ** 19 ? 4096 : EIO]);
              if (result > 0) expect(Buffer.compare(part(index), numbered(4096, position(index) / 4))).toBe(0);
            }
            expect(completions(ring)).toEqual([]);
          }
        } finally {
          closeSync(fd);
        }
      }),
  );

needs("loop devices")(
  "after a loop device's file is truncated, a Ring reads what is left, and the rest fails with EIO, with O_DIRECT or without",
  () =>
    withRing(async ({ ring, pool, folder, stillWorks }) => {
      const path = folder.write("image", numbered(2 ** 20));
      using device = new LoopDevice(path);
      truncateSync(path, 2 ** 19);
      for (const direct of [constants.O_DIRECT, 0]) {
        await using file = await ring.open(device.path, constants.O_RDONLY | direct);
        const outcomes = await Promise.all(
          Array.from({ length: 16 }, (_, index) =>
            withSlot(pool, async (buffer) => {
              const bytesRead = await ring.readFixed(file, buffer, { position: index * slotBytes });
              return (
                Buffer.compare(buffer.bytes.subarray(0, bytesRead), numbered(slotBytes, (index * slotBytes) / 4)) === 0
              );
            }).catch(({ code }) => code),
          ),
        );
        expect(outcomes).toEqual(Array.from({ length: 16 }, (_, index) => (index < 8 ? true : "EIO")));
        await stillWorks();
      }
      expect(await uringError(() => hashFile(device.path, { ring, pool }))).toMatchObject({
        code: "EIO",
        path: device.path,
      });
    }),
);

needs("mounts of tmpfs")(
  "a full file system keeps what it had room for and then fails with ENOSPC; removing a file makes room again",
  () =>
    withRing(async ({ ring, pool, stillWorks }) => {
      using mount = new Mount("tmpfs", smallest.tmpfs);
      const path = `${mount.path}/file`;
      const content = numbered(2 ** 20 + 3 * slotBytes);
      const ways: Record<string, (file: RingFile) => Promise<unknown>> = {
        writeFile: (file) => file.writeFile(content),
        writeDurably: (file) => file.writeDurably(content, 0, content.length, 0),
        writable: (file) => new Blob([content]).stream().pipeTo(file.writable({ depth: 3 })),
        "writable with a pool": (file) => new Blob([content]).stream().pipeTo(file.writable({ pool, depth: 3 })),
        fallocate: (file) => ring.fallocate(file, content.length),
      };
      for (const [name, use] of Object.entries(ways)) {
        const file = await ring.open(path, "w+");
        expect([name, (await uringError(() => use(file))).code]).toEqual([name, "ENOSPC"]);
        const written = await ring.open(path);
        const found = await written.readFile();
        await Promise.all([written.close(), file.close()]);
        if (name !== "fallocate")
          expect([name, Buffer.compare(found, content.subarray(0, found.length))]).toEqual([name, 0]);
        rmSync(path);
        await stillWorks();
      }
      // A write that runs out of room on the way is short. One that begins where there is no room fails.
      const file = await ring.open(path, "w+");
      const memory = shared(content.length);
      memory.set(content);
      const bytesWritten = await ring.write(file, memory, { position: 0 });
      expect(bytesWritten).toBeLessThan(content.length);
      const fails = await uringError(() =>
        withSlot(pool, (buffer) => ring.writeFixed(file, buffer, { position: bytesWritten })),
      );
      expect([fails.code, fails.syscall, fails.path]).toEqual(["ENOSPC", "write_fixed", path]);
      expect(Buffer.compare(readFileSync(path), content.subarray(0, bytesWritten))).toBe(0);
      await file.close();
      rmSync(path);
      const again = await ring.open(path, "w+");
      await again.writeFile(content.subarray(0, slotBytes));
      expect(Buffer.compare(readFileSync(path), content.subarray(0, slotBytes))).toBe(0);
      await again.close();
    }),
);

needs("mounts of tmpfs", "mounts of FUSE")(
  "a transfer that fails partway returns that part and advances the file's own position, as in node:fs; the next one fails",
  () =>
    withRing(async ({ ring, pool }) => {
      await using files = await FaultyFiles.mount();
      using mount = new Mount("tmpfs", smallest.tmpfs);
      const readEnd = 131_072;
      const reads: Record<string, (file: RingFile) => Promise<number>> = {
        read: async (file) => (await file.read(Buffer.alloc(200_000))).bytesRead,
        readv: async (file) => (await file.readv([Buffer.alloc(100_000), Buffer.alloc(100_000)])).bytesRead,
        readFixed: async (file) =>
          (await withSlot(pool, (buffer) => file.readFixed(buffer))) +
          (await withSlot(pool, (buffer) => file.readFixed(buffer))),
        "read of a descriptor": (file) => ring.read(file.fd, shared(200_000)),
      };
      const positionOf = (fd: number) =>
        Number(/^pos:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1]);
      const handle = await open(files.of(`read-EIO-${readEnd}`));
      expect((await handle.read(Buffer.alloc(200_000))).bytesRead).toBe(readEnd);
      expect(positionOf(handle.fd)).toBe(readEnd);
      await handle.close();
      for (const [name, read] of Object.entries(reads)) {
        await using file = await ring.open(files.of(`read-EIO-${readEnd}`));
        expect([name, await read(file), positionOf(file.fd)]).toEqual([name, readEnd, readEnd]);
        expect([name, (await uringError(() => read(file))).code, positionOf(file.fd)]).toEqual([name, "EIO", readEnd]);
      }

      const first = 2 ** 20 - 100_000;
      const writes: Record<string, (file: RingFile) => Promise<number>> = {
        write: async (file) => (await file.write(Buffer.alloc(200_000))).bytesWritten,
        writev: async (file) => (await file.writev([Buffer.alloc(99_000), Buffer.alloc(99_000)])).bytesWritten,
        "write to a descriptor": (file) => ring.write(file.fd, shared(200_000)),
        "chained write": async (file) => (await Promise.all(ring.chain([() => ring.write(file, shared(200_000))])))[0],
      };
      for (const flags of ["w", "a"])
        for (const [name, write] of Object.entries(writes)) {
          await using file = await ring.open(`${mount.path}/file`, flags);
          // Writes to a file opened for appending go to its end, whatever its own position is: look at its size.
          const end = () => (flags === "a" ? statSync(`${mount.path}/file`).size : positionOf(file.fd));
          await file.write(Buffer.alloc(first));
          expect([name, await write(file), end()]).toEqual([name, 100_000, 2 ** 20]);
          expect([name, (await uringError(() => write(file))).code, end()]).toEqual([name, "ENOSPC", 2 ** 20]);
          rmSync(`${mount.path}/file`);
        }
    }),
);

test("a pipe is read and written in as many pieces as it takes; without a reader, a write fails with EPIPE, not SIGPIPE", () =>
  withRing(async ({ ring, pool }) => {
    using ends = pipe();
    const content = numbered(40 * slotBytes);
    const reading = (async () => {
      const parts: Buffer[] = [];
      for (let bytes = 0; bytes < content.length; ) {
        using buffer = await pool.acquire();
        const bytesRead = await ring.readFixed(ends.readFd, buffer, {
          length: 1 + ((parts.length * 7919) % slotBytes),
        });
        parts.push(Buffer.from(buffer.bytes.slice(0, bytesRead)));
        bytes += bytesRead;
      }
      return Buffer.concat(parts);
    })();
    const memory = shared(content.length);
    memory.set(content);
    let short = 0;
    for (let written = 0; written < content.length; ) {
      const asked = Math.min(5 * slotBytes, content.length - written);
      const bytesWritten = await ring.write(ends.writeFd, memory.subarray(written, written + asked));
      if (bytesWritten < asked) short++;
      written += bytesWritten;
    }
    expect(Buffer.compare(await reading, content)).toBe(0);
    expect(short).toBeGreaterThanOrEqual(0);

    using broken = pipe();
    const fd = openSync(`/proc/self/fd/${broken.writeFd}`, "w");
    broken.closeReadFd();
    expect((await uringError(() => ring.write(fd, shared(10)))).code).toBe("EPIPE");
    expect((await uringError(() => withSlot(pool, (buffer) => ring.writeFixed(fd, buffer)))).code).toBe("EPIPE");
    closeSync(fd);
  }));

test("an open file that is unlinked, or replaced by another, can still be read and written, as in node:fs", () =>
  withRing(async ({ ring, pool, folder }) => {
    const content = numbered(40 * slotBytes);
    for (const replaced of [false, true]) {
      const path = folder.write("doomed", content);
      await using file = await ring.open(path, "r+");
      await using handle = await open(path, "r+");
      const stream = file.readable({ pool, depth: 6, zeroCopy: true });
      const reads = Array.from({ length: 40 }, (_, index) =>
        withSlot(pool, async (buffer) => {
          const bytesRead = await ring.readFixed(file, buffer, { position: index * slotBytes });
          return Buffer.compare(
            buffer.bytes.subarray(0, bytesRead),
            content.subarray(index * slotBytes, (index + 1) * slotBytes),
          );
        }),
      );
      rmSync(path);
      if (replaced) folder.write("doomed", "another");
      expect(await Promise.all(reads)).toEqual(reads.map(() => 0));
      expect(await consume(stream)).toBe(content.length);
      await file.write("new", 5);
      await file.writeDurably(Buffer.from("er"), 0, 2, 8);
      expect([(await file.stat()).nlink, (await handle.stat()).nlink]).toEqual([0, 0]);
      const expected = Buffer.from(content);
      expected.write("newer", 5);
      expect(Buffer.compare(await handle.readFile(), expected)).toBe(0);
      expect(Buffer.compare(await file.readFile(), expected)).toBe(0);
      if (replaced) expect(readFileSync(path, "utf8")).toBe("another");
    }
  }));

const pieces = 32;
const fullBytes = pieces * slotBytes;

/**
 * In a file that is truncated and extended again while it is read, each byte is either its original value or 0.
 * Returns the index of the first byte that is neither, or -1.
 */
function firstForeign(bytes: Uint8Array, position: number): number {
  const expected = numbered(bytes.length, position / 4);
  if (Buffer.compare(bytes, expected) === 0) return -1;
  return bytes.findIndex((byte, index) => byte !== 0 && byte !== expected[index]);
}

for (const [name, flagsOf] of [
  ["through the page cache", () => constants.O_RDONLY],
  ["bypassing the page cache", directFlags],
] as const)
  test(`while a file is truncated and extended, reads ${name} return its bytes or zeros, and afterwards its content`, () =>
    withRing(async ({ ring, pool, folder }) => {
      const content = numbered(fullBytes);
      const path = folder.write("changing", content);
      const fd = openSync(path, "r+");
      const reading = await ring.open(path, flagsOf(path));
      const faults: string[] = [];
      let isReading = true;
      const change = async () => {
        for (let turn = 0; isReading; turn++) {
          ftruncateSync(fd, (turn * 12_345_677) % fullBytes);
          await new Promise(setImmediate);
          ftruncateSync(fd, fullBytes);
          if (turn % 3 === 0) writeSync(fd, content, 0, content.length, 0);
          await new Promise(setImmediate);
        }
      };
      const changing = change();
      const lane = async (first: number) => {
        for (let read = first; read < times(800); read += slotCount)
          await withSlot(pool, async (buffer) => {
            const position = ((read * 31) % pieces) * slotBytes;
            const bytesRead = await ring.readFixed(reading, buffer, { position });
            const foreign = firstForeign(buffer.bytes.subarray(0, bytesRead), position);
            if (foreign !== -1) faults.push(`byte ${foreign} of a read of ${bytesRead} at ${position}`);
          });
      };
      await Promise.all(Array.from({ length: slotCount }, (_, index) => lane(index)));
      for (let round = 0; round < times(6); round++) {
        await using file = await ring.open(path, flagsOf(path));
        if (firstForeign(await file.readFile(), 0) !== -1) faults.push("readFile");
        for (const options of [{ depth: 6 }, { pool, depth: 6 }, { pool, depth: 6, zeroCopy: true }]) {
          let bytes = 0;
          for await (const chunk of file.readable(options)) {
            if (bytes % 4 === 0 && firstForeign(chunk, bytes) !== -1)
              faults.push(`a stream, ${JSON.stringify(Object.keys(options))}`);
            bytes += chunk.length;
          }
          if (bytes > fullBytes) faults.push(`a stream of ${bytes}`);
        }
        const to = `${folder.path}/copy`;
        const { copiedBytes } = await copyFile(path, to, { ring, pool, depth: 6 });
        const copied = readFileSync(to);
        if (copiedBytes !== copied.length || copiedBytes > fullBytes || firstForeign(copied, 0) !== -1)
          faults.push(`a copy of ${copiedBytes}`);
        expect(await hashFile(path, { ring, pool })).toHaveLength(64);
      }
      isReading = false;
      await changing;
      expect(faults).toEqual([]);
      writeSync(fd, content, 0, content.length, 0);
      ftruncateSync(fd, fullBytes);
      closeSync(fd);
      expect(await hashFile(path, { ring, pool })).toBe(new Bun.CryptoHasher("sha256").update(content).digest("hex"));
      await using file = await ring.open(path, flagsOf(path));
      expect(Buffer.compare(await file.readFile(), content)).toBe(0);
      await reading.close();
    }));

test("readFile reads a file that shrinks or grows between its look at the size and its reads to the end, as FileHandle does", () =>
  withRing(async ({ ring, folder }) => {
    for (const direct of [false, true])
      for (const [from, to] of [
        [fullBytes, 100_000],
        [fullBytes, 0],
        [100_000, fullBytes],
        [0, fullBytes],
      ] as const) {
        const path = folder.write("changing", numbered(from));
        const file = await ring.open(path, direct ? directFlags(path) : "r");
        const reading = file.readFile(); // it has asked for the size now, and submits its first read in a microtask
        writeFileSync(path, numbered(to));
        expect(Buffer.compare(await reading, numbered(to))).toBe(0);
        await file.close();
      }
  }));
