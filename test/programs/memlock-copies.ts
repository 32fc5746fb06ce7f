/**
 * Copies and hashes eight files at once, as an ordinary user who may lock 8 MiB, of which a pool uses most. Counts the
 * calls that would block the event loop. Prints the results.
 */
import { readFileSync } from "node:fs";
import { BufferPool, copyFile, hashFile } from "bun-uring";
import { Folder } from "../support/files.ts";
import { pinnedKb, ringFds } from "../support/resources.ts";
import { becomeUser, limitMemlock } from "../support/restrictions.ts";

export interface MemlockCopies {
  readonly copied: number;
  readonly hashed: number;
  /** Calls of Bun.sleepSync. */
  readonly sleeps: number;
  /** The most rings at any progress report. */
  readonly mostRings: number;
  /** The most pinned memory beyond the pool's, at any progress report. */
  readonly mostPinnedKb: number;
}

limitMemlock(8 * 2 ** 20);
becomeUser(2 ** 20 + process.pid); // a user of its own: the limit counts all processes of a user

let sleeps = 0;
const { sleepSync } = Bun;
Bun.sleepSync = (ms) => {
  sleeps++;
  sleepSync(ms);
};

using folder = new Folder();
using _pool = new BufferPool({ count: 120, size: 65536, hugePages: false });
const files = Array.from({ length: 8 }, (_, index) => folder.random(`${index}`, 3 * 2 ** 20 + index));
const pinnedBefore = pinnedKb();
let mostRings = 0;
let mostPinnedKb = 0;
const onProgress = () => {
  mostRings = Math.max(mostRings, ringFds());
  mostPinnedKb = Math.max(mostPinnedKb, pinnedKb() - pinnedBefore);
};
const copies = await Promise.all(files.map(({ path }) => copyFile(path, `${path}-copy`, { onProgress })));
const digests = await Promise.all(files.map(({ path }) => hashFile(path, { onProgress })));
const sha256 = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
console.log(
  JSON.stringify({
    copied: copies.filter(
      ({ copiedBytes }, index) =>
        files[index]?.content.equals(readFileSync(`${files[index]?.path}-copy`)) && copiedBytes > 0,
    ).length,
    hashed: digests.filter((digest, index) => digest === sha256(files[index]?.content ?? Buffer.alloc(0))).length,
    sleeps,
    mostRings,
    mostPinnedKb,
  } satisfies MemlockCopies),
);
