import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { BufferPool, copyFile, hashFile, Ring } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { cachedPages, evict, pageBytes, takesDontCache } from "./support/page-cache.ts";
import { leavingNothing } from "./support/resources.ts";

const sizeBytes = 8 * 2 ** 20;
const slotBytes = 2 ** 16;

/** Ways to read all of a file, or to write one of its size. */
interface Parts {
  readonly ring: Ring;
  readonly pool: BufferPool;
  readonly source: string;
  readonly target: string;
  readonly content: Uint8Array;
}

const reads: Readonly<Record<string, (parts: Parts, dontCache: boolean) => Promise<unknown>>> = {
  readable: async ({ ring, source }, dontCache) => {
    await using file = await ring.open(source);
    return await Array.fromAsync(file.readable({ dontCache }));
  },
  "readable from slots": async ({ ring, pool, source }, dontCache) => {
    await using file = await ring.open(source);
    for await (using _ of file.readable({ dontCache, pool, zeroCopy: true }));
  },
  "readable into a reader's memory": async ({ ring, source }, dontCache) => {
    await using file = await ring.open(source);
    const reader = file.readable({ dontCache, type: "bytes" }).getReader({ mode: "byob" });
    for (let buffer = new Uint8Array(slotBytes); ; ) {
      const { value, done } = await reader.read(buffer);
      if (done) return;
      buffer = new Uint8Array(value.buffer);
    }
  },
  readFixed: async ({ ring, pool, source }, dontCache) => {
    await using file = await ring.open(source);
    using buffer = await pool.acquire();
    for (let position = 0; position < sizeBytes; position += slotBytes)
      await ring.readFixed(file, buffer, { position, dontCache });
  },
  readv: async ({ ring, source }, dontCache) => {
    await using file = await ring.open(source);
    const part = new Uint8Array(new SharedArrayBuffer(slotBytes));
    for (let position = 0; position < sizeBytes; position += slotBytes)
      await ring.readv(file, [part], { position, dontCache });
  },
  hashFile: ({ source }, dontCache) => hashFile(source, { dontCache }),
  "hashFile with a pool": ({ ring, pool, source }, dontCache) => hashFile(source, { dontCache, ring, pool }),
  copyFile: ({ source, target }, dontCache) => copyFile(source, target, { dontCache }),
};

const writes: Readonly<Record<string, (parts: Parts, dontCache: boolean) => Promise<unknown>>> = {
  writable: async ({ ring, target, content }, dontCache) => {
    const file = await ring.open(target, "w");
    await new Blob([content]).stream().pipeTo(file.writable({ dontCache, durable: true, autoClose: true }));
  },
  writeFixed: async ({ ring, pool, target, content }, dontCache) => {
    await using file = await ring.open(target, "w");
    using buffer = await pool.acquire();
    for (let position = 0; position < sizeBytes; position += slotBytes) {
      buffer.bytes.set(content.subarray(position, position + slotBytes));
      await ring.writeFixed(file, buffer, { position, dontCache });
    }
    await file.datasync();
  },
  copyFile: ({ source, target }, dontCache) => copyFile(source, target, { dontCache, durable: true }),
};

async function withParts(folder: Folder, body: (parts: Parts) => Promise<void>): Promise<void> {
  const { path: source, content } = folder.random("source", sizeBytes);
  using pool = new BufferPool({ count: 8, size: slotBytes });
  await using ring = new Ring({ pool });
  await body({ ring, pool, source, target: `${folder.path}/target`, content });
}

needs("RWF_DONTCACHE (Linux 6.14)", "a test folder without reflinks")(
  "with dontCache little of a file is left in the page cache after it was read, written, hashed or copied; without it, all of it",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const pages = sizeBytes / pageBytes;
      await withParts(folder, async (parts) => {
        for (const [ways, path] of [
          [reads, parts.source],
          [writes, parts.target],
        ] as const) {
          for (const [name, way] of Object.entries(ways)) {
            for (const dontCache of [true, false]) {
              evict(parts.source);
              await way(parts, dontCache);
              const cached = cachedPages(path);
              const isRight = dontCache ? cached < pages / 2 : cached === pages;
              expect([name, dontCache, isRight || cached]).toEqual([name, dontCache, true]);
              if (path === parts.target) expect(readFileSync(path).equals(parts.content)).toBe(true);
            }
          }
        }
      });
    }),
);

needs("tmpfs on /dev/shm")(
  "where dontCache is not supported, streams, copyFile and hashFile go on without it, and a single transfer fails with EOPNOTSUPP and a hint",
  () =>
    leavingNothing(async () => {
      using folder = new Folder("memory");
      await withParts(folder, async (parts) => {
        const { ring, pool, source, target, content } = parts;
        expect(takesDontCache(source)).toBe(false);
        expect(Buffer.concat((await reads["readable"]?.(parts, true)) as Uint8Array[]).equals(content)).toBe(true);
        expect(await hashFile(source, { dontCache: true })).toBe(await hashFile(source));
        expect(await hashFile(source, { dontCache: true, ring, pool })).toBe(await hashFile(source));
        for (const way of [writes["writable"], writes["copyFile"]]) {
          await way?.(parts, true);
          expect(readFileSync(target).equals(content)).toBe(true);
        }
        for (const name of ["readFixed", "readv"]) {
          const { code, hint } = await uringError(() => reads[name]?.(parts, true));
          expect([code, hint]).toEqual(["EOPNOTSUPP", expect.stringContaining("dontCache")]);
        }
        expect((await uringError(() => writes["writeFixed"]?.(parts, true))).code).toBe("EOPNOTSUPP");
      });
    }),
);

test("dontCache has to be a boolean", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await withParts(folder, async ({ ring, pool, source, target }) => {
      const dontCache: boolean = JSON.parse("1");
      const bytes = new Uint8Array(new SharedArrayBuffer(1));
      await using file = await ring.open(source, "r+");
      using buffer = await pool.acquire();
      for (const act of [
        () => file.readable({ dontCache }),
        () => file.writable({ dontCache }),
        () => ring.readFixed(file, buffer, { dontCache }),
        () => ring.writeFixed(file, buffer, { dontCache }),
        () => ring.read(file, bytes, { dontCache }),
        () => ring.writev(file, [bytes], { dontCache }),
        () => ring.readvFixed(file, [buffer], { dontCache }),
        () => hashFile(source, { dontCache }),
        () => copyFile(source, target, { dontCache }),
      ])
        expect(await thrown(act)).toBeInstanceOf(TypeError);
    });
  }));
