import { expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { pathToFileURL } from "node:url";
import { BufferPool, type CopyFileOptions, type CopyProgress, copyFile, Ring } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { fc } from "./support/properties.ts";
import { leavingNothing } from "./support/resources.ts";

const { COPYFILE_EXCL, COPYFILE_FICLONE, COPYFILE_FICLONE_FORCE } = constants;
const chunkBytes = 2 ** 18;

/** How many descriptors are open on files in a folder. */
function filesOpen({ path }: { path: string }): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
    } catch {
      return false; // the descriptor of this directory listing, which is closed by now
    }
  }).length;
}

function same(one: string, other: string | Uint8Array): boolean {
  return Buffer.compare(readFileSync(one), typeof other === "string" ? readFileSync(other) : other) === 0;
}

/** Copies, and checks what holds for every successful copy. */
async function copyAndCheck(from: string, to: string, options: CopyFileOptions = {}) {
  const steps: CopyProgress[] = [];
  const result = await copyFile(from, to, { ...options, onProgress: (progress) => steps.push(progress) });
  expect(same(from, to)).toBe(true);
  expect(result.copiedBytes).toBe(statSync(from).size);
  expect(statSync(to).mode).toBe(statSync(from).mode);
  expect(steps[0]?.copiedBytes).toBe(0);
  expect(steps.at(-1)).toEqual({ copiedBytes: result.copiedBytes, totalBytes: result.copiedBytes });
  for (const [index, { copiedBytes }] of steps.entries())
    expect(copiedBytes).toBeGreaterThanOrEqual(steps[index - 1]?.copiedBytes ?? 0);
  return { ...result, steps: steps.length };
}

const sizes = [
  0,
  1,
  4095,
  4096,
  4097,
  chunkBytes - 1,
  chunkBytes,
  chunkBytes + 1,
  3 * chunkBytes,
  9 * chunkBytes + 12_345,
];

test("files of any size are copied with their permissions, and the copy leaves no resources behind", async () => {
  using folder = new Folder();
  await leavingNothing(async () => {
    for (const [index, size] of sizes.entries()) {
      const { path } = folder.random(`file-${size}`, size);
      chmodSync(path, [0o644, 0o600, 0o777, 0o444][index % 4] ?? 0);
      await copyAndCheck(path, `${folder.path}/copy-${size}`);
    }
  });
  expect(filesOpen(folder)).toBe(0);
});

test("files of any size are copied through slots of any size and number, at any depth", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(40_000),
      fc.integer({ min: 500, max: 9000 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 20 }),
      async (...given) => {
        const [size, slotBytes, count, depth] = given;
        using folder = new Folder();
        const { path } = folder.random("file", size);
        using pool = new BufferPool({ count, size: slotBytes });
        await using ring = new Ring({ pool });
        await copyAndCheck(path, `${folder.path}/with-ring`, { ring, pool, depth });
        await copyAndCheck(path, `${folder.path}/with-pool`, { pool, depth });
        expect([ring.inFlight, pool.available]).toEqual([0, count]);
      },
    ),
    { numRuns: times(60) },
  );
});

needs("a processor that is not emulated")(
  "64 MiB are copied unchanged, with a progress report for each chunk",
  async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 2 ** 26);
    const { method, steps } = await copyAndCheck(path, `${folder.path}/copy`, { durable: true });
    if (method === "read_write") expect(steps).toBe(2 ** 26 / chunkBytes + 1);
  },
);

test("file: URLs are accepted as paths", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("a file", 5000);
  await copyFile(pathToFileURL(path), pathToFileURL(`${folder.path}/a copy`));
  expect(same(`${folder.path}/a copy`, content)).toBe(true);
});

test("an existing destination is truncated, filled, and given the source's permissions", async () => {
  using folder = new Folder();
  const { path } = folder.random("file", 300_000);
  chmodSync(path, 0o640);
  for (const size of [0, 10, 300_000, 900_000]) {
    const old = folder.random("old", size).path;
    chmodSync(old, 0o606);
    await copyAndCheck(path, old);
  }
});

