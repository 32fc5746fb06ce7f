import { dlopen } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { BufferPool, Ring, type RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { directFlags } from "./support/direct.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { pipe } from "./support/pipes.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";

const { dup } = dlopen("libc.so.6", { dup: { args: ["i32"], returns: "i32" } }).symbols;

const pieceBytes = 65536;
const pieceCount = 10;

/** All pieces in order, each filled with its own number, from 1 on. */
const numbered = Buffer.concat(Array.from({ length: pieceCount }, (_, index) => Buffer.alloc(pieceBytes, index + 1)));

const byFileSystem = {
  "a disk's file system": { needed: "test folders on a disk", make: () => new Folder("disk") },
  "tmpfs on /dev/shm": { needed: "tmpfs on /dev/shm", make: () => new Folder("memory") },
  btrfs: { needed: "mounts of btrfs", make: () => new Mount("btrfs", smallest.btrfs) },
  xfs: { needed: "mounts of xfs", make: () => new Mount("xfs", smallest.xfs) },
} as const;

/** Ways to write `bytes` at the file's own position. Each resolves to the number of bytes written. */
const writers: Record<string, (place: Place, bytes: Buffer) => Promise<number>> = {
  "RingFile.write": async ({ file }, bytes) => (await file.write(bytes)).bytesWritten,
  "RingFile.writev": async ({ file }, bytes) =>
    (await file.writev([bytes.subarray(0, 4096), bytes.subarray(4096)])).bytesWritten,
  "Ring.write": ({ ring, file }, bytes) => ring.write(file, sharedCopy(bytes)),
  writeFixed: async ({ ring, file, pool }, bytes) => {
    using buffer = await pool.acquire();
    buffer.bytes.set(bytes);
    return await ring.writeFixed(file, buffer, { length: bytes.length });
  },
  writeDurably: async ({ file }, bytes) => (await file.writeDurably(bytes)).bytesWritten,
};

const readers: Record<string, (place: Place) => Promise<Uint8Array>> = {
  "RingFile.read": async ({ file }) => {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(pieceBytes));
    return buffer.subarray(0, bytesRead);
  },
  "RingFile.readv": async ({ file }) => {
    const buffer = Buffer.alloc(pieceBytes);
    const { bytesRead } = await file.readv([buffer.subarray(0, 8192), buffer.subarray(8192)]);
    return buffer.subarray(0, bytesRead);
  },
  readFixed: async ({ ring, file, pool }) => {
    using buffer = await pool.acquire();
    return buffer.bytes.slice(0, await ring.readFixed(file, buffer));
  },
  "Ring.read of a descriptor": async ({ ring, file }) => {
    const bytes = shared(pieceBytes);
    return bytes.subarray(0, await ring.read(file.fd, bytes));
  },
};

interface Place {
  readonly ring: Ring;
  readonly pool: BufferPool;
  readonly file: RingFile;
}

