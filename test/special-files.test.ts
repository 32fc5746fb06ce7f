/** Whole files by path that are no ordinary files: FIFOs, devices, /proc, FUSE. */
import { describe, expect } from "bun:test";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { Ring } from "bun-uring";
import { numbered } from "./support/content.ts";
import { thrown } from "./support/errors.ts";
import { FaultyFiles } from "./support/faulty-files.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { fifo } from "./support/pipes.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsOf, fdsUnder, leavingNothing } from "./support/resources.ts";

const { O_RDONLY, O_NONBLOCK, O_WRONLY } = constants;

async function withFifo(body: (ring: Ring, path: string) => Promise<void>): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    const path = fifo(`${folder.path}/fifo`);
    await using ring = new Ring();
    await body(ring, path);
    expect([fdsUnder(folder.path), ring.inFlight]).toEqual([0, 0]);
  });
}

/** Opens a FIFO for writing once it has a reader. Until then O_NONBLOCK fails with ENXIO. */
async function writerOf(ring: Ring, path: string): Promise<number> {
  for (;;) {
    try {
      return openSync(path, O_WRONLY | O_NONBLOCK);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENXIO")) throw error;
      await ring.timeout(1);
    }
  }
}

describe("readFile() of a FIFO", () => {
  test("waits for a writer, and for all that it writes in pieces", () =>
    withFifo(async (ring, path) => {
      for (const pieces of [[10], [1, 65_535, 1], [30_000, 30_000, 30_000], [65_536, 65_536]]) {
        const reading = ring.readFile(path);
        const fd = await writerOf(ring, path);
        const content = Buffer.from(numbered(pieces.reduce((sum, bytes) => sum + bytes, 0)));
        let written = 0;
        for (const bytes of pieces) {
          for (const end = written + bytes; written < end; ) {
            try {
              written += writeSync(fd, content, written, end - written);
            } catch (error) {
              if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
            }
            await ring.timeout(1); // until the reader has taken some
          }
        }
        closeSync(fd);
        expect(Buffer.compare(await reading, content)).toBe(0);
      }
    }));

  test("returns what a writer has left in it, and waits for a writer if the last one has gone before", () =>
    withFifo(async (ring, path) => {
      const keeper = openSync(path, O_RDONLY | O_NONBLOCK);
      const writer = openSync(path, O_WRONLY);
      writeSync(writer, "left behind, ");
      closeSync(writer);
      const reading = ring.readFile(path, "utf8"); // open(2) would wait for a writer, too
      const settled = reading.then(() => "settled");
      expect(await Promise.race([settled, ring.timeout(20)])).toBeUndefined();
      const next = openSync(path, O_WRONLY);
      writeSync(next, "and more");
      closeSync(next);
      expect(await reading).toBe("left behind, and more");
      closeSync(keeper);
    }));

  test("returns nothing if the writer writes nothing", () =>
    withFifo(async (ring, path) => {
      const reading = ring.readFile(path, "utf8");
      closeSync(await writerOf(ring, path));
      expect(await reading).toBe("");
    }));

  test("can be aborted while there is no writer, and between two pieces", () =>
    withFifo(async (ring, path) => {
      const waiting = new AbortController();
      const reason = new Error("enough");
      const first = thrown(() => ring.readFile(path, { signal: waiting.signal }));
      await ring.timeout(5);
      waiting.abort(reason);
      expect(await first).toMatchObject({ code: "ABORT_ERR", cause: reason });
      for (const bytes of [10, 65_536, 65_536 + 100]) {
        const stop = new AbortController();
        const second = thrown(() => ring.readFile(path, { signal: stop.signal }));
        const fd = await writerOf(ring, path);
        for (let written = 0; written < bytes; written += writeSync(fd, Buffer.alloc(Math.min(1000, bytes - written))))
          if (written % 10_000 === 0) await ring.timeout(1);
        await ring.timeout(1);
        stop.abort(reason);
        expect(await second).toMatchObject({ code: "ABORT_ERR", cause: reason });
        closeSync(fd);
        while (ring.inFlight > 0) await ring.nop();
      }
    }));

  // Otherwise each of the FIFOs occupies one of the few worker threads of the kernel.
  needs("clone of ranges (Linux 6.13)")("does not keep other files from being read, and is not kept by them", () =>
    withFifo(async (ring, path) => {
      const waiting = Array.from({ length: 64 }, () => ring.readFile(path, "utf8"));
      const other = import.meta.path;
      const all = await Promise.all(Array.from({ length: 200 }, () => ring.readFile(other)));
      expect(all.every((content) => content.equals(readFileSync(other)))).toBe(true);
      closeSync(await writerOf(ring, path));
      expect(await Promise.all(waiting)).toEqual(waiting.map(() => ""));
    }),
  );

  test("an abort of a file that is read on by its descriptor cancels no other file", () =>
    withFifo(async (ring, path) => {
      const stop = new AbortController();
      const aborted = thrown(() => ring.readFile(path, { signal: stop.signal }));
      const writer = await writerOf(ring, path);
      // From the second byte on it is read by its descriptor, and the reader is free for others.
      for (; fdsOf(path) < 2; writeSync(writer, "x")) await ring.timeout(1);
      using folder = new Folder();
      const another = fifo(`${folder.path}/fifo`);
      const reading = ring.readFile(another, "utf8");
      const second = await writerOf(ring, another);
      stop.abort();
      await aborted;
      writeSync(second, "the other's");
      closeSync(second);
      expect(await reading).toBe("the other's");
      closeSync(writer);
      while (ring.inFlight > 0) await ring.nop();
    }));

  test("ends with ECANCELED when the ring is closed", () =>
    withFifo(async (_ring, path) => {
      const closing = new Ring();
      const reading = thrown(() => closing.readFile(path));
      await closing.timeout(5);
      await closing.close();
      expect(await reading).toMatchObject({ code: "ECANCELED", path, message: expect.stringContaining("closed") });
    }));
});