test("a dangling link as the destination is followed, and its target created", async () => {
  using folder = new Folder();
  const { path } = folder.random("file", 5000);
  symlinkSync("target", `${folder.path}/link`);
  await copyAndCheck(path, `${folder.path}/link`);
  expect(readdirSync(folder.path).sort()).toEqual(["file", "link", "target"]);
});

test("copying a file onto itself, under any of its names, does nothing", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 100_000);
  linkSync(path, `${folder.path}/hard`);
  symlinkSync("file", `${folder.path}/soft`);
  for (const to of [path, `${folder.path}/hard`, `${folder.path}/soft`, `${folder.path}/./file`]) {
    expect(await copyFile(path, to)).toEqual({ copiedBytes: 0, method: "none" });
    expect(same(path, content)).toBe(true);
  }
  expect((await uringError(() => copyFile(path, path, { mode: COPYFILE_EXCL }))).code).toBe("EEXIST");
  expect([same(path, content), filesOpen(folder)]).toEqual([true, 0]);
});

test("COPYFILE_EXCL creates a new destination, and fails without touching an existing one", async () => {
  using folder = new Folder();
  const { path } = folder.random("file", 5000);
  await copyAndCheck(path, `${folder.path}/new`, { mode: COPYFILE_EXCL | COPYFILE_FICLONE });
  const old = folder.random("old", 100);
  const error = await uringError(() => copyFile(path, old.path, { mode: COPYFILE_EXCL }));
  expect([error.code, error.errno, error.path, error.dest]).toEqual(["EEXIST", -17, path, old.path]);
  expect(same(old.path, old.content)).toBe(true);
});

test("a missing or non-regular file fails with both paths in the error, and nothing is created or left open", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 5000);
  mkdirSync(`${folder.path}/folder`);
  Bun.spawnSync(["mkfifo", `${folder.path}/fifo`]);
  const cases: [from: string, to: string, code: string][] = [
    ["absent", "copy", "ENOENT"],
    ["folder", "copy", "EISDIR"],
    ["fifo", "copy", "EINVAL"],
    ["file", "folder", "EISDIR"],
    ["file", "file/", "EISDIR"],
    ["file", "absent/copy", "ENOENT"],
    ["file", "file/copy", "ENOTDIR"],
    ["file", "fifo", "EINVAL"],
    ["file", "", "ENOENT"],
  ];
  for (const [from, to, code] of cases) {
    const [source, destination] = [`${folder.path}/${from}`, to === "" ? "" : `${folder.path}/${to}`];
    const error = await uringError(() => copyFile(source, destination));
    expect([from, to, error.code, error.path, error.dest]).toEqual([from, to, code, source, destination]);
  }
  expect((await uringError(() => copyFile(path, "/dev/null"))).code).toBe("EINVAL");
  expect(readdirSync(folder.path).sort()).toEqual(["fifo", "file", "folder"]);
  expect([same(path, content), filesOpen(folder)]).toEqual([true, 0]);
});

test("COPYFILE_FICLONE_FORCE fails if a reflink is impossible, and the new destination is removed", async () => {
  using folder = new Folder();
  const error = await uringError(() =>
    copyFile("/proc/version", `${folder.path}/copy`, { mode: COPYFILE_FICLONE_FORCE }),
  );
  expect(["EXDEV", "EOPNOTSUPP", "EINVAL"]).toContain(error.code);
  expect([error.dest, readdirSync(folder.path)]).toEqual([`${folder.path}/copy`, []]);
});

