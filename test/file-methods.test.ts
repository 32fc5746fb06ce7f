import { expect, test } from "bun:test";
import { constants, readFileSync, statSync } from "node:fs";
import { type FileHandle, open as openWithNode } from "node:fs/promises";
import { BufferPool, Ring, type RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { sockets } from "./support/pipes.ts";
import { leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";

/** Does the same to a RingFile and to a FileHandle; checks that outcome, metadata and content are the same. */
async function both(act: (file: RingFile | FileHandle) => Promise<unknown>, content = "content"): Promise<void> {
  using folder = new Folder();
  const [mine, theirs] = [folder.write("mine", content), folder.write("theirs", content)];
  await using ring = new Ring();
  await using file = await ring.open(mine, "r+");
  const handle = await openWithNode(theirs, "r+");
  try {
    const outcomes = await Promise.all([file, handle].map((one) => act(one).catch(({ code }) => code)));
    expect(outcomes[0]).toEqual(outcomes[1]);
    const facts = [mine, theirs].map((path) => {
      const { mode, uid, gid, atimeMs, mtimeMs, size } = statSync(path);
      return {
        mode,
        uid,
        gid,
        size,
        content: readFileSync(path, "latin1"),
        times: atimeMs < 1e12 ? [atimeMs, mtimeMs] : [],
      };
    });
    expect(facts[0]).toEqual(facts[1]);
  } finally {
    await handle.close();
  }
}

test("chmod, chown, utimes and truncate change a file as FileHandle's do", () =>
  leavingNothing(async () => {
    await both((file) => file.chmod(0o640));
    await both((file) => file.chmod("751"));
    await both((file) => file.utimes(123.5, new Date(456_000)));
    await both((file) => file.truncate(3));
    await both((file) => file.truncate(-1));
    await both((file) => file.truncate());
    using folder = new Folder();
    const path = folder.write("file", "");
    await using ring = new Ring();
    await using file = await ring.open(path);
    const { uid, gid } = statSync(path);
    await file.chown(uid, gid);
    expect(await thrown(() => file.chmod(-1))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
  }));

test("stat returns bigints if asked to, as in node:fs", async () => {
  using folder = new Folder();
  const path = folder.write("file", "content");
  await using ring = new Ring();
  await using file = await ring.open(path);
  expect(await file.stat({ bigint: true })).toEqual(statSync(path, { bigint: true }));
  expect(await file.stat({ bigint: false })).toEqual(statSync(path));
});

test("read returns the buffer that it was given, with its type", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  await using file = await ring.open(folder.write("file", "content"));
  const given: { bytesRead: number; buffer: Buffer } = await file.read(Buffer.alloc(3), { position: 0 });
  const named: { bytesRead: number; buffer: Uint16Array } = await file.read({
    buffer: new Uint16Array(1),
    position: 0,
  });
  const made: { bytesRead: number; buffer: Buffer } = await file.read();
  expect([given, named, made].map(({ bytesRead }) => bytesRead)).toEqual([3, 2, 7]);
});

test("writeFile accepts iterables and streams, as FileHandle's does", () =>
  leavingNothing(async () => {
    const parts = ["one ", Buffer.from("two "), new Uint8Array([51])];
    await both((file) => file.writeFile(parts));
    await both((file) => file.writeFile(parts.values()));
    await both((file) =>
      file.writeFile(
        (async function* () {
          yield* parts;
        })(),
      ),
    );
    await both((file) => file.writeFile(new Blob(["of a blob"]).stream()));
    await both((file) => file.writeFile(["¬"], "latin1"));
    const failing = new Error("enough");
    using folder = new Folder();
    await using ring = new Ring();
    await using file = await ring.open(folder.write("file", ""), "w");
    const broken = (function* () {
      yield "a";
      throw failing;
    })();
    expect(await thrown(() => file.writeFile(broken))).toBe(failing);
  }));

test("iterating over a file reads from its own position to its end, and can stop early", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 200_000);
    await using ring = new Ring();
    await using file = await ring.open(path);
    for await (const piece of file) {
      expect(Buffer.compare(piece, content.subarray(0, piece.length))).toBe(0);
      break;
    }
    const rest = await Array.fromAsync(file);
    expect(Buffer.compare(Buffer.concat(rest), content.subarray(65536))).toBe(0);
    expect(rest.every((piece) => piece.buffer instanceof ArrayBuffer)).toBe(true);
  }));

test("readLines returns the same lines as FileHandle's", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", `first\r\nsecond\n\n${"ä".repeat(100_000)}\nno newline`);
    await using ring = new Ring();
    await using file = await ring.open(path);
    const handle = await openWithNode(path);
    const mine = await Array.fromAsync(file.readLines({ autoClose: false }));
    expect(mine).toEqual(await Array.fromAsync(handle.readLines({ autoClose: false })));
    expect([mine.length, file.closed]).toEqual([5, false]);
    await handle.close();
  }));