describe("writeFile() and appendFile() to a FIFO", () => {
  for (const method of ["writeFile", "appendFile"] as const)
    for (const size of [0, 10, 65_536, 65_537, 300_000])
      test(`${method}() waits for a reader, which gets all of ${size} bytes`, () =>
        withFifo(async (ring, path) => {
          const content = Buffer.from(numbered(size));
          // The writer comes first.
          const early = ring[method](path, content);
          await ring.timeout(2);
          expect(Buffer.compare(await readFile(path), content)).toBe(0);
          await early;
          // The reader comes first.
          const late = ring.readFile(path);
          await ring.timeout(2);
          await ring[method](path, content);
          expect(Buffer.compare(await late, content)).toBe(0);
        }));

  test("a reader that goes away is EPIPE, and data given before an abort is not written afterwards", () =>
    withFifo(async (ring, path) => {
      const reader = openSync(path, O_RDONLY | O_NONBLOCK);
      const writing = thrown(() => ring.writeFile(path, Buffer.alloc(2 ** 20)));
      await ring.timeout(2);
      closeSync(reader);
      expect(await writing).toMatchObject({ code: "EPIPE", syscall: "write" });
      const stop = new AbortController();
      const waiting = thrown(() => ring.writeFile(path, "never", { signal: stop.signal }));
      await ring.timeout(2);
      stop.abort();
      expect(await waiting).toMatchObject({ code: "ABORT_ERR" });
      while (ring.inFlight > 0) await ring.nop();
      const later = ring.readFile(path, "utf8");
      await ring.writeFile(path, "later");
      expect(await later).toBe("later");
    }));

  test("data whose memory is detached while there is no reader fails the write", () =>
    withFifo(async (ring, path) => {
      const data = new Uint8Array(100);
      const writing = ring.writeFile(path, data);
      data.buffer.transfer();
      await ring.timeout(5);
      const reading = readFile(path, "latin1");
      expect(await thrown(() => writing)).toMatchObject({ code: "ERR_INVALID_STATE" });
      expect(await reading).toBe("");
    }));
});

