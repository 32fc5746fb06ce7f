/**
 * Folders for new files. Nothing in them is deleted while contenders run: for minutes after many files were deleted,
 * ext4 makes new ones more slowly.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { threadId } from "node:worker_threads";

const filesAFolder = 200;
let folders = 0;

/** Makes a folder, with subfolders. Returns as many paths in it. */
export function newPaths(parent: string, count: number): string[] {
  const folder = join(parent, `${process.pid}-${threadId}-${folders++}`);
  for (let index = 0; index * filesAFolder < count; index++) mkdirSync(join(folder, `${index}`), { recursive: true });
  return Array.from({ length: count }, (_, index) => join(folder, `${Math.floor(index / filesAFolder)}`, `${index}`));
}