test("writeFixed can append and write durably; readFixed can refuse to wait", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    using ends = sockets();
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    const path = folder.write("file", "start");
    await using file = await ring.open(path, "r+");
    using buffer = await pool.acquire();
    buffer.bytes.set(Buffer.from("-end"));
    expect(await file.writeFixed(buffer, { length: 4, position: 0, append: true, dsync: true })).toBe(4);
    expect(readFileSync(path, "latin1")).toBe("start-end");
    // Older kernels cannot tell whether a read of a socket would wait, and refuse with EOPNOTSUPP.
    expect(["EAGAIN", "EOPNOTSUPP"]).toContain(
      (await uringError(() => ring.readFixed(ends.readFd, buffer, { noWait: true }))).code,
    );
    const misspelt: object = { noWait: true, dsync: true };
    expect(await thrown(() => file.readFixed(buffer, misspelt))).toMatchObject({ code: "ERR_INVALID_ARG_VALUE" });
    expect(await thrown(() => Reflect.apply(file.writeFixed, file, [buffer, { append: 1 }]))).toMatchObject({
      code: "ERR_INVALID_ARG_TYPE",
    });
  }));

needs("a file system with O_DIRECT")(
  "a write that appends moves the file's own position to the file's end, with O_DIRECT and without",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      using pool = new BufferPool({ count: 1, size: 4096 });
      await using ring = new Ring({ pool });
      using buffer = await pool.acquire();
      const ends: number[] = [];
      for (const direct of [false, true]) {
        const path = folder.write("file", Buffer.alloc(8192));
        await using file = await ring.open(path, "r+", 0, { direct });
        await file.writeFixed(buffer, { append: true });
        await file.writeFixed(buffer);
        ends.push(statSync(path).size);
      }
      expect(ends).toEqual([16384, 16384]);
    }),
);

needs("a file system with O_DIRECT")(
  "a refused O_DIRECT transfer names the alignment needed and the value it had; aligned transfers succeed",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const { path, content } = folder.random("file", 16384);
      using pool = new BufferPool({ count: 1, size: 8192 });
      await using ring = new Ring({ pool });
      await using file = await ring.open(path, "r", 0, { direct: true });
      await using plain = await ring.open(path);
      expect(plain.alignment).toBeUndefined();
      const { memoryBytes = 0, positionBytes = 0 } = file.alignment ?? {};
      const { dioMemAlign, dioOffsetAlign } = await ring.statx(path);
      expect([memoryBytes, positionBytes]).toEqual([dioMemAlign, dioOffsetAlign]);
      using buffer = await pool.acquire();
      expect(await file.readFixed(buffer, { position: 4096, length: 4096 })).toBe(4096);
      expect(Buffer.compare(buffer.bytes.subarray(0, 4096), content.subarray(4096, 8192))).toBe(0);
      if (positionBytes > 1) {
        const error = await uringError(() => file.readFixed(buffer, { position: 1, length: 4096 }));
        expect([error.code, error.hint]).toEqual([
          "EINVAL",
          expect.stringContaining(`positions and lengths to ${positionBytes}; this request had position 1`),
        ]);
        expect((await uringError(() => file.readv([Buffer.alloc(4096)], 3))).hint).toEndWith(
          "this request had position 3",
        );
        // No hint about alignment here: the transfer is aligned, but goes past the largest position of a file.
        expect(
          (await uringError(() => file.readFixed(buffer, { position: 2n ** 63n - 4096n, length: 8192 }))).hint,
        ).toBeUndefined();
      }
      await using numeric = await ring.open(path, constants.O_RDONLY | constants.O_DIRECT);
      expect(numeric.alignment).toEqual(file.alignment);
    }),
);

test("a file's close() waits for operations of node:fs on its descriptor", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "");
    await using ring = new Ring();
    for (let round = 0; round < 50; round++) {
      const file = await ring.open(path);
      const changed = file.chmod(0o600 + (round % 64));
      await file.close();
      await changed;
      expect(statSync(path).mode & 0o777).toBe(0o600 + (round % 64));
      expect((await uringError(() => file.chmod(0o600))).code).toBe("EBADF");
    }
  }));

test("a ring's close() waits for operations of node:fs on its files", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "");
    for (let round = 0; round < 20; round++) {
      const ring = new Ring();
      const file = await ring.open(path);
      let isChanged = false;
      const changing = file.chmod(0o600 + round).then(() => {
        isChanged = true;
      });
      expect(ring.inFlight).toBe(1);
      await ring.close();
      expect([isChanged, ring.inFlight]).toEqual([true, 0]);
      await changing;
      expect(statSync(path).mode & 0o777).toBe(0o600 + round);
    }
  }));

test("if a getter among a request's options releases its slot or closes its file, the request is refused", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 4096);
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    const file = await ring.open(path);
    const buffer = await pool.acquire();
    const releasing = {
      get noWait() {
        buffer.release();
        return false;
      },
    };
    expect((await uringError(() => file.readFixed(buffer, releasing))).code).toBe("ESTALE");
    expect(pool.available).toBe(1);
    let closed: Promise<void> | undefined;
    const closing = {
      get position() {
        closed = file.close();
        return 0;
      },
    };
    expect((await uringError(() => ring.read(file, shared(4096), closing))).message).toContain("the file is closed");
    await closed;
    expect(ring.inFlight).toBe(0);
  }));
