/**
 * The C shim's source for a program that was bundled: as text, in a file for as long as bun:ffi's compiler needs one. Required only there, for loading it
 * takes time, and without imports of the library's own, so that it stays a module by itself.
 */
import abi from "../c/abi.h" with { type: "text" };
import shim from "../c/shim.c" with { type: "text" };
import teardown from "../c/teardown.c" with { type: "text" };

const includes: Record<string, string> = { "abi.h": abi, "teardown.c": teardown };

/** What shim.c is with all that it includes. */
export const shimText = shim.replace(/^#include "(.*)"$/gm, (line, name: string) => includes[name] ?? line);

function isReadable(path: string): boolean {
  const fs = process.getBuiltinModule("node:fs");
  try {
    fs.accessSync(path, fs.constants.R_OK);
    return true;
  } catch {
    return false;
  }
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
 * Calls `use` with a file that has the source and is there for as long as that takes. It has no name, so nothing is left of it even where terminate() cuts
 * this in two; only where there is no /proc, it is one in the folder for temporary files.
 * @param createMemoryFile - memfd_create(2): a descriptor, or -1
 * @throws what node:fs says where there is no place for it
 */
export function withShimFile<Result>(createMemoryFile: () => number, use: (path: string) => Result): Result {
  const fd = createMemoryFile();
  if (fd < 0) return withTemporaryFile(use);
  const { closeSync, writeFileSync } = process.getBuiltinModule("node:fs");
  try {
    const path = `/proc/self/fd/${fd}`;
    if (!isReadable(path)) return withTemporaryFile(use);
    writeFileSync(fd, shimText);
    return use(path);
  } finally {
    closeSync(fd);
  }
}
