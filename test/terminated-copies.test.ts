import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { Random } from "./support/random.ts";
import { fdsUnder, leavingNothing, ringFds } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";
import type { CopierJob } from "./workers/jobs.ts";

const random = new Random(21);

/** What the Worker does with a ring that it has from the beginning. */
const ownRing: ReadonlySet<CopierJob["act"]> = new Set(["append", "readable", "writable"]);

/** Terminates Workers in the middle of their work, of which nothing may be left. */
async function terminateAmid(act: CopierJob["act"], path: string, from: string): Promise<void> {
  await leavingNothing(async () => {
    for (let index = 0; index < times(12); index++) {
      const before = ringFds();
      const worker = new TestWorker<string>("copier", {
        act,
        from,
        to: `${path}/copy-${index % 3}`,
      } satisfies CopierJob);
      await worker.answer();
      // Waits until the first copy or hash has made the thread's ring, beside the Worker's own.
      while (ringFds() < before + 2 && !ownRing.has(act)) await Bun.sleep(1);
      await Bun.sleep(random.fraction() * 20);
      await worker.terminate();
      expect([act, index, fdsUnder(path)]).toEqual([act, index, 0]);
    }
  });
}

const acts = ["append", "copyFile", "durable", "hashFile", "readable", "writable"] as const;

for (const act of ["small", "copyTree", "hashTree"] as const) {
  test(`Workers that are terminated amid many small files during ${act} leave no descriptor and no ring`, async () => {
    using source = new Folder();
    using folder = new Folder();
    for (let index = 0; index < 200; index++) source.random(`file-${index}`, index * 500);
    source.random("file-small", 4096);
    mkdirSync(`${folder.path}/trees`);
    await terminateAmid(act, folder.path, `${source.path}/file`);
    expect(fdsUnder(source.path)).toBe(0);
  });
}

for (const act of acts) {
  test(`Workers that are terminated during ${act} leave no descriptor and no ring`, async () => {
    using folder = new Folder();
    await terminateAmid(act, folder.path, folder.random("file", 2 ** 23).path);
  });
}

for (const kind of ["btrfs", "xfs"] as const) {
  needs(`mounts of ${kind}`)(
    `Workers that are terminated during reflinks on ${kind} leave no descriptor, and the file system can be unmounted`,
    async () => {
      using folder = new Folder();
      using mount = new Mount(kind, smallest[kind]);
      const from = `${mount.path}/file`;
      await Bun.write(from, folder.random("file", 2 ** 23).content);
      for (const act of ["copyFile", "durable", "hashFile"] as const) await terminateAmid(act, mount.path, from);
    },
  );
}

for (const kind of ["btrfs", "xfs"] as const) {
  const name = `a Worker that is terminated during a reflink on ${kind} ends after the reflink, and leaves no descriptor`;
  needs(`mounts of ${kind}`)(name, () =>
    leavingNothing(async () => {
      using mount = new Mount(kind, smallest[kind]);
      const thaw = () => Bun.spawnSync(["fsfreeze", "--unfreeze", mount.path]);
      using _thawing = { [Symbol.dispose]: thaw };
      const job: CopierJob = { act: "frozen", from: `${mount.path}/file`, to: `${mount.path}/copy` };
      await Bun.write(job.from, "content");
      const worker = new TestWorker<string>("copier", job);
      expect([await worker.answer(), await worker.answer()]).toEqual(["begins", "frozen"]);
      while (fdsUnder(mount.path) < 4) await Bun.sleep(1); // until the reflink has opened its own two
      const left = worker.terminate().then(() => fdsUnder(mount.path));
      expect(await Promise.race([left, Bun.sleep(200).then(() => "it waits")])).toBe("it waits");
      thaw();
      expect(await left).toBe(0);
    }),
  );
}
