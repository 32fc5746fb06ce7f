/**
 * Two copies of the library in one process, as when two packages each bring their own. Each copy rejects the other's
 * objects, and the errors say why.
 */

import { afterAll, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { BufferPool, copyFile, Ring } from "bun-uring";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());
const here = new URL("../", import.meta.url).pathname;
for (const part of ["lib", "c"]) cpSync(`${here}${part}`, `${folder.path}/other/${part}`, { recursive: true });
const path = folder.write("file", "content");
const other: typeof import("bun-uring") = await import(`${folder.path}/other/lib/index.ts`);

function foreign(kind: string): string {
  return `a ${kind} of another copy of bun-uring: this process has loaded ${folder.path}/other/lib and ${here}lib, whose objects cannot be mixed`;
}

test("errors identify a pool, slot, file or ring of another copy, and name the folders of both copies", async () => {
  using otherPool = new other.BufferPool({ count: 1, size: 4096 });
  await using otherRing = new other.Ring({ pool: otherPool });
  await using otherFile = await otherRing.open(path);
  using otherBuffer = await otherPool.acquire();
  using pool = new BufferPool({ count: 1, size: 4096 });
  using buffer = await pool.acquire();
  await using ring = new Ring({ pool });
  await using file = await ring.open(path);

  const uses: Record<string, () => unknown> = {
    BufferPool: () => new Ring({ pool: otherPool }),
    FixedBuffer: () => ring.readFixed(file, otherBuffer),
    RingFile: () => ring.readFixed(otherFile, buffer),
    Ring: () => copyFile(path, `${folder.path}/copy`, { ring: otherRing, pool }),
  };
  for (const [kind, use] of Object.entries(uses)) {
    const error = await thrown(use);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain(`, not ${foreign(kind)}`);
  }
  expect((await thrown(() => new Ring(otherPool as never))).message).toBe(
    `options must be an object, not ${foreign("BufferPool")}; have it load only one`,
  );
});

test("errors do not mention another copy for this copy's own objects, or for any other value", async () => {
  using pool = new BufferPool({ count: 1, size: 4096 });
  await using ring = new Ring();
  expect((await thrown(() => new Ring({ pool: ring as never }))).message).toBe(
    "options.pool must be a BufferPool, or an array of them, not an instance of Ring",
  );
  const imitation = { [Symbol.for("bun-uring.copy")]: 1 };
  expect((await thrown(() => new Ring({ pool: imitation as never }))).message).toEndWith("not an instance of Object");
  expect((await thrown(() => new Ring(pool as never))).message).toBe(
    "options must be an object, as in `new Ring({ pool })`, not an instance of BufferPool",
  );
  expect((await thrown(() => new BufferPool(ring as never))).message).toBe(
    "options must be an object, not an instance of Ring",
  );
});