test("a copy that cannot start leaves an existing destination unchanged, and its error says why", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const from = folder.write("from", "new".repeat(10_000));
    const to = folder.write("to", "precious");
    using pool = new BufferPool({ count: 2, size: 4096 });
    using closed = new BufferPool({ count: 2, size: 4096 });
    await using ring = new Ring({ pool });
    const closedRing = new Ring({ pool });
    await closedRing.close();
    closed.close();
    const attempts: [CopyFileOptions, RegExp][] = [
      [{ ring, pool: closed }, /closed/],
      [{ ring: closedRing, pool }, /EBADF: the ring is closed/],
      [{ pool: closed }, /EBADF: the pool is closed/],
    ];
    for (const [options, why] of attempts) {
      expect((await thrown(() => copyFile(from, to, options))).message).toMatch(why);
      expect(readFileSync(to, "utf8")).toBe("precious");
    }
    using other = new BufferPool({ count: 2, size: 4096 });
    expect((await thrown(() => copyFile(from, to, { ring, pool: other }))).message).toMatch(/pool/);
    expect(readFileSync(to, "utf8")).toBe("precious");
    await copyAndCheck(from, to, { ring, pool });
  }));

test("a failed copy removes the file that it created, but not a file that has replaced it", async () => {
  using folder = new Folder();
  const from = folder.write("from", new Uint8Array(10_000));
  const to = `${folder.path}/to`;
  const onProgress = () => {
    renameSync(folder.write("other", "theirs"), to);
    throw new Error("enough");
  };
  expect((await thrown(() => copyFile(from, to, { onProgress }))).message).toBe("enough");
  expect(readFileSync(to, "utf8")).toBe("theirs");
});

test("a file that the kernel generates is copied to its end, although its size is 0", async () => {
  using folder = new Folder();
  const steps: CopyProgress[] = [];
  const { copiedBytes } = await copyFile("/proc/version", `${folder.path}/copy`, {
    onProgress: (progress) => steps.push(progress),
  });
  expect(same(`${folder.path}/copy`, readFileSync("/proc/version"))).toBe(true);
  expect(steps).toEqual([
    { copiedBytes: 0, totalBytes: 0 },
    { copiedBytes, totalBytes: copiedBytes },
  ]);
});

test("holes stay holes", async () => {
  using folder = new Folder();
  const path = `${folder.path}/file`;
  const fd = openSync(path, "w");
  for (const position of [5 * chunkBytes + 17, 40 * chunkBytes]) writeSync(fd, "content", position);
  truncateSync(path, 64 * chunkBytes);
  const { method } = await copyAndCheck(path, `${folder.path}/copy`);
  if (method === "read_write") expect(statSync(`${folder.path}/copy`).blocks * 512).toBeLessThanOrEqual(2 * chunkBytes);
});

for (const [name, change, expected] of [
  ["grows", (path: string) => appendFileSync(path, Buffer.alloc(3 * chunkBytes + 5, 7)), 23 * chunkBytes + 5],
  ["shrinks", (path: string) => truncateSync(path, 9 * chunkBytes + 5), 9 * chunkBytes + 5],
  ["becomes empty", (path: string) => truncateSync(path, 0), 0],
] as const) {
  test(`a source that ${name} during the copy is copied up to its new end`, async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 20 * chunkBytes);
    using pool = new BufferPool({ count: 2, size: chunkBytes });
    const steps: CopyProgress[] = [];
    const onProgress = (progress: CopyProgress) => {
      if (steps.push(progress) === 1) change(path);
    };
    const { copiedBytes } = await copyFile(path, `${folder.path}/copy`, { pool, onProgress });
    expect([copiedBytes, steps.at(-1)]).toEqual([expected, { copiedBytes: expected, totalBytes: expected }]);
    expect(same(path, `${folder.path}/copy`)).toBe(true);
  });
}

test("if the source is truncated to less than was copied, the copy keeps the bytes copied so far", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 20 * chunkBytes);
  using pool = new BufferPool({ count: 2, size: chunkBytes });
  const onProgress = ({ copiedBytes }: CopyProgress) => {
    if (copiedBytes === 10 * chunkBytes) truncateSync(path, 5);
  };
  const { copiedBytes, method } = await copyFile(path, `${folder.path}/copy`, { pool, onProgress });
  if (method === "reflink") return;
  expect(statSync(`${folder.path}/copy`).size).toBe(copiedBytes);
  expect(same(`${folder.path}/copy`, content.subarray(0, copiedBytes))).toBe(true);
});

