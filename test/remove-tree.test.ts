import { expect } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { removeTree } from "bun-uring";
import { thrown } from "./support/errors.ts";
import { FaultyFiles } from "./support/faulty-files.ts";
import { Folder } from "./support/files.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { makeTree } from "./support/trees.ts";

test("a tree is removed with everything in it, as rm does it, and links are not followed", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const root = makeTree(folder);
    Bun.spawnSync(["mkfifo", `${root}/a/fifo`]);
    mkdirSync(`${folder.path}/outside`);
    folder.write("outside/precious", "precious");
    symlinkSync("../../outside", `${root}/a/outside`);
    await removeTree(pathToFileURL(root));
    expect(readdirSync(folder.path)).toEqual(["outside"]);
    expect(readFileSync(`${folder.path}/outside/precious`, "utf8")).toBe("precious");
    expect(fdsUnder(folder.path)).toBe(0);
  }));

test("a file and a link are removed themselves, also if the path ends with a slash", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  for (const end of ["", "/"]) {
    symlinkSync(root, `${folder.path}/link`);
    await removeTree(`${folder.path}/link${end}`);
    expect(readdirSync(folder.path)).toEqual(["tree"]);
  }
  await removeTree(`${root}/file 1`);
  expect(readdirSync(root)).not.toContain("file 1");
});

test("a folder that is replaced by a link meanwhile is not followed", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  const outside = makeTree(folder, "outside");
  const contentOf = () => Bun.spawnSync(["find", outside]).stdout.toString();
  const before = contentOf();
  let isRemoving = true;
  const removing = removeTree(root)
    .catch((error: { code?: unknown }) => expect(error.code).toBe("ENOTEMPTY")) // the link was added in time
    .finally(() => {
      isRemoving = false;
    });
  while (isRemoving) {
    for (const name of ["a", "private", "read-only", "ü"]) {
      try {
        renameSync(`${root}/${name}`, `${root}/moved ${name}`);
        symlinkSync(outside, `${root}/${name}`);
      } catch {
        // It is gone already.
      }
    }
    await Bun.sleep(0);
  }
  await removing;
  expect(contentOf()).toBe(before);
});

test("what is missing fails with ENOENT as rm does, or is ignored with force", async () => {
  using folder = new Folder();
  const absent = `${folder.path}/absent`;
  const expected = await thrown(() => rm(absent, { recursive: true }));
  expect(await thrown(() => removeTree(absent))).toMatchObject({ code: expected.code, path: absent });
  await removeTree(absent, { force: true });
  expect((await thrown(() => removeTree(`${folder.path}/absent/inner`))).code).toBe("ENOENT");
  expect((await thrown(() => removeTree(""))).code).toBe("ENOENT");
});

test("an abort ends the removal, and nothing is removed after it", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const root = `${folder.path}/root`;
    for (let index = 0; index < 20; index++) {
      mkdirSync(`${root}/${index}`, { recursive: true });
      for (let file = 0; file < 200; file++) writeFileSync(`${root}/${index}/${file}`, "");
    }
    const reason = new Error("enough");
    const controller = new AbortController();
    const removing = thrown(() => removeTree(root, { signal: controller.signal }));
    while (existsSync(`${root}/0/0`)) await Bun.sleep(0);
    controller.abort(reason);
    expect(await removing).toBe(reason);
    const left = readdirSync(root, { recursive: true }).length;
    expect(left).toBeGreaterThan(0);
    expect(fdsUnder(folder.path)).toBe(0);
    await Bun.sleep(5);
    expect(readdirSync(root, { recursive: true }).length).toBe(left);
    expect(await thrown(() => removeTree(root, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    await removeTree(root);
    expect(existsSync(root)).toBe(false);
  }));

test("the event loop has its turns during a removal", async () => {
  using folder = new Folder();
  const root = `${folder.path}/root`;
  mkdirSync(root);
  for (let file = 0; file < 5000; file++) writeFileSync(`${root}/${file}`, "");
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await removeTree(root);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(3);
});

needs("mounts of FUSE")("an error says the path of what could not be removed", async () => {
  await using files = await FaultyFiles.mount();
  const error = await thrown(() => removeTree(files.path));
  expect(Reflect.get(error, "path")).toStartWith(files.path);
  expect(fdsUnder(files.path)).toBe(0);
});

test("invalid arguments and options are rejected, and nothing is removed", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  for (const [values, code] of [
    [[7], "ERR_INVALID_ARG_TYPE"],
    [["a\0b"], "ERR_INVALID_ARG_VALUE"],
    [[root, { force: 1 }], "ERR_INVALID_ARG_TYPE"],
    [[root, { signal: 1 }], "ERR_INVALID_ARG_TYPE"],
    [[root, { recursive: true }], "ERR_INVALID_ARG_VALUE"],
  ] as const)
    expect((await thrown(() => Reflect.apply(removeTree, undefined, values))).code).toBe(code);
  expect(existsSync(root)).toBe(true);
});
