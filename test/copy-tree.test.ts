import { expect } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { BufferPool, type CopyTreeProgress, copyTree, Ring } from "bun-uring";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { makeTree } from "./support/trees.ts";

const setsId = 0o6000;

/** Everything in a tree: each path, what it is, its permissions without setuid and setgid, and its content. */
function contentOf(root: string): Map<string, string> {
  const content = new Map<string, string>();
  const names = Bun.spawnSync(["find", ".", "-printf", "%P\\0"], { cwd: root }).stdout.toString().split("\0");
  for (const name of names.slice(0, -1).sort()) {
    const path = `${root}/${name}`;
    const stats = lstatSync(path);
    const mode = (stats.mode & ~setsId).toString(8);
    const text = stats.isSymbolicLink() ? readlinkSync(path) : stats.isFile() ? Bun.hash(readFileSync(path)) : "";
    content.set(name, `${mode} ${text}`);
  }
  return content;
}

function difference(one: string, other: string): string {
  return Bun.spawnSync(["diff", "-r", "--no-dereference", one, other]).stdout.toString();
}

needs("cp of GNU coreutils")(
  "a copy of a tree has the same files, links, folders and permissions as one by cp -a, and leaves no resources behind",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const from = makeTree(folder);
      Bun.spawnSync(["cp", "-a", from, `${folder.path}/cp`]);
      using pool = new BufferPool({ count: 4, size: 10_000 });
      await using ring = new Ring({ pool });
      const before = contentOf(from);
      for (const [index, options] of [{}, { pool }, { ring, pool }, { concurrency: 1 }, {}].entries()) {
        const to = `${folder.path}/copy-${index}`;
        const result = await copyTree(from, to, options);
        expect(contentOf(to)).toEqual(contentOf(`${folder.path}/cp`));
        expect(difference(from, to)).toBe("");
        expect(result).toMatchObject({ copiedFiles: 92, copiedLinks: 4, createdFolders: 8 });
        expect([pool.available, ring.inFlight]).toEqual([4, 0]);
      }
      expect(contentOf(from)).toEqual(before);
      expect(fdsUnder(folder.path)).toBe(0);
    }),
);

test("a umask does not narrow the permissions of the copies", async () => {
  using folder = new Folder();
  const from = makeTree(folder);
  const umask = process.umask(0o077);
  try {
    await copyTree(from, `${folder.path}/copy`);
  } finally {
    process.umask(umask);
  }
  expect(contentOf(`${folder.path}/copy`)).toEqual(contentOf(from));
});

test("setuid and setgid of files are not copied", async () => {
  using folder = new Folder();
  mkdirSync(`${folder.path}/from`);
  folder.write("from/file", "content");
  chmodSync(`${folder.path}/from/file`, 0o6755);
  await copyTree(`${folder.path}/from`, `${folder.path}/to`);
  expect(statSync(`${folder.path}/to/file`).mode & 0o7777).toBe(0o755);
});

test("until the copy is complete, a new folder is accessible to its owner alone", async () => {
  using folder = new Folder();
  const from = makeTree(folder);
  const to = `${folder.path}/copy`;
  const modes = new Set<number>();
  await copyTree(from, to, { onProgress: () => void modes.add(statSync(to).mode & 0o7777) });
  expect([...modes]).toEqual([0o700]);
  expect(statSync(to).mode).toBe(statSync(from).mode);
});

needs("cp of GNU coreutils")(
  "an existing tree is filled: files and links are overwritten, others stay, and folders keep their permissions",
  async () => {
    using folder = new Folder();
    const from = makeTree(folder);
    const to = `${folder.path}/to`;
    mkdirSync(`${to}/a/b`, { recursive: true });
    chmodSync(`${to}/a`, 0o750);
    writeFileSync(`${to}/a/file 1`, "an old content that is longer".repeat(1000));
    writeFileSync(`${to}/a/theirs`, "theirs");
    symlinkSync("elsewhere", `${to}/a/link`);
    writeFileSync(`${to}/a/dangling`, "a file where the source has a link");
    await copyTree(from, to);
    expect(difference(from, to)).toBe(`Only in ${to}/a: theirs\n`);
    expect(statSync(`${to}/a`).mode & 0o777).toBe(0o750);
    expect(readlinkSync(`${to}/a/link`)).toBe("file 1");
  },
);

