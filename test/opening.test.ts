/** How Ring.open opens what open(2) may wait for, or what must not be opened twice. */
import { describe, expect, spyOn } from "bun:test";
import { closeSync, constants, existsSync, openSync, renameSync, writeSync } from "node:fs";
import { Ring } from "bun-uring";
import { IoUringEngine } from "../lib/engines/io-uring.ts";
import type { Operation } from "../lib/requests/operation.ts";
import { IORING_OP_OPENAT, IOSQE_ASYNC } from "../lib/uring/uapi.ts";
import { thrown } from "./support/errors.ts";
import { FaultyFiles } from "./support/faulty-files.ts";
import { Folder } from "./support/files.ts";
import { fifo } from "./support/pipes.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsOf, fdsUnder, leavingNothing } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";

const { O_RDONLY, O_WRONLY, O_RDWR, O_NONBLOCK, O_DIRECTORY } = constants;
const O_PATH = 0o10000000;

async function withFifo(body: (ring: Ring, path: string) => Promise<void>): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    const path = fifo(`${folder.path}/fifo`);
    await using ring = new Ring();
    await body(ring, path);
    expect([fdsUnder(folder.path), ring.inFlight]).toEqual([0, 0]);
  });
}

/** Resolves when nothing that the ring has started can complete any more without help. */
async function settle(ring: Ring): Promise<void> {
  await ring.timeout(10);
}

async function isPending(ring: Ring, promise: Promise<unknown>): Promise<boolean> {
  const settled = promise.then(
    () => false,
    () => false,
  );
  return await Promise.race([settled, settle(ring).then(() => true)]);
}

describe("open() of a FIFO for reading", () => {
  test("waits for a writer, whether it writes or not, and reads what it writes", () =>
    withFifo(async (ring, path) => {
      for (const text of ["", "content"]) {
        const opening = ring.open(path);
        expect(await isPending(ring, opening)).toBe(true);
        const fd = openSync(path, O_WRONLY);
        await using file = await opening;
        writeSync(fd, text);
        closeSync(fd);
        expect(await file.readFile("utf8")).toBe(text);
      }
    }));

  test("returns also if the writer has come and gone meanwhile, with or without leaving anything", () =>
    withFifo(async (ring, path) => {
      for (const text of ["", "left behind"]) {
        const opening = ring.open(path);
        await settle(ring);
        const fd = openSync(path, O_WRONLY);
        writeSync(fd, text);
        closeSync(fd);
        await using file = await opening;
        expect(await file.readFile("utf8")).toBe(text);
      }
    }));

  test("returns also if the writer comes and goes just when the open begins to wait", () =>
    withFifo(async (ring, path) => {
      const { start } = IoUringEngine.prototype;
      for (const text of ["", "left behind"]) {
        using _start = spyOn(IoUringEngine.prototype, "start").mockImplementation(function (
          this: IoUringEngine<Operation>,
          request,
          links,
        ) {
          if (request.opcode === IORING_OP_OPENAT && (request.flags & IOSQE_ASYNC) !== 0) {
            const fd = openSync(path, O_WRONLY);
            writeSync(fd, text);
            closeSync(fd);
          }
          Reflect.apply(start, this, [request, links]);
        });
        await using file = await ring.open(path);
        expect(await file.readFile("utf8")).toBe(text);
      }
    }));

  test("returns at once if there is a writer, and does not wait with O_NONBLOCK, O_RDWR or O_PATH", () =>
    withFifo(async (ring, path) => {
      for (const flags of [O_RDONLY | O_NONBLOCK, O_RDWR, O_PATH, "r+"]) {
        await using _file = await ring.open(path, flags);
      }
      const writer = openSync(path, O_RDWR);
      await using _file = await ring.open(path);
      closeSync(writer);
    }));

  test("finds the writer even if the FIFO was renamed", () =>
    withFifo(async (ring, path) => {
      const opening = ring.open(path);
      await settle(ring);
      renameSync(path, `${path}-renamed`);
      const fd = openSync(`${path}-renamed`, O_WRONLY);
      await using _file = await opening;
      closeSync(fd);
    }));

  test("rejects with the signal's reason when it is aborted, and the FIFO can be opened again", () =>
    withFifo(async (ring, path) => {
      const reason = new Error("enough");
      for (const when of ["at once", "later"] as const) {
        const stop = new AbortController();
        const opening = thrown(() => ring.open(path, { signal: stop.signal }));
        if (when === "later") await settle(ring);
        stop.abort(reason);
        expect(await opening).toBe(reason);
        while (ring.inFlight > 0) await ring.timeout(1);
        expect(fdsOf(path)).toBe(0);
      }
      const opening = ring.open(path);
      await settle(ring);
      const fd = openSync(path, O_WRONLY);
      await using _file = await opening;
      closeSync(fd);
    }));

  test("rejects when the ring is closed", () =>
    withFifo(async (ring, path) => {
      for (const when of ["at once", "later"] as const) {
        const closing = new Ring();
        const opening = thrown(() => closing.open(path));
        if (when === "later") await settle(ring);
        await closing.close();
        expect(await opening).toMatchObject({ code: when === "later" ? "ECANCELED" : expect.any(String) });
        expect(fdsOf(path)).toBe(0);
      }
    }));

  test("more than the kernel has workers for, wait at once; each gets its writer, and other opens go on", () =>
    leavingNothing(async () => {
      using folder = new Folder();
      await using ring = new Ring();
      const paths = Array.from({ length: 40 }, (_, index) => fifo(`${folder.path}/${index}`));
      const opening = paths.map((path) => ring.open(path));
      await settle(ring);
      await (await ring.open(import.meta.path)).close();
      for (const path of paths) {
        const fd = openSync(path, O_WRONLY | O_NONBLOCK);
        writeSync(fd, path);
        closeSync(fd);
      }
      for (const [index, file] of (await Promise.all(opening)).entries())
        expect(await file.readFile("utf8")).toBe(paths[index] ?? "");
    }));

  test("in a chain, keeps the next operation from beginning before there is a writer", () =>
    withFifo(async (ring, path) => {
      const order: string[] = [];
      const [opening, next] = ring.chain([() => ring.open(path), () => ring.nop()]);
      const both = [opening?.then(() => order.push("open")), next?.then(() => order.push("nop"))];
      await settle(ring);
      expect(order).toEqual([]);
      const fd = openSync(path, O_WRONLY | O_NONBLOCK);
      await Promise.all(both);
      closeSync(fd);
      const file = await opening;
      if (file !== undefined && file !== null && typeof file === "object") await file.close();
    }));
});

