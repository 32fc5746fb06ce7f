/** Trees of files for tests. */
import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { Folder } from "./files.ts";
import { Random } from "./random.ts";

/** Makes a tree with small, empty and large files, links of several kinds, and folders of several permissions. */
export function makeTree(folder: Folder, name = "tree"): string {
  const random = new Random(5);
  const root = `${folder.path}/${name}`;
  for (const path of ["", "/empty", "/a", "/a/b", "/a/b/c d", "/ü", "/private", "/read-only"]) {
    mkdirSync(`${root}${path}`);
    for (let index = 0; index < 12 && path !== "/empty"; index++) {
      const file = `${root}${path}/file ${index}`;
      writeFileSync(file, Buffer.alloc(Math.floor(random.fraction() * 10_000), index));
      chmodSync(file, [0o644, 0o600, 0o755, 0o444, 0o666][index % 5] ?? 0);
    }
  }
  for (const sizeBytes of [0, 1, 65_535, 65_536, 65_537, 300_000, 1_000_000])
    writeFileSync(`${root}/a/${sizeBytes} bytes`, Buffer.alloc(sizeBytes, sizeBytes % 251));
  symlinkSync("file 1", `${root}/a/link`);
  symlinkSync("../a", `${root}/a/link to a folder`);
  symlinkSync("nowhere", `${root}/a/dangling`);
  symlinkSync(folder.path, `${root}/a/absolute`);
  linkSync(`${root}/a/file 1`, `${root}/a/b/hard link`);
  chmodSync(`${root}/private`, 0o700);
  chmodSync(`${root}/a/b`, 0o3777);
  // Only root could remove it afterwards.
  chmodSync(`${root}/read-only`, process.getuid?.() === 0 ? 0o555 : 0o755);
  return root;
}