test("files of /proc and /sys are read to their end, whatever size they claim, and however little a read returns", () =>
  leavingNothing(async () => {
    await using ring = new Ring();
    const stable = [
      ...["/proc/version", "/proc/cpuinfo", "/proc/filesystems", "/proc/self/cmdline", "/proc/self/mountinfo"],
      ...[
        "/proc/self/limits",
        "/proc/sys/kernel/osrelease",
        "/proc/config.gz",
        "/sys/kernel/mm/transparent_hugepage/enabled",
      ],
      ...["/proc/self/auxv", "/proc/self/environ"],
    ].filter((path) => existsSync(path));
    for (const path of stable)
      expect([path, (await ring.readFile(path)).toString("latin1")]).toEqual([path, readFileSync(path, "latin1")]);
    const lines = (text: string) => text.split("\n").length;
    const kallsyms = await ring.readFile("/proc/kallsyms", "latin1");
    expect([lines(kallsyms), kallsyms.slice(0, 10_000)]).toEqual([
      lines(readFileSync("/proc/kallsyms", "latin1")),
      readFileSync("/proc/kallsyms", "latin1").slice(0, 10_000),
    ]);
    expect(await ring.readFile("/proc/self/status", "utf8")).toContain(`Pid:\t${process.pid}\n`);
    expect((await ring.readFile("/proc/self/maps", "utf8")).trim().split("\n").at(-1)).toMatch(/^[0-9a-f]+-/);
    expect(await thrown(() => ring.readFile("/proc/self/mem"))).toMatchObject({ code: "EIO", syscall: "read" });
  }));

test("a file that refuses to read a single byte is read all the same", () =>
  leavingNothing(async () => {
    await using ring = new Ring();
    // Of 8 bytes a page of the address space, and only multiples of 8 can be read.
    const { value } = await ring.readFiles(["/proc/self/pagemap"], { maxBytes: 2 ** 20 }).next();
    expect(value?.error).toMatchObject({ code: "ERR_FS_FILE_TOO_LARGE" });
  }));

test("devices: /dev/null has nothing and takes all, /dev/full takes nothing, /dev/zero has no end", () =>
  leavingNothing(async () => {
    await using ring = new Ring();
    expect((await ring.readFile("/dev/null")).length).toBe(0);
    for (const size of [0, 10, 100_000]) {
      await ring.writeFile("/dev/null", Buffer.alloc(size));
      await ring.appendFile("/dev/null", Buffer.alloc(size), { flush: true });
      if (size > 0)
        expect(await thrown(() => ring.writeFile("/dev/full", Buffer.alloc(size)))).toMatchObject({
          code: "ENOSPC",
          syscall: "write",
        });
    }
    for (const maxBytes of [0, 1, 65_535, 65_536, 65_537, 200_000]) {
      const { value } = await ring.readFiles(["/dev/zero"], { maxBytes }).next();
      expect([maxBytes, value?.bytes, value?.error]).toMatchObject([
        maxBytes,
        undefined,
        { code: "ERR_FS_FILE_TOO_LARGE" },
      ]);
    }
    const stop = new AbortController();
    const endless = thrown(() => ring.readFile("/dev/zero", { signal: stop.signal }));
    while (fdsOf("/dev/zero") === 0) await ring.nop();
    stop.abort();
    expect(await endless).toMatchObject({ code: "ABORT_ERR" });
    while (ring.inFlight > 0) await ring.nop();
    expect([fdsOf("/dev/zero"), fdsOf("/dev/full"), fdsOf("/dev/null")]).toEqual([0, 0, fdsOf("/dev/null")]);
  }));

test("sockets, folders and links have the same outcome as with node:fs/promises", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const socket = `${folder.path}/socket`;
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    for (const call of [
      () => ring.readFile(socket),
      () => ring.writeFile(socket, "x"),
      () => ring.appendFile(socket, Buffer.alloc(1e5)),
    ])
      expect(await thrown(call)).toMatchObject({ code: "ENXIO", syscall: "open", path: socket });
    await new Promise((resolve) => server.close(resolve));
    expect(await thrown(() => ring.readFile(folder.path))).toMatchObject({ code: "EISDIR", syscall: "read" });
    for (const data of ["", "x", Buffer.alloc(1e5)])
      expect(await thrown(() => ring.writeFile(folder.path, data))).toMatchObject({ code: "EISDIR", syscall: "open" });
    // Through a link that leads nowhere yet, its target is made.
    symlinkSync("target", `${folder.path}/link`);
    expect(await thrown(() => ring.readFile(`${folder.path}/link`))).toMatchObject({ code: "ENOENT" });
    await ring.writeFile(`${folder.path}/link`, "through the link");
    expect(readFileSync(`${folder.path}/target`, "utf8")).toBe("through the link");
    await ring.appendFile(`${folder.path}/link`, ", twice");
    expect(await ring.readFile(`${folder.path}/link`, "utf8")).toBe("through the link, twice");
    expect(fdsUnder(folder.path)).toBe(0);
  }));