needs("a test folder without reflinks")(
  "an abort at any moment leaves nothing in flight, every slot free, no file open, and no new destination",
  async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 60 * chunkBytes);
    using pool = new BufferPool({ count: 4, size: chunkBytes });
    await using ring = new Ring({ pool });
    const copy = `${folder.path}/copy`;
    const outcomes = { aborted: 0, copied: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 62 }),
        fc.nat(3),
        fc.boolean(),
        fc.boolean(),
        async (progressCount, delayMs, shared, existed) => {
          if (existed) folder.write("copy", "old");
          else rmSync(copy, { force: true });
          const controller = new AbortController();
          const reason = new Error("enough");
          let count = 0;
          const onProgress = () => {
            if (count++ === progressCount) setTimeout(() => controller.abort(reason), delayMs);
          };
          try {
            await copyFile(path, copy, { ...(shared ? { ring, pool } : {}), signal: controller.signal, onProgress });
            expect(same(copy, content)).toBe(true);
            outcomes.copied++;
          } catch (error) {
            expect(error).toBe(reason);
            expect(existsSync(copy)).toBe(existed);
            outcomes.aborted++;
          }
          expect([ring.inFlight, pool.available, filesOpen(folder)]).toEqual([0, 4, 0]);
        },
      ),
      { numRuns: times(60), examples: [[0, 0, true, false]] },
    );
    expect(outcomes.aborted).toBeGreaterThan(0);
  },
);

needs("a test folder without reflinks")(
  "an abort ends the wait for a slot, and an abort before the start touches nothing",
  async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 100_000); // larger than what needs no slot
    using pool = new BufferPool({ count: 1, size: 4096 });
    const buffer = await pool.acquire();
    const reason = new Error("enough");
    const controller = new AbortController();
    const copying = copyFile(path, `${folder.path}/copy`, { pool, signal: controller.signal });
    while (pool.stats().waiting === 0) await Bun.sleep(1);
    controller.abort(reason);
    expect(await thrown(() => copying)).toBe(reason);
    expect([pool.stats().waiting, existsSync(`${folder.path}/copy`)]).toEqual([0, false]);
    buffer.release();
    const old = folder.random("old", 100);
    expect(await thrown(() => copyFile(path, old.path, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(same(old.path, old.content)).toBe(true);
  },
);

test("many copies at once share a pool of two slots", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 300_000);
  using pool = new BufferPool({ count: 2, size: 65536 });
  await using ring = new Ring({ pool });
  const copies = Array.from({ length: 40 }, (_, index) => `${folder.path}/copy-${index}`);
  await Promise.all(copies.map((to, index) => copyFile(path, to, index % 4 === 0 ? { pool } : { ring, pool })));
  for (const to of copies) expect(same(to, content)).toBe(true);
  expect([pool.available, filesOpen(folder)]).toEqual([2, 0]);
});

test("an exception in onProgress ends the copy, which rejects with it", async () => {
  using folder = new Folder();
  const { path } = folder.random("file", 20 * chunkBytes);
  using pool = new BufferPool({ count: 2, size: chunkBytes });
  const reason = new Error("no more");
  for (const atBytes of [0, 5 * chunkBytes]) {
    const onProgress = ({ copiedBytes }: CopyProgress) => {
      if (copiedBytes >= atBytes) throw reason;
    };
    expect(await thrown(() => copyFile(path, `${folder.path}/copy`, { pool, onProgress }))).toBe(reason);
    expect([pool.available, existsSync(`${folder.path}/copy`)]).toEqual([2, false]);
  }
});

