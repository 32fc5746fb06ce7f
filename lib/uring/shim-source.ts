/**
 * The C shim's source for bundled programs: as text, written to a file while bun:ffi's compiler needs one. Only bundled
 * programs load this module, because loading it takes time. It imports nothing of the library, so that bundlers keep it
 * a module of its own.
 */
import abi from "../../c/abi.h" with { type: "text" };
import reflink from "../../c/reflink.c" with { type: "text" };
import shim from "../../c/shim.c" with { type: "text" };
import teardown from "../../c/teardown.c" with { type: "text" };

const includes: Record<string, string> = { "abi.h": abi, "reflink.c": reflink, "teardown.c": teardown };

/** shim.c together with everything that it includes. */
export const shimText = shim.replace(/^#include "(.*)"$/gm, (line, name: string) => includes[name] ?? line);

const descriptors = "/proc/self/fd";

/** The descriptor of the file in memory, if a thread of this process has created it already. */
function findMemoryFile(name: string): number | undefined {
  const { lstatSync, readdirSync, readlinkSync } = process.getBuiltinModule("node:fs");
  const found = readdirSync(descriptors).find((fd) => {
    const path = `${descriptors}/${fd}`;
    try {
      // A read-only descriptor belongs to another thread's compiler, which will close it.
      return readlinkSync(path) === `/memfd:${name} (deleted)` && (lstatSync(path).mode & 0o200) !== 0;
    } catch {
      return false; // closed meanwhile
    }
  });
  return found === undefined ? undefined : Number(found);
}

/** Calls `use` with a file in a new folder that has an unpredictable name and that only this user can open. */
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
 * Calls `use` with the path of a file that contains the source. The file is in memory, in no folder. It stays open for
 * the other threads of the process, because a Worker that is terminated might never close it. Without /proc or
 * memfd_create(2) it is a temporary file.
 * @param createMemoryFile - memfd_create(2): returns a descriptor, or -1
 * @throws Error of node:fs: the file cannot be written
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
  // The thread that created it may not have written to it yet, or have ended before that. All write the same.
  if (fstatSync(fd).size < text.length) writeSync(fd, text, 0, text.length, 0);
  return use(`${descriptors}/${fd}`);
}
