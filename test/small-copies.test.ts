/** Copies of small files, which copiers make. The general promises of copyFile are in copy-file.test.ts. */
import { expect } from "bun:test";
import {
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { copyFile } from "bun-uring";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";

const { COPYFILE_EXCL, COPYFILE_FICLONE } = constants;

test("small files of any size are copied over new, shorter, equal and longer files, with their permissions", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    for (const sizeBytes of [0, 1, 4096, 65_534, 65_535, 65_536, 65_537]) {
      const { path, content } = folder.random("from", sizeBytes);
      for (const [index, oldBytes] of [undefined, 0, 1, sizeBytes, sizeBytes + 1, 200_000].entries()) {
        const to = `${folder.path}/to-${sizeBytes}-${index}`;
        const mode = [0o644, 0o600, 0o444][index % 3] ?? 0;
        chmodSync(path, mode);
        if (oldBytes !== undefined) writeFileSync(to, Buffer.alloc(oldBytes, 0xee));
        expect(await copyFile(path, to)).toEqual({ copiedBytes: sizeBytes, method: "read_write" });
        expect(Buffer.compare(readFileSync(to), content)).toBe(0);
        expect(statSync(to).mode & 0o777).toBe(mode);
        chmodSync(path, 0o600);
      }
    }
    expect(fdsUnder(folder.path)).toBe(0);
  }));

test("hundreds of small copies at once, some to the same path, all succeed and leave no file open", async () => {
  using folder = new Folder();
  const sources = Array.from({ length: 10 }, (_, index) => folder.random(`from-${index}`, 1000 + index));
  await Promise.all(
    Array.from({ length: 500 }, (_, index) => {
      const source = sources[index % 10]?.path ?? "";
      return copyFile(source, `${folder.path}/to-${index % 100}`);
    }),
  );
  for (let index = 0; index < 100; index++) {
    const copied = readFileSync(`${folder.path}/to-${index}`);
    expect(Buffer.compare(copied, sources[index % 10]?.content ?? Buffer.alloc(0))).toBe(0);
  }
  expect(fdsUnder(folder.path)).toBe(0);
});

test("an abort of small copies at any moment removes what they have created, and leaves no file open", async () => {
  using folder = new Folder();
  const { path } = folder.random("from", 4096);
  const reason = new Error("enough");
  let aborted = 0;
  for (let round = 0; round < times(200); round++) {
    const controller = new AbortController();
    const to = `${folder.path}/to-${round}`;
    const copying = copyFile(path, to, { signal: controller.signal }).then(
      () => true,
      (error: unknown) => {
        expect(error).toBe(reason);
        return false;
      },
    );
    for (let turn = 0; turn < round % 12; turn++) await (round % 2 === 0 ? undefined : new Promise(setImmediate));
    controller.abort(reason);
    const isCopied = await copying;
    if (!isCopied) aborted++;
    expect([round, existsSync(to), fdsUnder(folder.path)]).toEqual([round, isCopied, 0]);
  }
  expect(aborted).toBeGreaterThan(0);
});

needs("mounts of tmpfs")(
  "if a small copy does not fit, a new destination is removed, and an existing one keeps narrow permissions",
  async () => {
    using mount = new Mount("tmpfs", smallest.tmpfs);
    using folder = new Folder();
    const { path } = folder.random("from", 60_000);
    chmodSync(path, 0o600);
    writeFileSync(`${mount.path}/old`, "old");
    chmodSync(`${mount.path}/old`, 0o644);
    try {
      writeFileSync(`${mount.path}/filler`, Buffer.alloc(smallest.tmpfs));
    } catch {
      // It is full now.
    }
    for (const name of ["new", "old"]) {
      const error = await uringError(() => copyFile(path, `${mount.path}/${name}`));
      expect([error.code, error.path, error.dest]).toEqual(["ENOSPC", path, `${mount.path}/${name}`]);
    }
    expect(readdirSync(mount.path).sort()).toEqual(["filler", "old"]);
    expect(statSync(`${mount.path}/old`).mode & 0o777).toBe(0o600);
    expect(fdsUnder(mount.path)).toBe(0);
  },
);

test("no FIFO makes a copy wait, whichever end it is, with and without a reader", async () => {
  using folder = new Folder();
  const { path } = folder.random("from", 100);
  const fifo = `${folder.path}/fifo`;
  Bun.spawnSync(["mkfifo", fifo]);
  expect((await uringError(() => copyFile(path, fifo))).code).toBe("EINVAL");
  expect((await uringError(() => copyFile(fifo, `${folder.path}/to`))).code).toBe("EINVAL");
  expect((await uringError(() => copyFile(fifo, fifo))).code).toBe("EINVAL");
  expect(readdirSync(folder.path).sort()).toEqual(["fifo", "from"]);
  expect(fdsUnder(folder.path)).toBe(0);
});

test("EXCL refuses a link that leads nowhere, and a copy follows it otherwise", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("from", 100);
  symlinkSync("target", `${folder.path}/link`);
  const error = await thrown(() => copyFile(path, `${folder.path}/link`, { mode: COPYFILE_EXCL }));
  expect(error.code).toBe("EEXIST");
  await copyFile(path, `${folder.path}/link`);
  expect(Buffer.compare(readFileSync(`${folder.path}/target`), content)).toBe(0);
});

for (const kind of ["btrfs", "xfs"] as const)
  needs(`mounts of ${kind}`)(
    `on ${kind} a file of less than 64 KiB is read and written, unless a reflink is asked for`,
    async () => {
      using mount = new Mount(kind, smallest[kind]);
      const methods = async (sizeBytes: number, mode: number) => {
        writeFileSync(`${mount.path}/from`, Buffer.alloc(sizeBytes, 7));
        mkdirSync(`${mount.path}/${sizeBytes}-${mode}`);
        return (await copyFile(`${mount.path}/from`, `${mount.path}/${sizeBytes}-${mode}/to`, { mode })).method;
      };
      expect(await methods(65_535, 0)).toBe("read_write");
      expect(await methods(65_535, COPYFILE_FICLONE)).toBe("reflink");
      expect(await methods(65_536, 0)).toBe("reflink");
    },
  );
