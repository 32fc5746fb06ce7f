import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import { BufferPool, probe, Ring, type RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { Folder } from "./support/files.ts";
import { pipe, sockets } from "./support/pipes.ts";
import { run } from "./support/programs.ts";
import { leavingNothing } from "./support/resources.ts";

const { dup2 } = dlopen("libc.so.6", { dup2: { args: ["i32", "i32"], returns: "i32" } }).symbols;

const POLLIN = 1;

/** The descriptors of this process's rings. */
function ringDescriptors(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[io_uring]";
    } catch {
      return false; // the descriptor of the listing itself, closed by now
    }
  });
}

/** A ring's registered file table as the kernel shows it in /proc: its size, and the number of files in it. */
function tableOf(ringFd: string): { size: number; files: number } {
  const text = readFileSync(`/proc/self/fdinfo/${ringFd}`, "latin1");
  const [, size, list = ""] = /^UserFiles:\s+(\d+)\n((?: .*\n)*)/m.exec(text) ?? [];
  return { size: Number(size), files: list.split("\n").filter((line) => /^\s*\d+: (?!<none>)/.test(line)).length };
}

/** Makes a ring, and returns its descriptor with it. */
function ringAndFd(): { ring: Ring; ringFd: string } {
  const others = ringDescriptors(); // rings that other test files left to the garbage collector
  const ring = new Ring();
  const [ringFd = ""] = ringDescriptors().filter((fd) => !others.includes(fd));
  return { ring, ringFd };
}

needs("clone of ranges (Linux 6.13)")(
  "a file is in the ring's registered file table from its third request to its close; the table is made once",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const path = folder.write("file", "content");
      const { ring, ringFd } = ringAndFd();
      await using _ring = ring;
      const files = await Promise.all(Array.from({ length: 800 }, () => ring.open(path)));
      const readAll = () => Promise.all(files.map((file) => file.read(Buffer.alloc(8), 0, 8, 0)));
      for (let request = 1; request <= 2; request++) {
        await readAll();
        expect(tableOf(ringFd)).toEqual({ size: 0, files: 0 });
      }
      await files[0]?.read(Buffer.alloc(8), 0, 8, 0);
      expect(tableOf(ringFd)).toEqual({ size: 1024, files: 1 });
      // The other entries are for direct descriptors: files with larger indexes are named by their descriptors.
      for (const { bytesRead } of await readAll()) expect(bytesRead).toBe(7);
      expect(tableOf(ringFd)).toEqual({ size: 1024, files: 768 });
      for (const file of files.slice(10).reverse()) await file.close(); // an index below 768 last
      expect(tableOf(ringFd)).toEqual({ size: 1024, files: 10 });
      // An index that is used again counts the requests of its new file.
      await using again = await ring.open(path);
      await again.read(Buffer.alloc(8), 0, 8, 0);
      expect(tableOf(ringFd).files).toBe(10);
      await again.read(Buffer.alloc(8), 0, 8, 0);
      await again.read(Buffer.alloc(8), 0, 8, 0);
      expect(tableOf(ringFd).files).toBe(11);
    }),
);

needs("clone of ranges (Linux 6.13)")(
  "whole files by path use the registered table's other entries, and leave them empty",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const paths = Array.from({ length: 300 }, (_, index) => folder.write(`${index}`, `content of ${index}`));
      const { ring, ringFd } = ringAndFd();
      await using _ring = ring;
      expect(tableOf(ringFd)).toEqual({ size: 0, files: 0 });
      const contents = await Promise.all(paths.map((path) => ring.readFile(path, "utf8")));
      expect(contents).toEqual(paths.map((_, index) => `content of ${index}`));
      expect(tableOf(ringFd)).toEqual({ size: 1024, files: 0 });
      // Files that are open, and read often, do not get these entries.
      const files = await Promise.all(paths.map((path) => ring.open(path)));
      for (let request = 0; request < 3; request++)
        await Promise.all(files.map((file) => file.read(Buffer.alloc(8), 0, 8, 0)));
      using ends = pipe();
      const waiting = ring.readFile(`/proc/self/fd/${ends.readFd}`, "utf8");
      while (tableOf(ringFd).files < 301) await ring.nop(); // until the pipe's own open has completed
      expect(await Promise.all(paths.map((path) => ring.readFile(path, "utf8")))).toEqual(contents);
      for (const [index, file] of files.entries())
        expect((await file.read(Buffer.alloc(20), 0, 20, 0)).buffer.toString("utf8", 0, contents[index]?.length)).toBe(
          contents[index] ?? "",
        );
      writeSync(ends.writeFd, "the end");
      ends.closeWriteFd();
      expect(await waiting).toBe("the end");
      expect(tableOf(ringFd)).toEqual({ size: 1024, files: 300 });
    }),
);

