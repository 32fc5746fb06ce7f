/**
 * The C shim's source for a program that was bundled: as text, in a file for as long as bun:ffi's compiler needs one. Required only there, for loading it
 * takes time, and without imports of the library's own, so that it stays a module by itself.
 */
import abi from "../../c/abi.h" with { type: "text" };
import reflink from "../../c/reflink.c" with { type: "text" };
import shim from "../../c/shim.c" with { type: "text" };
import teardown from "../../c/teardown.c" with { type: "text" };

const includes: Record<string, string> = { "abi.h": abi, "reflink.c": reflink, "teardown.c": teardown };

/** What shim.c is with all that it includes. */
export const shimText = shim.replace(/^#include "(.*)"$/gm, (line, name: string) => includes[name] ?? line);

const descriptors = "/proc/self/fd";

/** The descriptor of the file in memory that a thread of this process has made before. */
function findMemoryFile(name: string): number | undefined {
  const { lstatSync, readdirSync, readlinkSync } = process.getBuiltinModule("node:fs");
  const found = readdirSync(descriptors).find((fd) => {
    const path = `${descriptors}/${fd}`;
    try {
      // One that is not for writing is that of another thread's compiler, which will close it.
      return readlinkSync(path) === `/memfd:${name} (deleted)` && (lstatSync(path).mode & 0o200) !== 0;
    } catch {
      return false; // closed since then
    }
  });
  return found === undefined ? undefined : Number(found);
}

/** In a folder that is new, has a name that nobody knows, and into which only this user can look. */
function withTemporaryFile<Result>(use: (path: string) => Result): Result {
  const { mkdtempSync, rmSync, writeFileSync } = process.getBuiltinModule("node:fs");
  const folder = mkdtempSync(`${process.getBuiltinModule("node:os").tmpdir()}/bun-uring-`);
  try {
    const path = `${folder}/shim.c`;
    writeFileSync(path, shimText, { flag: "wx", mode: 0o600 });
    return use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Calls `use` with a file that has the source and is there for as long as that takes. It is in memory, without a place in any folder, and stays for the
 * process's other threads: a Worker that is ended by terminate() could not be relied on to close it. Where there is no /proc, or no memfd_create(2), it is a
 * temporary file.
 * @param createMemoryFile - memfd_create(2): a descriptor, or -1
 * @throws what node:fs says where there is no place for it
 */
export function withShimFile<Result>(
  createMemoryFile: (name: string) => number,
  use: (path: string) => Result,
): Result {
  const { existsSync, fstatSync, writeSync } = process.getBuiltinModule("node:fs");
  if (!existsSync(descriptors)) return withTemporaryFile(use);
  const name = `bun-uring-shim-${Bun.hash(shimText)}`;
  const fd = findMemoryFile(name) ?? createMemoryFile(name);
  if (fd < 0) return withTemporaryFile(use);
  const text = Buffer.from(shimText);
  // Who made it may be about to write to it, or have been ended before that. All write the same.
  if (fstatSync(fd).size < text.length) writeSync(fd, text, 0, text.length, 0);
  return use(`${descriptors}/${fd}`);
}