needs("a test folder without reflinks")(
  "closing the ring ends the copy with an error, and leaves no file open",
  async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 60 * chunkBytes);
    using pool = new BufferPool({ count: 4, size: chunkBytes });
    const ring = new Ring({ pool });
    let closing: Promise<void> | undefined;
    const onProgress = ({ copiedBytes }: CopyProgress) => {
      if (copiedBytes > 0) closing ??= ring.close();
    };
    const error = await uringError(() => copyFile(path, `${folder.path}/copy`, { ring, pool, onProgress }));
    expect(["EBADF", "ECANCELED"]).toContain(error.code);
    await closing;
    expect([pool.available, filesOpen(folder), existsSync(`${folder.path}/copy`)]).toEqual([4, 0, false]);
  },
);

needs("mounts of tmpfs")(
  "a full file system fails the copy with both paths in the error; a new destination is removed, an existing one stays",
  async () => {
    using mount = new Mount("tmpfs", smallest.tmpfs);
    using folder = new Folder();
    // Only part of the last chunk fits, so its write is short.
    const { path } = folder.random("file", 1_100_000);
    using pool = new BufferPool({ count: 4, size: 250_000 });
    await using ring = new Ring({ pool });
    for (const existed of [false, true]) {
      const to = `${mount.path}/copy`;
      if (existed) writeFileSync(to, "old");
      const error = await uringError(() => copyFile(path, to, { ring, pool }));
      expect([error.code, error.syscall, error.path, error.dest]).toEqual(["ENOSPC", "write_fixed", path, to]);
      expect([ring.inFlight, pool.available, existsSync(to)]).toEqual([0, 4, existed]);
    }
  },
);

for (const kind of ["btrfs", "xfs"] as const) {
  needs(`mounts of ${kind}`)(`on ${kind} the source and the copy share their blocks`, async () => {
    using mount = new Mount(kind, smallest[kind]);
    const from = `${mount.path}/file`;
    writeFileSync(from, Buffer.alloc(20 * 2 ** 20 + 5, 7));
    Bun.spawnSync(["sync", "-f", mount.path]);
    const free = statfsSync(mount.path).bfree;
    for (const mode of [0, COPYFILE_FICLONE, COPYFILE_FICLONE_FORCE]) {
      const { method } = await copyAndCheck(from, `${mount.path}/copy-${mode}`, { mode, durable: true });
      expect(method).toBe("reflink");
    }
    const aligned = `${mount.path}/aligned`;
    writeFileSync(aligned, Buffer.alloc(2 ** 20, 8));
    for (const [source, oldBytes] of [
      [from, 2 ** 20],
      [from, 24 * 2 ** 20],
      [aligned, 2 * 2 ** 20],
    ] as const) {
      writeFileSync(`${mount.path}/old`, Buffer.alloc(oldBytes));
      await copyAndCheck(source, `${mount.path}/old`, { mode: COPYFILE_FICLONE_FORCE });
    }
    expect(free - statfsSync(mount.path).bfree).toBeLessThan((5 * 2 ** 20) / statfsSync(mount.path).bsize);
  });
}

for (const kind of ["xfs", "btrfs"] as const)
  needs(`mounts of ${kind}`)(
    `on ${kind}, if the source shrinks before its blocks are shared, nothing of the old destination follows its end`,
    async () => {
      using mount = new Mount(kind, smallest[kind]);
      const [from, to] = [`${mount.path}/from`, `${mount.path}/to`];
      writeFileSync(from, Buffer.alloc(2 ** 20, "N"));
      writeFileSync(to, Buffer.alloc(2 ** 19, "O"));
      let shortened = false;
      const onProgress = () => {
        if (!shortened) truncateSync(from, 65536);
        shortened = true;
      };
      expect(await copyFile(from, to, { onProgress })).toEqual({ copiedBytes: 65536, method: "reflink" });
      expect(Buffer.compare(readFileSync(to), readFileSync(from))).toBe(0);
    },
  );