function sharedCopy(bytes: Uint8Array): Uint8Array {
  const copy = shared(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Its position and length are aligned, as O_DIRECT requires. */
function piece(index: number): Buffer {
  return numbered.subarray(index * pieceBytes, (index + 1) * pieceBytes);
}

async function withFile(
  path: string,
  flags: string,
  direct: boolean,
  body: (place: Place) => Promise<void>,
): Promise<void> {
  await leavingNothing(async () => {
    using pool = new BufferPool({ count: 4, size: pieceBytes });
    await using ring = new Ring({ pool });
    await using file = await ring.open(path, flags, 0o600, { direct });
    await body({ ring, pool, file });
    expect(ring.inFlight).toBe(0);
  });
}

for (const [name, { needed, make }] of Object.entries(byFileSystem))
  describe(`on ${name}, transfers started together at a file's own position run one after the other, and nothing is lost`, () => {
    for (const direct of [false, true])
      needs(needed)(`every kind of write and read${direct ? ", with O_DIRECT" : ""}`, async () => {
        using place = make();
        const path = `${place.path}/file`;
        writeFileSync(path, "");
        const past = direct && directFlags(path) !== constants.O_RDONLY; // tmpfs supports O_DIRECT since Linux 6.6
        for (const [writer, write] of Object.entries(writers)) {
          await withFile(path, "w", past, async (opened) => {
            const written = await Promise.all(
              Array.from({ length: pieceCount }, (_, index) => write(opened, piece(index))),
            );
            expect([writer, written]).toEqual([writer, new Array(pieceCount).fill(pieceBytes)]);
          });
          expect([writer, Buffer.compare(readFileSync(path), numbered)]).toEqual([writer, 0]);
        }
        const appended = `${place.path}/log`;
        await withFile(appended, "a", past, async (opened) => {
          await Promise.all(
            Object.values(writers).flatMap((write) =>
              Array.from({ length: pieceCount }, (_, index) => write(opened, piece(index))),
            ),
          );
        });
        const records = readFileSync(appended);
        expect(records.length).toBe(Object.keys(writers).length * numbered.length);
        for (const [index] of Array.from({ length: pieceCount }).entries())
          expect(records.filter((byte) => byte === index + 1).length).toBe(Object.keys(writers).length * pieceBytes);
        for (const [reader, read] of Object.entries(readers))
          await withFile(path, "r+", past, async (opened) => {
            await opened.file.sync();
            // Reads from the page cache would complete at once, and never be in flight together.
            await opened.ring.fadvise(opened.file, "dontneed");
            const pieces = await Promise.all(Array.from({ length: pieceCount }, () => read(opened)));
            expect([reader, Buffer.compare(Buffer.concat(pieces), numbered)]).toEqual([reader, 0]);
            expect((await read(opened)).length).toBe(0);
          });
      });
  });

test("transfers of different kinds, started together, each start where the previous one ended", async () => {
  using folder = new Folder();
  const path = folder.write("file", "0123456789");
  await withFile(path, "r+", false, async ({ file }) => {
    const results = await Promise.all([
      file.write("ab"),
      file.read(Buffer.alloc(2)),
      file.writev([Buffer.from("c"), Buffer.from("de")]),
      file.read(Buffer.alloc(100)),
      file.read(Buffer.alloc(100)),
      file.write("Z", 0),
      file.write("end"),
    ]);
    expect(results.map((result) => ("bytesRead" in result ? result.bytesRead : result.bytesWritten))).toEqual([
      2, 2, 3, 3, 0, 1, 3,
    ]);
  });
  expect(readFileSync(path, "latin1")).toBe("Zb23cde789end");
});

test("appended records keep the order in which they were started, and a read after them starts at the end of the last", async () => {
  using folder = new Folder();
  const path = folder.write("log", "old ");
  await withFile(path, "a+", false, async ({ file }) => {
    const first = file.read(Buffer.alloc(3));
    const writes = Array.from({ length: 100 }, (_, index) => file.write(`${index} `));
    const last = file.read(Buffer.alloc(3));
    await Promise.all(writes);
    expect((await first).buffer.toString()).toBe("old");
    expect((await last).bytesRead).toBe(0); // the position is now at the end of the last write
  });
  expect(readFileSync(path, "latin1")).toBe(`old ${Array.from({ length: 100 }, (_, index) => `${index} `).join("")}`);
});

for (const direct of [false, true])
  needs(...(direct ? (["a file system with O_DIRECT"] as const) : []))(
    `the transfers of a chain, and of chains started together, each start where the previous one ended${direct ? ", with O_DIRECT" : ""}`,
    async () => {
      using folder = new Folder();
      const path = folder.write("file", "");
      await withFile(path, "w+", direct, async ({ ring, file }) => {
        const chain = (first: number) =>
          ring.chain([() => file.write(piece(first)), () => file.write(piece(first + 1)), () => ring.fdatasync(file)]);
        await Promise.all([...chain(0), file.write(piece(2)), ...chain(3)]);
      });
      expect(Buffer.compare(readFileSync(path), numbered.subarray(0, 5 * pieceBytes))).toBe(0);
    },
  );

test("a short transfer ends its chain, and the next transfer starts where the chain ended", async () => {
  using folder = new Folder();
  const path = folder.write("file", "abcdef");
  await withFile(path, "r+", false, async ({ ring, file }) => {
    const chain = ring.chain([
      () => file.read(Buffer.alloc(4)),
      () => file.read(Buffer.alloc(4)),
      () => file.write("never"),
    ]);
    const behind = file.write("X");
    const outcomes = await Promise.allSettled([...chain, behind]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
  });
  expect(readFileSync(path, "latin1")).toBe("abcdefX");
});

needs("FTRUNCATE (Linux 6.9)")("positions past 2^53 work like any other", async () => {
  using folder = new Folder("memory");
  const path = folder.write("sparse", "");
  await withFile(path, "a+", false, async ({ ring, file }) => {
    const size = 2n ** 60n;
    await ring.ftruncate(file, size);
    for (const text of ["x", "yz"]) await file.write(text);
    expect((await file.stat({ bigint: true })).size).toBe(size + 3n);
    const fd = openSync(path, "r");
    const bytes = Buffer.alloc(3);
    readSync(fd, bytes, 0, 3, size);
    closeSync(fd);
    expect(bytes.toString()).toBe("xyz");
  });
});

test("a queued transfer can be aborted, and the transfers queued after it go on without it", async () => {
  using folder = new Folder();
  const path = folder.write("file", "");
  await withFile(path, "w", false, async ({ ring, file }) => {
    const stop = new AbortController();
    const first = ring.write(file, sharedCopy(Buffer.from("first ")));
    const aborted = thrown(() => ring.write(file, sharedCopy(Buffer.from("aborted ")), { signal: stop.signal }));
    const chain = ring.chain([
      () => ring.write(file, sharedCopy(Buffer.from("chain "))),
      () => ring.write(file, sharedCopy(Buffer.from("cut ")), { signal: stop.signal }),
      () => ring.write(file, sharedCopy(Buffer.from("cut, too "))),
    ]);
    const last = ring.write(file, sharedCopy(Buffer.from("last")));
    const reason = new Error("enough");
    stop.abort(reason);
    expect(await aborted).toBe(reason);
    const [begun, cut, after] = await Promise.allSettled(chain);
    expect(begun.status).toBe("fulfilled");
    expect(cut).toMatchObject({ status: "rejected", reason });
    expect(after).toMatchObject({ status: "rejected", reason: { code: "ECANCELED" } });
    await Promise.all([first, last]);
  });
  expect(readFileSync(path, "latin1")).toBe("first chain last");
});

test("file.close() waits for queued transfers, ring.close() cancels them, and every one settles", async () => {
  using folder = new Folder();
  const path = folder.write("file", "");
  await leavingNothing(async () => {
    const ring = new Ring();
    const closed = await ring.open(path, "w");
    const writes = Array.from({ length: 20 }, () => closed.write("ab"));
    await closed.close();
    await Promise.all(writes);
    expect(statSync(path).size).toBe(40);
    const left = await ring.open(path, "w");
    const outcomes = Promise.allSettled(Array.from({ length: 20 }, () => left.write("ab")));
    await ring.close();
    const codes = (await outcomes).map((outcome) => (outcome.status === "fulfilled" ? "written" : outcome.reason.code));
    expect(codes.filter((code) => code !== "written" && code !== "ECANCELED")).toEqual([]);
    expect(codes.at(-1)).toBe("ECANCELED");
    expect(statSync(path).size).toBe(2 * codes.filter((code) => code === "written").length);
    expect(ring.inFlight).toBe(0);
    expect(fdsUnder(folder.path)).toBe(0);
  });
});

test("on a FIFO or a pipe, which have no position, a waiting read does not hold up a write", async () => {
  using folder = new Folder();
  const path = `${folder.path}/fifo`;
  expect(Bun.spawnSync(["mkfifo", path]).success).toBe(true);
  await leavingNothing(async () => {
    await using ring = new Ring();
    await using fifo = await ring.open(path, constants.O_RDWR);
    const bytes = shared(4);
    const waiting = ring.read(fifo, bytes);
    await ring.write(fifo, sharedCopy(Buffer.from("abcd")));
    expect([await waiting, Buffer.from(bytes).toString()]).toEqual([4, "abcd"]);
    using ends = pipe();
    const reads = [ring.read(ends.readFd, shared(1)), ring.read(ends.readFd, shared(1))];
    await ring.write(ends.writeFd, sharedCopy(Buffer.from("ab")));
    expect(await Promise.all(reads)).toEqual([1, 1]);
  });
});

test("a FIFO refuses a position with ESPIPE, as FileHandle does, before anything is read", async () => {
  using folder = new Folder();
  const path = `${folder.path}/fifo`;
  expect(Bun.spawnSync(["mkfifo", path]).success).toBe(true);
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring({ pool });
  await using fifo = await ring.open(path, constants.O_RDWR);
  await fifo.write("abcd");
  using buffer = await pool.acquire();
  const calls: Record<string, () => Promise<unknown>> = {
    read: () => fifo.read(Buffer.alloc(4), 0, 4, 0),
    readv: () => fifo.readv([Buffer.alloc(4)], 0),
    write: () => fifo.write("x", 0),
    writev: () => fifo.writev([Buffer.from("x")], 3),
    "Ring.read": () => ring.read(fifo, shared(4), { position: 2 }),
    readFixed: () => ring.readFixed(fifo, buffer, { position: 0 }),
    readvFixed: () => ring.readvFixed(fifo, [buffer], { position: 0 }),
    writeFixed: () => fifo.writeFixed(buffer, { position: 1 }),
  };
  for (const [name, call] of Object.entries(calls))
    expect([name, (await uringError(call)).code]).toEqual([name, "ESPIPE"]);
  await using handle = await open(path, constants.O_RDWR);
  expect((await thrown(() => handle.read(Buffer.alloc(4), 0, 4, 0))).code).toBe("ESPIPE");
  expect((await fifo.read(Buffer.alloc(10))).buffer.toString("latin1", 0, 4)).toBe("abcd");
});

test("splices at a file's own position each start where the previous one ended", async () => {
  using folder = new Folder();
  const path = folder.write("file", numbered.subarray(0, 4096 * 4));
  using ends = pipe();
  await withFile(path, "r", false, async ({ ring, file }) => {
    const bytes = Buffer.from(Array.from({ length: 4096 * 4 }, (_, index) => index >> 12));
    writeFileSync(path, bytes);
    const moved = await Promise.all(Array.from({ length: 4 }, () => ring.splice(file, ends.writeFd, 4096)));
    expect(moved).toEqual([4096, 4096, 4096, 4096]);
    const got = Buffer.alloc(bytes.length);
    let filled = 0;
    while (filled < got.length) filled += readSync(ends.readFd, got, filled, got.length - filled, null);
    expect(Buffer.compare(got, bytes)).toBe(0);
  });
  unlinkSync(path);
});

test("descriptors that share a position share one queue: a duplicate, and a RingFile and its own fd", async () => {
  using folder = new Folder();
  const path = folder.write("file", "");
  await withFile(path, "w+", false, async ({ ring, file }) => {
    const twin = dup(file.fd);
    const text = (round: number, who: string) => sharedCopy(Buffer.from(`${who}${round} `));
    for (let round = 0; round < 20; round++)
      await Promise.all([
        ring.write(file, text(round, "a")),
        ring.write(twin, text(round, "b")),
        ring.write(file.fd, text(round, "c")),
        ring.write(twin, text(round, "d")),
        ring.write(file, text(round, "e")),
      ]);
    await Promise.all(
      ring.chain([
        () => ring.write(file, text(20, "a")),
        () => ring.write(twin, text(20, "b")),
        () => ring.write(file, text(20, "c")),
      ]),
    );
    closeSync(twin);
  });
  const rounds = Array.from({ length: 20 }, (_, round) =>
    ["a", "b", "c", "d", "e"].map((who) => `${who}${round} `).join(""),
  );
  expect(readFileSync(path, "latin1")).toBe(`${rounds.join("")}a20 b20 c20 `);
});

test("files opened separately have separate positions and do not wait for each other", async () => {
  using folder = new Folder();
  const path = folder.write("file", "abcdef");
  await withFile(path, "r", false, async ({ ring, file }) => {
    await using other = await ring.open(path);
    const read = async (from: RingFile) => (await from.read(Buffer.alloc(2))).buffer.toString();
    expect(await Promise.all([read(file), read(other), read(file), read(other)])).toEqual(["ab", "ab", "cd", "cd"]);
  });
});

test("a splice within a chain starts where the previous transfer ended, and the next transfer starts where the splice ended", async () => {
  using folder = new Folder();
  const path = folder.write("file", "0123456789abcdef");
  using ends = pipe();
  await withFile(path, "r+", false, async ({ ring, file }) => {
    const parts = [shared(4), shared(4)] as const;
    await Promise.all(
      ring.chain([
        () => ring.read(file, parts[0]),
        () => ring.splice(file, ends.writeFd, 4),
        () => ring.read(file, parts[1]),
      ]),
    );
    const spliced = Buffer.alloc(4);
    readSync(ends.readFd, spliced);
    expect([...parts, spliced].map((part) => Buffer.from(part).toString())).toEqual(["0123", "89ab", "4567"]);
  });
  writeSync(ends.writeFd, "SSSS");
  await withFile(path, "r+", false, async ({ ring, file }) => {
    const write = (text: string) => () => ring.write(file, sharedCopy(Buffer.from(text)));
    await Promise.all(ring.chain([write("AAAA"), () => ring.splice(ends.readFd, file, 4), write("BBBB")]));
  });
  expect(readFileSync(path, "latin1")).toBe("AAAASSSSBBBBcdef");
});

test("a chain that is queued because of one of its transfers goes on when that transfer is aborted", async () => {
  using folder = new Folder();
  const path = folder.write("file", "");
  await withFile(path, "w", false, async ({ ring, file }) => {
    const first = file.write("first");
    const stop = new AbortController();
    const [sync, write] = ring.chain([
      () => ring.fsync(file),
      () => ring.write(file, shared(4), { signal: stop.signal }),
    ]);
    const behind = file.write(" last");
    const reason = new Error("enough");
    const aborted = write.catch((error: unknown) => error);
    stop.abort(reason);
    expect(await aborted).toBe(reason);
    await Promise.all([first, sync, behind]);
  });
  expect(readFileSync(path, "latin1")).toBe("first last");
});
