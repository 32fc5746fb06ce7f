import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { chmodSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { type HashTreeOptions, type HashTreeResult, hashTree } from "bun-uring";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { makeTree } from "./support/trees.ts";

function all(folder: string, options?: HashTreeOptions): Promise<HashTreeResult[]> {
  return Array.fromAsync(hashTree(folder, options));
}

needs("bash, split, sha256sum and perl")(
  "the digests are those of find and sha256sum, one for each regular file, and no resources are left behind",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const root = makeTree(folder);
      const command = 'find "$0" -type f -print0 | xargs -0 sha256sum';
      const lines = Bun.spawnSync(["bash", "-c", command, root]).stdout.toString().trim().split("\n").sort();
      expect(lines.length).toBe(92);
      for (const concurrency of [1, 5, 64])
        expect((await all(root, { concurrency })).map(({ path, digest }) => `${digest}  ${path}`).sort()).toEqual(
          lines,
        );
      expect(fdsUnder(folder.path)).toBe(0);
    }),
);

test("the order is the same each time: a folder's files by name, and then those of its folders by name", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  const paths = (await all(root)).map(({ path }) => path);
  const key = (path: string) => path.replace(/[^/]*\//g, "\uffff$&");
  expect(paths).toEqual(paths.toSorted((one, other) => (key(one) < key(other) ? -1 : 1)));
  renameSync(`${root}/a`, `${root}/z`);
  renameSync(`${root}/z`, `${root}/a`);
  expect((await all(root)).map(({ path }) => path)).toEqual(paths);
});

test("any digest of node:crypto can be computed, in any encoding", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  for (const [algorithm, encoding] of [
    ["md5", "hex"],
    ["sha512", "base64"],
  ] as const)
    for (const { path, digest } of await all(root, { algorithm, encoding }))
      expect(digest).toBe(createHash(algorithm).update(readFileSync(path)).digest(encoding));
});

test("what cannot be hashed is yielded with its error, and links are left out", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  Bun.spawnSync(["mkfifo", `${root}/a/fifo`]);
  let isFirst = true;
  const failed: [path: string, error: unknown][] = [];
  for await (const { path, error } of hashTree(root, { concurrency: 1 })) {
    if (isFirst) rmSync(`${root}/ü/file 3`);
    isFirst = false;
    if (error !== undefined) failed.push([path, Reflect.get(error, "code")]);
    expect(path).not.toMatch(/a\/link|to a folder|dangling|absolute/);
  }
  expect(failed).toEqual([
    [`${root}/a/fifo`, "EINVAL"],
    [`${root}/ü/file 3`, "ENOENT"],
  ]);
});

test("a file that is replaced by a link meanwhile is not followed", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  let isFirst = true;
  for await (const { path, error } of hashTree(root, { concurrency: 1 })) {
    if (isFirst) {
      rmSync(`${root}/ü/file 3`);
      symlinkSync("file 4", `${root}/ü/file 3`);
    }
    isFirst = false;
    if (path.endsWith("ü/file 3")) expect(error).toMatchObject({ code: "ELOOP" });
  }
});

test("an abort, an error of the folder and the end of the loop leave nothing open", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const root = makeTree(folder);
    const reason = new Error("enough");
    for (const count of [0, 1, 40, 91]) {
      const controller = new AbortController();
      let hashed = 0;
      const hashing = async () => {
        for await (const { error } of hashTree(root, { signal: controller.signal })) {
          expect(error).toBeUndefined();
          if (hashed++ === count) controller.abort(reason);
        }
      };
      expect(await thrown(hashing)).toBe(reason);
      expect(hashed).toBe(count + 1);
      while (fdsUnder(folder.path) > 0) await Bun.sleep(1);
    }
    for await (const _ of hashTree(root)) break;
    while (fdsUnder(folder.path) > 0) await Bun.sleep(1);
    expect(await thrown(() => all(`${root}.`))).toMatchObject({ code: "ENOENT", path: `${root}.` });
    expect((await thrown(() => all(`${root}/file 1`))).code).toBe("ENOTDIR");
    expect(await thrown(() => all(root, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    for (const [options, code] of [
      [{ algorithm: "md17" }, "ERR_INVALID_ARG_VALUE"],
      [{ encoding: "utf8" }, "ERR_INVALID_ARG_VALUE"],
      [{ concurrency: 0 }, "ERR_OUT_OF_RANGE"],
      [{ algoritm: "md5" }, "ERR_INVALID_ARG_VALUE"],
    ] as const)
      expect((await thrown(() => Reflect.apply(hashTree, undefined, [root, options]))).code).toBe(code);
  }));

needs("root")("a folder that cannot be read is yielded with its error", async () => {
  using folder = new Folder();
  const root = makeTree(folder);
  chmodSync(folder.path, 0o755);
  chmodSync(`${root}/a`, 0);
  const program = `
    process.setuid(65534);
    const { hashTree } = await import("bun-uring");
    for await (const { path, error } of hashTree(process.argv[1])) if (error) console.log(path, error.code);
  `;
  const child = Bun.spawnSync([process.execPath, "-e", program, root], { cwd: `${import.meta.dir}/..` });
  expect(child.stdout.toString()).toContain(`${root}/a EACCES\n`);
});