needs("a test folder without reflinks")(
  "a copy that is retried at once, before the aborted one has ended, keeps its file",
  async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 128 * chunkBytes);
    const to = `${folder.path}/copy`;
    for (let round = 0; round < times(20); round++) {
      rmSync(to, { force: true });
      const stop = new AbortController();
      const { promise: again, resolve } = Promise.withResolvers<unknown>();
      const onProgress = ({ copiedBytes }: CopyProgress) => {
        if (copiedBytes < 16 * chunkBytes || stop.signal.aborted) return;
        stop.abort();
        resolve(copyFile(path, to));
      };
      const first = thrown(() => copyFile(path, to, { signal: stop.signal, onProgress }));
      await again;
      expect((await first).name).toBe("AbortError");
      expect(Buffer.compare(readFileSync(to), content)).toBe(0);
    }
    const stop = new AbortController();
    rmSync(to);
    const copies = [1, 2, 3].map(() =>
      thrown(() => copyFile(path, to, { signal: stop.signal, onProgress: () => stop.abort() })),
    );
    await Promise.all(copies);
    expect(existsSync(to)).toBe(false); // if all of them fail, the last one removes the file
  },
);

needs("mounts of xfs")(
  "a copy lets timers and sockets run, even if the page cache completes every read and write at once",
  async () => {
    using mount = new Mount("xfs", smallest.xfs);
    using folder = new Folder();
    const { path } = folder.random("file", 128 * chunkBytes);
    const turns = new Set<number>();
    let turn = 0;
    const count = () => {
      turn++;
      immediate = setImmediate(count);
    };
    let immediate = setImmediate(count);
    const onProgress = () => {
      turns.add(turn);
      Bun.sleepSync(1); // longer than the ring may settle completions in one turn
    };
    await copyFile(path, `${mount.path}/copy`, { onProgress });
    clearImmediate(immediate);
    // A turn copies eight chunks, the default depth, and two turns may begin within one iteration of the event loop.
    expect(turns.size).toBeGreaterThanOrEqual(128 / 16);
  },
);

test("invalid arguments and options are rejected with the value in the error, and nothing is touched", async () => {
  using folder = new Folder();
  const { path } = folder.random("file", 100);
  await using ring = new Ring();
  const apply = (...values: unknown[]) => Reflect.apply(copyFile, undefined, values);
  const copy = `${folder.path}/copy`;
  const cases: [values: unknown[], code: string, shown: string][] = [
    [[7, copy], "ERR_INVALID_ARG_TYPE", "7"],
    [[path, null], "ERR_INVALID_ARG_TYPE", "null"],
    [[path, copy, null], "ERR_INVALID_ARG_TYPE", "null"],
    [[path, copy, { dept: 1 }], "ERR_INVALID_ARG_VALUE", "dept"],
    [[path, copy, { ring }], "ERR_INVALID_ARG_VALUE", "options.pool"],
    [[path, copy, { ring: 1 }], "ERR_INVALID_ARG_TYPE", "1"],
    [[path, copy, { pool: 1 }], "ERR_INVALID_ARG_TYPE", "1"],
    [[path, copy, { depth: 0 }], "ERR_OUT_OF_RANGE", "0"],
    [[path, copy, { depth: 1025 }], "ERR_OUT_OF_RANGE", "1025"],
    [[path, copy, { mode: 8 }], "ERR_OUT_OF_RANGE", "8"],
    [[path, copy, { durable: 1 }], "ERR_INVALID_ARG_TYPE", "1"],
    [[path, copy, { signal: 1 }], "ERR_INVALID_ARG_TYPE", "1"],
    [[path, copy, { onProgress: 1 }], "ERR_INVALID_ARG_TYPE", "1"],
    [["a\0b", copy], "ERR_INVALID_ARG_VALUE", "null bytes"],
    [[path, "a\0b"], "ERR_INVALID_ARG_VALUE", "null bytes"],
  ];
  for (const [values, code, shown] of cases) {
    const error = await thrown(() => apply(...values));
    expect([values, error.code, error.message]).toEqual([values, code, expect.stringContaining(shown)]);
  }
  expect(readdirSync(folder.path)).toEqual(["file"]);
});

