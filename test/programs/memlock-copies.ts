/**
 * As an ordinary user who may lock 8 MiB, of which a pool has the most: copies and hashes eight files at once, and counts what would stop the event loop.
 * Prints what came of it.
 */
import { readFileSync } from "node:fs";
import { BufferPool, copyFile, hashFile } from "bun-uring";
import { Folder } from "../support/files.ts";
import { pinnedKb, ringFds } from "../support/resources.ts";
import { becomeUser, limitMemlock } from "../support/restrictions.ts";

export interface MemlockCopies {
  readonly copied: number;
  readonly hashed: number;
  readonly sleeps: number;
  /** At any moment that was looked at. */
  readonly mostRings: number;
  /** More than the pool's, at any such moment. */
  readonly mostPinnedKb: number;
}

limitMemlock(8 * 2 ** 20);
becomeUser(2 ** 20 + process.pid); // nobody else's: what a user may lock is counted over all that are theirs

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
    copied: copies.filter(({ copiedBytes }, index) => files[index]?.content.equals(readFileSync(`${files[index]?.path}-copy`)) && copiedBytes > 0).length,
    hashed: digests.filter((digest, index) => digest === sha256(files[index]?.content ?? Buffer.alloc(0))).length,
    sleeps,
    mostRings,
    mostPinnedKb,
  } satisfies MemlockCopies),
);
