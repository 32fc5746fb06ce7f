import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import { BufferPool, probe, Ring } from "bun-uring";
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

needs("clone of ranges (Linux 6.13)")(
  "a file is in the ring's registered file table from its open to its close, and the table grows",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const paths = Array.from({ length: 100 }, (_, index) => folder.write(`${index}`, `content of ${index}`));
      const others = ringDescriptors(); // rings that other test files left to the garbage collector
      await using ring = new Ring();
      const [ringFd = ""] = ringDescriptors().filter((fd) => !others.includes(fd));
      expect(tableOf(ringFd)).toEqual({ size: 0, files: 0 });
      const first = await ring.open(paths[0] ?? "");
      expect(tableOf(ringFd)).toEqual({ size: 64, files: 1 });
      const files = [first, ...(await Promise.all(paths.slice(1).map((path) => ring.open(path))))];
      expect(tableOf(ringFd)).toEqual({ size: 128, files: 100 });
      for (const [index, file] of files.entries()) expect(await file.readFile("utf8")).toBe(`content of ${index}`);
      await Promise.all(files.slice(10).map((file) => file.close()));
      expect(tableOf(ringFd)).toEqual({ size: 128, files: 10 });
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
      expect(dup2(other.fd, file.fd)).toBe(file.fd); // behind the library's back
      expect(await file.readFixed(buffer, { position: 0 })).toBe(17);
      expect(await file.readFile("utf8")).toBe("through the table");
      expect(await file.writeFixed(buffer, { position: 17, length: 17 })).toBe(17);
      expect((await file.readv([Buffer.alloc(40)], 0)).bytesRead).toBe(34);
      expect((await file.stat()).size).toBe(13);
      await Promise.all(ring.chain([() => file.write("chained", 0), () => ring.nop()]));
      expect(readFileSync(`${folder.path}/other`, "utf8")).toBe("chainedriptor");
    }),
);

test("requests in flight and prepared requests keep their files while the table grows", () =>
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

test("files stay readable while the table grows and others close", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const paths = Array.from({ length: 65 }, (_, index) => folder.write(`${index}`, `${index}`));
    for (const closing of [0, 5, 63]) {
      const others = ringDescriptors();
      await using ring = new Ring();
      const [ringFd = ""] = ringDescriptors().filter((fd) => !others.includes(fd));
      const files = [];
      for (const path of paths.slice(0, 64)) files.push(await ring.open(path));
      // The open makes the ring register a larger table. The close waits for the stat, which is submitted together with
      // the open: so it is prepared, but not yet submitted, when the table is replaced.
      const [last] = await Promise.all([ring.open(paths[64] ?? ""), files[closing]?.stat(), files[closing]?.close()]);
      for (const [index, file] of [...files, last].entries())
        if (index !== closing) expect((await file.read(Buffer.alloc(2), 0, 2, 0)).bytesRead).toBe(`${index}`.length);
      expect((await last.stat()).size).toBe(2);
      if (probe().clone.ranges) expect(tableOf(ringFd)).toEqual({ size: 128, files: 64 });
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

test("if the file table cannot be registered, files are used by their descriptors", async () => {
  expect(await run("few-files")).toMatchObject({ exitCode: 0, stdout: "40 files read\n", stderr: "" });
});