needs("a test folder without reflinks")(
  "a pool that the ring does not have fails the copy, and the new destination is removed",
  async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 100);
    await using ring = new Ring();
    using pool = new BufferPool({ count: 1, size: 4096 });
    const error = await thrown(() => copyFile(path, `${folder.path}/copy`, { ring, pool }));
    expect([error.code, error.message]).toEqual([
      "ERR_INVALID_ARG_VALUE",
      expect.stringContaining("this ring does not have"),
    ]);
    expect([pool.available, readdirSync(folder.path)]).toEqual([1, ["file"]]);
  },
);

const program = new URL("../examples/copy.ts", import.meta.url).pathname;

async function outcomeOf(child: Bun.Subprocess<"ignore", "pipe", "pipe">) {
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { exitCode: child.exitCode, stdout, stderr };
}

function start(...args: string[]) {
  return Bun.spawn([process.execPath, program, ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

needs("a processor that is not emulated")(
  "the example copies, reports how much, how and how long, and draws no progress bar if stderr is not a terminal",
  async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 3_000_000);
    const { exitCode, stdout, stderr } = await outcomeOf(start("--durable", path, `${folder.path}/copy`));
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^3000000 bytes, (read_write|reflink), \d+\.\d{3} s, \d+ MB\/s\n$/);
    expect(same(`${folder.path}/copy`, content)).toBe(true);
  },
);

needs("a processor that is not emulated")("the example draws a progress bar on a terminal", async () => {
  using folder = new Folder();
  const { path } = folder.random("file", 30_000_000);
  let shown = "";
  const decoder = new TextDecoder();
  const child = Bun.spawn([process.execPath, program, path, `${folder.path}/copy`], {
    terminal: {
      cols: 100,
      rows: 20,
      data(_terminal, data) {
        shown += decoder.decode(data, { stream: true });
      },
    },
  });
  expect(await child.exited).toBe(0);
  child.terminal?.close();
  expect(shown).toContain("/30 MB");
  expect(shown).toContain("30000000 bytes, ");
});

for (const [name, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  needs("a test folder without reflinks", "a processor that is not emulated")(
    `${name} ends the example with status ${status}, and leaves no partial copy`,
    async () => {
      using folder = new Folder();
      const copy = `${folder.path}/copy`;
      // A sparse file: many times larger than what can be copied before the signal comes, but almost empty on the disk.
      const path = folder.write("file", "x");
      truncateSync(path, 2 ** 40);
      const interrupted = start(path, copy);
      while (!existsSync(copy)) await Bun.sleep(1);
      await Bun.sleep(50);
      interrupted.kill(name);
      const { exitCode, stdout, stderr } = await outcomeOf(interrupted);
      expect([exitCode, stdout, stderr]).toEqual([status, "", "copy: interrupted\n"]);
      expect(existsSync(copy)).toBe(false);
    },
  );
}

needs("a processor that is not emulated")(
  "the example's errors name the files, with status 1; invalid arguments print the usage, with status 2",
  async () => {
    using folder = new Folder();
    const failed = await outcomeOf(start(`${folder.path}/absent`, `${folder.path}/copy`));
    expect([failed.exitCode, failed.stdout, failed.stderr]).toEqual([
      1,
      "",
      expect.stringContaining(
        `copy: ENOENT: no such file or directory, open '${folder.path}/absent' -> '${folder.path}/copy'`,
      ),
    ]);
    const help = await outcomeOf(start("--help"));
    expect([help.exitCode, help.stderr, help.stdout]).toEqual([0, "", expect.stringContaining("--durable")]);
    for (const args of [[], ["a"], ["a", "b", "c"], ["--nonsense", "a", "b"]]) {
      const { exitCode, stdout, stderr } = await outcomeOf(start(...args));
      expect([exitCode, stdout, stderr]).toEqual([2, "", expect.stringContaining("Usage: ")]);
    }
  },
);