describe("open() of a FIFO for writing", () => {
  test("waits for a reader; with O_NONBLOCK it fails with ENXIO", () =>
    withFifo(async (ring, path) => {
      expect(await thrown(() => ring.open(path, O_WRONLY | O_NONBLOCK))).toMatchObject({ code: "ENXIO" });
      for (const flags of ["w", "a", O_WRONLY]) {
        const opening = ring.open(path, flags);
        expect(await isPending(ring, opening)).toBe(true);
        const reader = openSync(path, O_RDONLY | O_NONBLOCK);
        await using file = await opening;
        await file.write("content");
        const found = Buffer.from(new SharedArrayBuffer(7));
        await ring.read(reader, found);
        expect(found.toString()).toBe("content");
        closeSync(reader);
      }
    }));

  test("rejects when it is aborted or the ring is closed", () =>
    withFifo(async (ring, path) => {
      const stop = new AbortController();
      const reason = new Error("enough");
      const opening = thrown(() => ring.open(path, { flags: "w", signal: stop.signal }));
      await settle(ring);
      stop.abort(reason);
      expect(await opening).toBe(reason);
      while (ring.inFlight > 0) await ring.timeout(1);
      const closing = new Ring();
      const other = thrown(() => closing.open(path, "w"));
      await settle(ring);
      await closing.close();
      expect(await other).toMatchObject({ code: "ECANCELED" });
    }));
});

test("opening a socket fails with ENXIO, like open(2)", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const listener = Bun.listen({ unix: `${folder.path}/socket`, socket: { data: () => undefined } });
    expect(await thrown(() => ring.open(`${folder.path}/socket`))).toMatchObject({ code: "ENXIO", syscall: "openat" });
    listener.stop(true);
  }));

test("what is no FIFO is opened once: each open of ptmx is a new terminal", async () => {
  using folder = new Folder();
  const path = fifo(`${folder.path}/fifo`);
  using start = spyOn(IoUringEngine.prototype, "start");
  const opens = () => start.mock.calls.filter(([{ opcode }]) => opcode === IORING_OP_OPENAT).length;
  await leavingNothing(async () => {
    await using ring = new Ring();
    const cases: readonly (readonly [string, string | number])[] = [
      ["/dev/null", "r"],
      ["/dev/ptmx", "r+"],
      ["/dev/ptmx", "r"],
      ...(process.getuid?.() === 0 ? [["/dev/kmsg", "r"] as const] : []),
      ["/proc/self/status", "r"],
      [import.meta.path, "r"],
      [folder.path, O_RDONLY | O_DIRECTORY],
      [path, O_PATH],
      [path, O_RDWR],
      [path, O_RDONLY | O_NONBLOCK],
    ];
    for (const [given, flags] of cases) {
      if (!existsSync(given)) continue;
      const before = opens();
      await using _file = await ring.open(given, flags);
      expect([given, flags, opens() - before, fdsOf(path)]).toEqual([given, flags, 1, given === path ? 1 : 0]);
    }
  });
});

needs("mounts of FUSE")("a file of a FUSE file system is opened once", async () => {
  await using files = await FaultyFiles.mount();
  using start = spyOn(IoUringEngine.prototype, "start");
  await using ring = new Ring();
  await using _file = await ring.open(files.of("good"));
  expect(start.mock.calls.filter(([{ opcode }]) => opcode === IORING_OP_OPENAT).length).toBe(1);
});

test("a Worker that is terminated while it waits for the other end of a FIFO leaves nothing open", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    for (const flags of ["r", "w"]) {
      const path = fifo(`${folder.path}/${flags}`);
      const worker = new TestWorker<string>("fifo-opener", { path, flags });
      expect(await worker.answer()).toBe("waiting");
      await worker.terminate();
      expect(fdsUnder(folder.path)).toBe(0);
    }
  }));