test("without force, what exists stays as it is, or fails the copy with errorOnExist", async () => {
  using folder = new Folder();
  const from = makeTree(folder);
  const to = `${folder.path}/to`;
  mkdirSync(`${to}/a`, { recursive: true });
  writeFileSync(`${to}/a/file 1`, "old");
  symlinkSync("elsewhere", `${to}/a/link`);
  const { copiedFiles, copiedLinks } = await copyTree(from, to, { force: false });
  expect([copiedFiles, copiedLinks]).toEqual([91, 3]);
  expect([readFileSync(`${to}/a/file 1`, "utf8"), readlinkSync(`${to}/a/link`)]).toEqual(["old", "elsewhere"]);
  const error = await thrown(() => copyTree(from, to, { force: false, errorOnExist: true }));
  expect(error.code).toBe("EEXIST");
});

test("a link at a file's destination is replaced, so that nothing outside of the destination changes", async () => {
  using folder = new Folder();
  mkdirSync(`${folder.path}/from`);
  mkdirSync(`${folder.path}/to`);
  for (const [name, sizeBytes] of [
    ["small", 10],
    ["large", 500_000],
  ] as const) {
    const precious = folder.write(`precious-${name}`, "precious");
    writeFileSync(`${folder.path}/from/${name}`, Buffer.alloc(sizeBytes, 1));
    symlinkSync(precious, `${folder.path}/to/${name}`);
    await copyTree(`${folder.path}/from`, `${folder.path}/to`);
    expect(readFileSync(precious, "utf8")).toBe("precious");
    expect(lstatSync(`${folder.path}/to/${name}`).isFile()).toBe(true);
  }
  symlinkSync(folder.path, `${folder.path}/to/folder`);
  mkdirSync(`${folder.path}/from/folder`);
  expect((await thrown(() => copyTree(`${folder.path}/from`, `${folder.path}/to`))).code).toBe("ENOTDIR");
});

needs("cp of GNU coreutils")("a copy into itself is refused, under any name, and nothing is created", async () => {
  using folder = new Folder();
  const from = makeTree(folder);
  symlinkSync(from, `${folder.path}/alias`);
  const before = contentOf(from);
  const inside = ["", "/", "/inside", "/a", "/a/b/inside", "/./a/../inside"];
  for (const to of [...inside.map((end) => `${from}${end}`), `${folder.path}/alias`, `${folder.path}/alias/inside`]) {
    const error = await thrown(() => copyTree(from, to));
    expect([to, error.code, error.message]).toEqual([to, "EINVAL", expect.stringContaining("into itself")]);
  }
  expect(contentOf(from)).toEqual(before);
  await copyTree(`${from}/a`, `${from}/beside`);
  expect(difference(`${from}/a`, `${from}/beside`)).toBe("");
});

test("a FIFO fails the copy with its path, unless the filter leaves it out", async () => {
  using folder = new Folder();
  const from = makeTree(folder);
  Bun.spawnSync(["mkfifo", `${from}/a/fifo`]);
  const to = `${folder.path}/to`;
  expect(await thrown(() => copyTree(from, to))).toMatchObject({ code: "EINVAL", path: `${from}/a/fifo` });
  const seen: string[] = [];
  await copyTree(from, `${folder.path}/other`, {
    filter: async (source, destination) => {
      seen.push(`${source} ${destination}`);
      return !/fifo$|read-only|file 7$/.test(source);
    },
  });
  expect(existsSync(`${folder.path}/other/read-only`)).toBe(false);
  expect(existsSync(`${folder.path}/other/a/file 7`)).toBe(false);
  expect(existsSync(`${folder.path}/other/a/file 8`)).toBe(true);
  expect(seen).toContain(`${from}/a/link ${folder.path}/other/a/link`);
});

test("errors say the path, and nothing is left open", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const from = makeTree(folder);
    const file = folder.write("file", "");
    const cases: [from: string, to: string, code: string][] = [
      [`${from}.`, `${folder.path}/to`, "ENOENT"],
      [file, `${folder.path}/to`, "ENOTDIR"],
      [from, file, "ENOTDIR"],
      [from, `${folder.path}/absent/to`, "ENOENT"],
      [from, `${file}/to`, "ENOTDIR"],
    ];
    for (const [source, destination, code] of cases) {
      const error = await thrown(() => copyTree(source, destination));
      expect([source, destination, error.code]).toEqual([source, destination, code]);
      expect([source, destination]).toContain(Reflect.get(error, "path"));
    }
    mkdirSync(`${folder.path}/to/a/file 1`, { recursive: true });
    expect(await thrown(() => copyTree(from, `${folder.path}/to`))).toMatchObject({
      code: "EISDIR",
      path: `${from}/a/file 1`,
      dest: `${folder.path}/to/a/file 1`,
    });
    expect(fdsUnder(folder.path)).toBe(0);
  }));

