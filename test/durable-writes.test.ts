import { expect, test } from "bun:test";
import { readFileSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { BufferPool, Ring, type RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { pipe } from "./support/pipes.ts";
import { leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";

async function withFile(
  flags: string,
  body: (place: { ring: Ring; file: RingFile; path: string }) => Promise<void>,
): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "");
    await using ring = new Ring();
    await using file = await ring.open(path, flags);
    await body({ ring, file, path });
  });
}

/** How many requests `act` submits. A durable write is one, or two with an fdatasync of the whole file. */
async function requestsOf(ring: Ring, act: () => Promise<unknown>): Promise<number> {
  const before = ring.stats().submitted;
  await act();
  return ring.stats().submitted - before;
}

for (const flags of ["w", "a", "r+"])
  test(`a sole writer's writeDurably() is one request, and it appends to what is there, with "${flags}"`, () =>
    withFile(flags, async ({ ring, file, path }) => {
      const requests: number[] = [];
      for (const text of ["one ", "two ", "three "])
        requests.push(await requestsOf(ring, () => file.writeDurably(Buffer.from(text))));
      expect([requests, readFileSync(path, "latin1")]).toEqual([[2, 1, 1], "one two three "]);
    }));

test("writeDurably() syncs the whole file if anything else of its RingFile may have written since the last sync", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", Buffer.alloc(100));
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    await using file = await ring.open(path, "r+");
    using buffer = await pool.acquire();
    const bytes = shared(10);
    const others: Record<string, () => Promise<unknown>> = {
      write: () => file.write("text", 0),
      writev: () => file.writev([Buffer.from("text")], 0),
      writeFile: () => file.writeFile("text"),
      writeFixed: () => file.writeFixed(buffer, { position: 0, length: 10 }),
      truncate: () => file.truncate(50),
      writable: () => new Blob(["text"]).stream().pipeTo(file.writable()),
      createWriteStream: () =>
        new Promise((resolve) => file.createWriteStream({ start: 0, autoClose: false }).end("text", () => resolve(0))),
      "Ring.write": () => ring.write(file, bytes, { position: 0 }),
      "Ring.writev": () => ring.writev(file, [bytes], { position: 0 }),
      "Ring.writeFixed": () => ring.writeFixed(file, buffer, { position: 0, length: 10 }),
      "Ring.writevFixed": () => ring.writevFixed(file, [{ buffer, length: 10 }], { position: 0 }),
      "Ring.fallocate": () => ring.fallocate(file, 200),
    };
    const durably = () => requestsOf(ring, () => file.writeDurably(Buffer.from("durable"), 0, 7, 0));
    const found: [string, number, number][] = [];
    for (const [name, write] of Object.entries(others)) {
      await write();
      found.push([name, await durably(), await durably()]);
    }
    expect(found).toEqual(Object.keys(others).map((name) => [name, 2, 1]));
    await Promise.all([file.read(Buffer.alloc(10), 0, 10, 0), ring.read(file, bytes, { position: 0 })]);
    expect(await durably()).toBe(1);
  }));

test("writeDurably() syncs the whole file while another request uses it, whose write may complete after the sync", () =>
  withFile("r+", async ({ ring, file }) => {
    const durably = () => file.writeDurably(Buffer.from("text"), 0, 4, 0);
    await durably();
    expect(await requestsOf(ring, () => Promise.all([durably(), durably()]))).toBe(3);
    // The write begins before the sync. It makes the file unclean, whenever it completes.
    expect(await requestsOf(ring, () => Promise.all([file.write("text", 0), durably()]))).toBe(3);
    expect(await requestsOf(ring, durably)).toBe(2);
    expect(await requestsOf(ring, durably)).toBe(1);
  }));

test("an empty writeDurably() still syncs the file", () =>
  withFile("r+", async ({ ring, file }) => {
    const nothing = () => requestsOf(ring, () => file.writeDurably(new Uint8Array()));
    expect([await nothing(), await nothing()]).toEqual([2, 2]);
  }));

