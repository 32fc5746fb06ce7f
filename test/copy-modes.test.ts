import { expect, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, statSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { type CopyProgress, copyFile } from "bun-uring";
import type { CopiedModes } from "./programs/copy-modes.ts";
import { needs } from "./support/capabilities.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { run } from "./support/programs.ts";
import { TestWorker } from "./support/workers.ts";

const setsId = 0o6000;
const modeOf = (path: string) => statSync(path).mode & 0o7777;

/** Copies as root or as an ordinary user, and checks the permissions of each copy. */
async function copiesIn(path: string, who: "root" | "user"): Promise<CopiedModes[]> {
  chmodSync(path, 0o777);
  const { stdout, stderr, exitCode } = await run("copy-modes", { args: [path, who] });
  expect([exitCode, stderr]).toEqual([0, ""]);
  const copies: CopiedModes[] = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  for (const copy of copies) {
    const { from, old, isTheirs, cp } = copy;
    const expected = isTheirs && who === "user" ? cp : from & ~setsId;
    expect(copy).toMatchObject({ ours: expected, isSame: true });
    // A new copy has neither setuid nor setgid, whether by cp or by this library.
    if (old === -1) expect([cp & setsId, Number(copy.ours) & setsId]).toEqual([0, 0]);
  }
  return copies;
}

needs("cp of GNU coreutils")(
  "a copy gets its source's permissions without setuid and setgid, which cp drops as well",
  async () => {
    using folder = new Folder();
    expect((await copiesIn(folder.path, "root")).length).toBeGreaterThan(0);
  },
);

needs("cp of GNU coreutils", "root")(
  "an ordinary user's copy over another user's file succeeds, and leaves that file the permissions that cp leaves it",
  async () => {
    using folder = new Folder();
    const copies = await copiesIn(folder.path, "user");
    expect(copies.filter(({ isTheirs }) => isTheirs).length).toBe(12);
  },
);

for (const kind of ["btrfs", "xfs"] as const) {
  needs(
    "cp of GNU coreutils",
    "root",
    `mounts of ${kind}`,
  )(`on ${kind} the same holds for reflinks, including those of files that their owner may only read`, async () => {
    for (const who of ["root", "user"] as const) {
      using mount = new Mount(kind, smallest[kind]);
      chmodSync(dirname(mount.path), 0o711); // lets the user reach the mount, which is in a folder that belongs to root
      for (const { method } of await copiesIn(mount.path, who)) expect(method).toBe("reflink");
    }
  });
}

/** Runs `act`, and returns all permissions of a file that another thread saw meanwhile. */
async function seenWhile(path: string, act: () => Promise<unknown>): Promise<number[]> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const watcher = new TestWorker<number[]>("mode-watcher", { path, stop });
  await watcher.answer();
  await act();
  Atomics.store(stop, 0, 1);
  const seen = await watcher.answer();
  await watcher.terminate();
  return seen;
}

const places = [
  { place: "a disk", needed: [], make: () => new Folder() },
  { place: "btrfs", needed: ["mounts of btrfs"], make: () => new Mount("btrfs", smallest.btrfs) },
] as const;

for (const { place, needed, make } of places) {
  needs(...needed)(
    `on ${place} a copy is never more permissive than its source, whether new or over an existing file`,
    async () => {
      using folder = make();
      const from = `${folder.path}/from`;
      await Bun.write(from, new Uint8Array(8 * 2 ** 20).fill(7));
      for (const permissions of [0o600, 0o640, 0o444, 0o4755])
        for (const old of [undefined, 0o644, 0o666, 0o4777]) {
          chmodSync(from, permissions);
          const to = `${folder.path}/to-${permissions}-${old ?? "new"}`;
          if (old !== undefined) {
            await Bun.write(to, "old");
            chmodSync(to, old);
          }
          const atProgress: number[] = [];
          const onProgress = () => {
            atProgress.push(modeOf(to));
          };
          const seen = await seenWhile(to, () => copyFile(from, to, { onProgress }));
          const wider = (modes: number[]) =>
            modes.filter((mode) => (mode & ~(permissions & ~setsId)) !== 0).map((mode) => mode.toString(8));
          expect([permissions, old, wider(atProgress)]).toEqual([permissions, old, []]);
          // The watcher sees the old permissions until the copy changes them.
          expect([permissions, old, wider(seen.filter((mode) => mode !== old))]).toEqual([permissions, old, []]);
          expect(modeOf(to)).toBe(permissions & ~setsId);
        }
    },
  );
}

test("until it is complete, a new copy is accessible to its owner alone, whatever its source allows", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("from", 8 * 2 ** 20);
  const to = `${folder.path}/to`;
  const reason = new Error("all but complete");
  for (const permissions of [0o644, 0o755, 0o466]) {
    chmodSync(path, permissions);
    const atProgress: number[] = [];
    const onProgress = ({ copiedBytes }: CopyProgress) => {
      atProgress.push(modeOf(to));
      if (copiedBytes === content.length) throw reason;
    };
    const seen = await seenWhile(to, async () => {
      expect(await thrown(() => copyFile(path, to, { onProgress }))).toBe(reason);
    });
    const owners = permissions & 0o700;
    expect(atProgress.length).toBeGreaterThan(1);
    expect([permissions, ...new Set([...atProgress, ...seen])]).toEqual([permissions, owners]);
    await copyFile(path, to);
    expect(modeOf(to)).toBe(permissions);
    unlinkSync(to);
  }
});

test("a failed copy restores a destination's permissions if no content was replaced, and else leaves them narrowed", async () => {
  using folder = new Folder();
  const { path } = folder.random("from", 4 * 2 ** 20);
  chmodSync(path, 0o600);
  const reason = new Error("enough");
  for (const atBytes of [0, 2 ** 18]) {
    const to = folder.write(`to-${atBytes}`, "old");
    chmodSync(to, 0o644);
    const onProgress = ({ copiedBytes }: CopyProgress) => {
      if (copiedBytes >= atBytes) throw reason;
    };
    expect(await thrown(() => copyFile(path, to, { onProgress }))).toBe(reason);
    expect(existsSync(to)).toBe(true);
    if (atBytes === 0) expect([readFileSync(to, "utf8"), modeOf(to)]).toEqual(["old", 0o644]);
    else expect(modeOf(to)).toBe(0o600);
  }
});