needs("clone of ranges (Linux 6.13)")(
  "reads and writes use the file's table entry; requests that kernel workers run use its descriptor",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      using pool = new BufferPool({ count: 1, size: 4096 });
      await using ring = new Ring({ pool });
      const file = await ring.open(folder.write("file", "through the table"), "r+");
      await using other = await ring.open(folder.write("other", "by descriptor"), "r+");
      using buffer = await pool.acquire();
      for (let request = 0; request < 3; request++) await ring.readFixed(file, buffer, { position: 0 });
      expect(dup2(other.fd, file.fd)).toBe(file.fd); // behind the library's back
      expect(await ring.readFixed(file, buffer, { position: 0 })).toBe(17);
      expect(await file.readFile("utf8")).toBe("through the table");
      expect(await file.writeFixed(buffer, { position: 17, length: 17 })).toBe(17);
      expect((await file.readv([Buffer.alloc(40)], 0)).bytesRead).toBe(34);
      expect((await file.stat()).size).toBe(13);
      await Promise.all(ring.chain([() => file.write("chained", 0), () => ring.nop()]));
      expect(readFileSync(`${folder.path}/other`, "utf8")).toBe("chainedriptor");
    }),
);

test("requests in flight and prepared requests keep their files while the table is made", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    using ends = sockets();
    using pool = new BufferPool({ count: 2, size: 4096 });
    await using ring = new Ring({ pool });
    const first = await ring.open(folder.write("first", "first"));
    const waiting = ring.poll(ends.readFd, POLLIN);
    for (let count = 1; count < 150; count++) {
      const opened = await ring.open(folder.write(`${count}`, `${count}`));
      const [mine, its] = await Promise.all([
        first.read(Buffer.alloc(8), 0, 8, 0),
        opened.read(Buffer.alloc(8), 0, 8, 0),
      ]);
      expect([mine.bytesRead, its.bytesRead]).toEqual([5, `${count}`.length]);
    }
    writeSync(ends.writeFd, "x");
    expect(await waiting).toBe(POLLIN);
  }));

test("files stay readable while the table is made and others close", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const paths = Array.from({ length: 65 }, (_, index) => folder.write(`${index}`, `${index}`));
    for (const closing of [0, 5, 63]) {
      const { ring, ringFd } = ringAndFd();
      await using _ring = ring;
      const files: RingFile[] = [];
      for (const path of paths) files.push(await ring.open(path));
      const readAll = (but?: number) =>
        Promise.all(
          files.map(async (file, index) => {
            if (index !== but) expect((await file.read(Buffer.alloc(2), 0, 2, 0)).bytesRead).toBe(`${index}`.length);
          }),
        );
      await readAll();
      await readAll();
      expect(tableOf(ringFd)).toEqual({ size: 0, files: 0 });
      // The reads make the ring register the table. The close waits for the stat, which is submitted together with
      // them: so it is prepared, but not yet submitted, when the table is made.
      await Promise.all([readAll(closing), files[closing]?.stat(), files[closing]?.close()]);
      await readAll(closing);
      if (probe().clone.ranges) expect(tableOf(ringFd)).toEqual({ size: 1024, files: 64 });
    }
  }));

test("when a pipe's write end is closed, its reader sees the end at once, whatever else is in flight", () =>
  leavingNothing(async () => {
    using never = sockets();
    using ends = pipe();
    await using ring = new Ring();
    const waiting = new AbortController();
    const poll = ring.poll(never.readFd, POLLIN, { signal: waiting.signal }).catch(({ name }) => name);
    const writer = await ring.open(`/proc/self/fd/${ends.writeFd}`, "w");
    const reader = await ring.open(`/proc/self/fd/${ends.readFd}`, "r");
    await writer.write("the end");
    await writer.close();
    ends.closeWriteFd();
    expect(await reader.readFile("utf8")).toBe("the end");
    waiting.abort();
    expect(await poll).toBe("AbortError");
  }));

for (const [limit, size] of [
  [1024, 1024],
  [1023, 256],
  [60, 16],
  [15, 0],
] as const)
  needs("clone of ranges (Linux 6.13)")(
    `with a limit of ${limit} open files the table has ${size === 0 ? "no entries" : `${size} entries`}, and files are read all the same`,
    async () => {
      expect(await run("few-files", { args: [String(limit), size === 0 ? "1" : "40"] })).toMatchObject({
        exitCode: 0,
        stdout: `all read, all read by path; table of ${size}\n`,
        stderr: "",
      });
    },
  );
