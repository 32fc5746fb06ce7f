/**
 * `bun-uring/promises`: all of node:fs/promises, some of it faster. `readFile`, `writeFile` and `appendFile` go through
 * an io_uring of the thread's own, where the kernel has one; everything else, and every unusual argument, is node:fs's
 * own. A program needs to change nothing but its import:
 *
 * ```ts
 * import fs from "bun-uring/promises";
 * ```
 *
 * @module
 */
import node from "node:fs/promises";
import { nodePromises } from "./index.ts";

// Not `export *`: bundles that `bun build` makes of that fail with a ReferenceError (Bun 1.4).
export const {
  access,
  chmod,
  chown,
  constants,
  copyFile,
  cp,
  exists,
  glob,
  lchmod,
  lchown,
  link,
  lstat,
  lutimes,
  mkdir,
  mkdtemp,
  mkdtempDisposable,
  open,
  opendir,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  symlink,
  truncate,
  unlink,
  utimes,
  watch,
} = node;
/** Names of Bun's module that no types declare. */
export const {
  close,
  fchmod,
  fchown,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  futimes,
  read,
  readv,
  write,
  writev,
}: Readonly<Record<string, unknown>> = node;
export type * from "node:fs/promises";
export const { readFile, writeFile, appendFile } = nodePromises;
export default { ...node, readFile, writeFile, appendFile };