for (const kind of ["tmpfs", "xfs", "btrfs"] as const)
  needs(`mounts of ${kind}`)(`files on ${kind} are written, cut off, appended to and read`, () =>
    leavingNothing(async () => {
      using mount = new Mount(kind, smallest[kind]);
      await using ring = new Ring();
      const path = `${mount.path}/file`;
      for (const size of [100, 65_536, 200_000, 65_537, 10, 0, 3]) {
        const content = Buffer.from(numbered(size));
        await ring.writeFile(path, content);
        expect(Buffer.compare(readFileSync(path), content)).toBe(0);
        await ring.appendFile(path, "end");
        expect(Buffer.compare(await ring.readFile(path), Buffer.concat([content, Buffer.from("end")]))).toBe(0);
      }
      expect(fdsUnder(mount.path)).toBe(0);
    }),
  );

for (const modes of [[], ["direct"], ["direct", "async"]])
  needs("mounts of FUSE")(
    `files of a FUSE file system are read and written whole${modes.length > 0 ? `, ${modes.join(" and ")}` : ""}`,
    () =>
      leavingNothing(async () => {
        await using files = await FaultyFiles.mount(...modes);
        await using ring = new Ring();
        const path = files.of("good");
        for (const size of [0, 1, 100, 4096, 65_535, 65_536, 65_537, 100_003, 262_144, 5]) {
          truncateSync(path, size);
          expect([size, Buffer.compare(await ring.readFile(path), readFileSync(path))]).toEqual([size, 0]);
          const { value } = await ring.readFiles([path]).next();
          expect([size, Buffer.compare(value?.bytes ?? Buffer.alloc(9), readFileSync(path))]).toEqual([size, 0]);
          for (const length of [0, 3, 70_000]) {
            truncateSync(path, size);
            const content = Buffer.from(numbered(length, 7));
            await ring.writeFile(path, content);
            expect([size, length, Buffer.compare(readFileSync(path), content)]).toEqual([size, length, 0]);
            await ring.appendFile(path, "end");
            expect([size, length, statSync(path).size]).toEqual([size, length, length + 3]);
          }
        }
        for (const [name, code] of [
          ["read-EIO", "EIO"],
          ["read-ENXIO", "ENXIO"],
          ["read-EIO-65536", "EIO"],
        ] as const)
          expect([name, await thrown(() => ring.readFile(files.of(name)))]).toMatchObject([
            name,
            { code, syscall: "read" },
          ]);
        for (const [name, code] of [
          ["write-EIO", "EIO"],
          ["write-ENOSPC-65536", "ENOSPC"],
          ["flush-EDQUOT", "EDQUOT"],
        ] as const)
          expect([
            name,
            await ring.writeFile(files.of(name), Buffer.alloc(300_000)).then(
              () => "done",
              ({ code }) => code,
            ),
          ]).toEqual([name, code]);
        expect(fdsUnder(files.path)).toBe(0);
      }),
  );

test("a file that is open in another process, or was unlinked, is read by its name in /proc", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const { path, content } = folder.random("file", 100_000);
    const fd = openSync(path, "r+");
    mkdirSync(`${folder.path}/gone`);
    writeFileSync(`${folder.path}/gone/file`, "gone");
    const gone = openSync(`${folder.path}/gone/file`, "r");
    await Bun.$`rm -r ${folder.path}/gone`;
    expect(Buffer.compare(await ring.readFile(`/proc/self/fd/${fd}`), content)).toBe(0);
    expect(await ring.readFile(`/proc/self/fd/${gone}`, "utf8")).toBe("gone");
    closeSync(fd);
    closeSync(gone);
  }));