test("writeDurably() fails each time if the file has no storage, although it is written", () =>
  leavingNothing(async () => {
    using ends = pipe();
    await using ring = new Ring();
    for (const [path, flags] of [
      [`/proc/self/fd/${ends.writeFd}`, "w"],
      ["/dev/null", "w"],
      ["/proc/self/comm", "r+"],
    ] as const) {
      await using file = await ring.open(path, flags);
      for (const _ of "thrice")
        expect(await uringError(() => file.writeDurably(Buffer.from("bun")))).toMatchObject({
          code: "EINVAL",
          syscall: "fdatasync",
        });
    }
  }));

needs("mounts of tmpfs")(
  "on a full file system, writeDurably() keeps what there was room for, fails with ENOSPC, and repeats nothing",
  () =>
    leavingNothing(async () => {
      using mount = new Mount("tmpfs", smallest.tmpfs);
      const path = `${mount.path}/file`;
      await using ring = new Ring();
      const content = Buffer.alloc(smallest.tmpfs + 10_000, "content ");
      for (const flags of ["a", "w"]) {
        await using file = await ring.open(path, flags);
        await file.writeDurably(content.subarray(0, 1000));
        const error = await uringError(() => file.writeDurably(content.subarray(1000)));
        expect(error).toMatchObject({ code: "ENOSPC", syscall: "write", path });
        expect(statSync(path).size).toBe(smallest.tmpfs);
        expect(Buffer.compare(readFileSync(path), content.subarray(0, smallest.tmpfs))).toBe(0);
        await file.truncate(0);
        await file.writeDurably(Buffer.from("again"));
        rmSync(path);
      }
    }),
);

type Write = (bytes: Buffer) => Promise<unknown>;

const durableWrites: Record<string, (file: RingFile, pool: BufferPool) => Promise<Write>> = {
  writeDurably: async (file) => {
    await file.writeDurably(Buffer.from("first")); // from now on a call is one request
    return (bytes) => file.writeDurably(bytes);
  },
  "writeFixed with dsync": async (file, pool) => async (bytes) => {
    using buffer = await pool.acquire();
    buffer.bytes.set(bytes);
    await file.writeFixed(buffer, { length: bytes.length, dsync: true });
  },
  "an appender": async (file) => {
    const appender = await file.appender();
    return (bytes) => appender.append(bytes);
  },
};

async function onXfs(body: (place: { ring: Ring; file: RingFile; pool: BufferPool; image: string }) => Promise<void>) {
  await leavingNothing(async () => {
    using mount = new Mount("xfs", smallest.xfs);
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    await using file = await ring.open(`${mount.path}/file`, "w");
    await body({ ring, file, pool, image: `${dirname(mount.path)}/image` });
  });
}

for (const [name, writer] of Object.entries(durableWrites)) {
  needs("mounts of xfs")(`what ${name} has written is on the device when the promise resolves`, () =>
    onXfs(async ({ file, pool, image }) => {
      const onDevice = (text: string) => readFileSync(image).includes(text);
      const write = await writer(file, pool);
      await file.write("not synced");
      expect(onDevice("not synced")).toBe(false);
      for (let turn = 0; turn < 3; turn++) {
        const unique = crypto.randomUUID();
        await write(Buffer.from(unique));
        expect([turn, onDevice(unique)]).toEqual([turn, true]);
      }
    }),
  );

  needs("mounts of xfs")(`${name} leaves the sync to a worker of the kernel, and does not block the event loop`, () =>
    onXfs(async ({ ring, file, pool }) => {
      const write = await writer(file, pool);
      const before = ring.stats().wakeups;
      // Without a worker most writes are complete as soon as they are submitted, and nothing wakes the ring.
      for (let turn = 0; turn < 20; turn++) await write(Buffer.from("text"));
      expect(ring.stats().wakeups - before).toBeGreaterThan(14);
    }),
  );
}