test("an abort at any moment leaves nothing in flight and no file open, and only whole files", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const from = makeTree(folder);
    const whole = contentOf(from);
    const reason = new Error("enough");
    for (let count = 0; count < 92; count += 7) {
      const controller = new AbortController();
      const to = `${folder.path}/to-${count}`;
      const onProgress = ({ copiedFiles }: CopyTreeProgress) => {
        if (copiedFiles > count) controller.abort(reason);
      };
      const { signal } = controller;
      expect(await thrown(() => copyTree(from, to, { signal, onProgress, concurrency: 8 }))).toBe(reason);
      const copied = contentOf(to);
      expect(fdsUnder(folder.path)).toBe(0);
      await Bun.sleep(1);
      expect(contentOf(to)).toEqual(copied);
      for (const [name, content] of copied)
        if (content.startsWith("100")) expect([name, content]).toEqual([name, whole.get(name) ?? ""]);
      expect(statSync(to).mode & 0o777).toBe(0o700);
    }
    const aborted = AbortSignal.abort(reason);
    expect(await thrown(() => copyTree(from, `${folder.path}/never`, { signal: aborted }))).toBe(reason);
    expect(existsSync(`${folder.path}/never`)).toBe(false);
  }));

test("an exception in onProgress or in the filter ends the copy, which rejects with it", async () => {
  using folder = new Folder();
  const from = makeTree(folder);
  const reason = new Error("no more");
  const failing = () => {
    throw reason;
  };
  expect(await thrown(() => copyTree(from, `${folder.path}/1`, { onProgress: failing }))).toBe(reason);
  expect(await thrown(() => copyTree(from, `${folder.path}/2`, { filter: failing }))).toBe(reason);
  expect(fdsUnder(folder.path)).toBe(0);
});

needs("mounts of tmpfs")("a full file system fails the copy, and no part of a file is left", async () => {
  using mount = new Mount("tmpfs", smallest.tmpfs);
  using folder = new Folder();
  mkdirSync(`${folder.path}/from`);
  for (let index = 0; index < 100; index++) writeFileSync(`${folder.path}/from/${index}`, Buffer.alloc(30_000, 1));
  const error = await thrown(() => copyTree(`${folder.path}/from`, `${mount.path}/to`));
  expect(error.code).toBe("ENOSPC");
  for (const name of readdirSync(`${mount.path}/to`)) expect(statSync(`${mount.path}/to/${name}`).size).toBe(30_000);
});

test("invalid arguments and options of copyTree() are rejected with the value in the error, and nothing is touched", async () => {
  using folder = new Folder();
  const from = makeTree(folder);
  const to = `${folder.path}/to`;
  const cases: [values: unknown[], code: string][] = [
    [[7, to], "ERR_INVALID_ARG_TYPE"],
    [[from, "a\0b"], "ERR_INVALID_ARG_VALUE"],
    [[from, to, { concurrency: 0 }], "ERR_OUT_OF_RANGE"],
    [[from, to, { concurrency: 65 }], "ERR_OUT_OF_RANGE"],
    [[from, to, { force: 1 }], "ERR_INVALID_ARG_TYPE"],
    [[from, to, { errorOnExist: 1 }], "ERR_INVALID_ARG_TYPE"],
    [[from, to, { filter: true }], "ERR_INVALID_ARG_TYPE"],
    [[from, to, { signal: 1 }], "ERR_INVALID_ARG_TYPE"],
    [[from, to, { onProgress: 1 }], "ERR_INVALID_ARG_TYPE"],
    [[from, to, { recursive: true }], "ERR_INVALID_ARG_VALUE"],
  ];
  for (const [values, code] of cases)
    expect([values, (await thrown(() => Reflect.apply(copyTree, undefined, values))).code]).toEqual([values, code]);
  expect(readdirSync(folder.path)).toEqual(["tree"]);
});
