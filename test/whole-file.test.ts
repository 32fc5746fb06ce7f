import { expect, test } from "bun:test";
import { appendFileSync, readFileSync, truncateSync } from "node:fs";
import { Ring } from "bun-uring";
import { native } from "../lib/uring/native.ts";
import { numbered } from "./support/content.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { run } from "./support/programs.ts";
import { leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";

const largest = 2 ** 32;

test("readFile() refuses a file that no Buffer can hold, with Node's error code, before it reads any of it", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "");
    truncateSync(path, 64 * 2 ** 30);
    await using ring = new Ring();
    await using file = await ring.open(path);
    const before = ring.stats().submitted;
    const error = await thrown(() => file.readFile());
    expect([error.name, error.code, error.message]).toEqual([
      "RangeError",
      "ERR_FS_FILE_TOO_LARGE",
      `File size (${64 * 2 ** 30}) is greater than ${largest} bytes, the largest Buffer`,
    ]);
    expect(ring.stats().submitted - before).toBe(0);
    expect((await file.read(Buffer.alloc(1))).bytesRead).toBe(1);
  }));

test("readFile() reads the rest of a file that is larger than any Buffer, if a Buffer can hold the rest", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "");
    truncateSync(path, largest + 5);
    appendFileSync(path, "end");
    await using ring = new Ring();
    await using file = await ring.open(path);
    native().fileSeek(file.fd, largest, 0);
    expect((await file.readFile()).toString("latin1")).toBe("\0\0\0\0\0end");
  }));

test("readFile() uses memory for one copy of the file, and returns an ordinary Buffer", async () => {
  using folder = new Folder();
  const { stdout, stderr } = await run("whole-file", { args: [`${folder.path}/file`, "384"] });
  expect(stderr).toBe("");
  const { length, isOrdinary, tookMiB } = JSON.parse(stdout);
  expect([length, isOrdinary]).toEqual([384 * 2 ** 20, true]);
  expect(tookMiB).toBeGreaterThanOrEqual(380);
  expect(tookMiB).toBeLessThan(384 + 64);
});

test("readFile() returns all that there is of a file that grows or shrinks meanwhile", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const { path, content } = folder.random("file", 3_500_000);
    await using file = await ring.open(path, "r+");
    // readFile() asks for the size with a request of its own. The write that is queued after it in the same tick has
    // taken effect before the last piece is read.
    const reading = file.readFile();
    const growing = file.write(Buffer.from("more"), 0, 4, content.length);
    const whole = await reading;
    await growing;
    expect(Buffer.compare(whole.subarray(0, content.length), content)).toBe(0);
    expect(["", "more"]).toContain(whole.subarray(content.length).toString("latin1"));
    await using again = await ring.open(path, "r+");
    const shrunk = again.readFile();
    truncateSync(path, 10);
    const rest = await shrunk;
    expect(Buffer.compare(rest, content.subarray(0, rest.length))).toBe(0);
    expect([file, again].map(({ closed }) => closed)).toEqual([false, false]);
  }));

test("readFile() needs few requests even if the file has grown a lot since its size was read", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const path = folder.write("file", "0123456789");
    await using file = await ring.open(path);
    const more = Buffer.alloc(5_000_000, "more");
    // The file grows after the request for its size, and before the first read.
    const growing = file.stat().then(() => appendFileSync(path, more));
    const before = ring.stats().submitted;
    const whole = await file.readFile();
    await growing;
    expect(whole.toString("latin1", 0, 10)).toBe("0123456789");
    expect(ring.stats().submitted - before).toBeLessThan(200);
  }));

test("if several calls read a file at its own position at once, each byte goes to exactly one of them", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const words = 2 ** 20;
    const path = folder.write("file", numbered(4 * words));
    await using file = await ring.open(path);
    const buffers = Array.from({ length: 40 }, () => Buffer.alloc(4 * 500));
    const reads = buffers.slice(20).map((buffer) => file.read(buffer));
    const whole = Promise.all([file.readFile(), file.readFile()]);
    await Promise.all([...reads, ...buffers.slice(0, 20).map((buffer) => file.read(buffer))]);
    const pieces = [...(await whole), ...buffers];
    const seen = new Uint8Array(words);
    for (const piece of pieces)
      for (let at = 0; at < piece.length; at += 4)
        seen[piece.readUInt32LE(at)] = (seen[piece.readUInt32LE(at)] ?? 0) + 1;
    expect([pieces.reduce((sum, { length }) => sum + length, 0), seen.every((count) => count === 1)]).toEqual([
      4 * words,
      true,
    ]);
  }));

