/** What the page cache holds of a file. */
import { dlopen, ptr } from "bun:ffi";
import { closeSync, fsyncSync, openSync, statSync } from "node:fs";

const { symbols: libc } = dlopen("libc.so.6", {
  mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
  munmap: { args: ["ptr", "u64"], returns: "i32" },
  mincore: { args: ["ptr", "u64", "ptr"], returns: "i32" },
  posix_fadvise: { args: ["i32", "i64", "i64", "i32"], returns: "i32" },
  preadv2: { args: ["i32", "ptr", "i32", "i64", "i32"], returns: "i64" },
});

const PROT_READ = 1;
const MAP_SHARED = 1;
const POSIX_FADV_DONTNEED = 4;
const RWF_DONTCACHE = 0x80;
export const pageBytes = 4096;

function withFile<Result>(path: string, flags: string, use: (fd: number) => Result): Result {
  const fd = openSync(path, flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes a file back and removes it from the page cache. */
export function evict(path: string): void {
  withFile(path, "r+", (fd) => {
    fsyncSync(fd);
    const result = libc.posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (result !== 0) throw new Error(`posix_fadvise: ${result}`);
  });
}

/** How many pages of a file are in the page cache. */
export function cachedPages(path: string): number {
  const { size } = statSync(path);
  return withFile(path, "r", (fd) => {
    const address = libc.mmap(null, size, PROT_READ, MAP_SHARED, fd, 0);
    if (address === null) throw new Error("mmap failed");
    const pages = new Uint8Array(new ArrayBuffer(Math.ceil(size / pageBytes)));
    const result = libc.mincore(address, size, ptr(pages));
    libc.munmap(address, size);
    if (result !== 0) throw new Error("mincore failed");
    return pages.reduce((count, page) => count + (page & 1), 0);
  });
}

/** Whether reads of this file can be asked not to leave it in the page cache. */
export function takesDontCache(path: string): boolean {
  const memory = new ArrayBuffer(16 + 1);
  const address = ptr(memory);
  new BigUint64Array(memory, 0, 2).set([BigInt(address) + 16n, 1n]);
  return withFile(path, "r", (fd) => Number(libc.preadv2(fd, address, 1, 0, RWF_DONTCACHE)) >= 0);
}