test("concurrent writeFile(), appendFile(), write() and writev() calls lose nothing, and each call's data stays in order", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const path = folder.write("file", "");
    await using file = await ring.open(path, "r+");
    const lines = (name: string) => Array.from({ length: 200 }, (_, index) => `${name}${index}\n`);
    await Promise.all([
      file.writeFile(lines("a")),
      file.appendFile(lines("b").values()),
      ...lines("c").map((line) => file.write(line)),
      file.writev(Array.from({ length: 2000 }, (_, index) => Buffer.from(`d${index}\n`))),
    ]);
    const found = readFileSync(path, "latin1").split("\n").slice(0, -1);
    expect(found.toSorted()).toEqual(
      [...["a", "b", "c"].flatMap(lines), ...Array.from({ length: 2000 }, (_, index) => `d${index}\n`)]
        .map((line) => line.trim())
        .toSorted(),
    );
    // The lines of each call are in order.
    for (const name of "abcd") {
      const own = found.filter((line) => line.startsWith(name)).map((line) => Number(line.slice(1)));
      expect(own).toEqual(own.toSorted((a, b) => a - b));
    }
  }));

for (const size of [0, 1, 65_535, 65_536, 65_537, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 3 * 2 ** 20, 3_456_789]) {
  test(`readFile() returns all of ${size} bytes from the file's own position, and leaves the position at the end`, async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const { path, content } = folder.random("file", size);
    await using file = await ring.open(path);
    expect(Buffer.compare(await file.readFile(), content)).toBe(0);
    expect((await file.readFile()).length).toBe(0);
    await using second = await ring.open(path);
    const { bytesRead } = await second.read(Buffer.alloc(1000));
    expect(Buffer.compare(await second.readFile(), content.subarray(bytesRead))).toBe(0);
    expect(readFileSync(`/proc/self/fdinfo/${second.fd}`, "utf8")).toContain(`pos:\t${size}\n`);
  });
}

test("an abort ends writeFile() of an iterable between two parts, even if the next part is empty", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  const path = folder.write("file", "");
  await using file = await ring.open(path, "w");
  const controller = new AbortController();
  const parts = (function* () {
    yield "one ";
    controller.abort(new Error("enough"));
    yield "";
    yield "two ";
  })();
  expect(await thrown(() => file.writeFile(parts, { signal: controller.signal }))).toMatchObject({
    code: "ABORT_ERR",
    cause: new Error("enough"),
  });
  expect(readFileSync(path, "latin1")).toBe("one ");
});

test("with flush, writeFile() and appendFile() wait until the data is on storage, and a device without storage is no error", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  await using file = await ring.open(folder.write("file", ""), "w");
  await file.stat();
  for (const [flush, requests] of [
    [false, 1],
    [true, 2],
  ] as const) {
    const before = ring.stats().submitted;
    await file.writeFile("x", { flush });
    expect(ring.stats().submitted - before).toBe(requests);
  }
  await using device = await ring.open("/dev/null", "w");
  await device.appendFile("x", { flush: true });
});

for (const way of ["detached", "made shorter"])
  test(`memory that is ${way} during its write fails the write instead of being left out silently`, () =>
    leavingNothing(async () => {
      using ends = pipe();
      await using ring = new Ring();
      await using file = await ring.open(`/proc/self/fd/${ends.writeFd}`, "w");
      const memory = new ArrayBuffer(2 ** 20, { maxByteLength: 2 ** 20 });
      const writing = file.writeFile(new Uint8Array(memory)).then(
        () => "all",
        (error: unknown) => error,
      );
      const piece = shared(65536);
      let readBytes = await ring.read(ends.readFd, piece); // from here on a part of it is in the pipe
      if (way === "detached") memory.transfer();
      else memory.resize(10);
      let failed = false;
      const end = writing.finally(() => {
        failed = true;
      });
      while (!failed) readBytes += await Promise.race([ring.read(ends.readFd, piece), end.then(() => 0)]);
      const outcome = await end;
      // On older kernels all of it is one request, which is already in flight.
      if (outcome === "all") for (; readBytes < 2 ** 20; readBytes += await ring.read(ends.readFd, piece));
      else expect(outcome).toMatchObject({ code: "ERR_INVALID_STATE" });
    }));
