/** Walks a tree of folders. Symbolic links are never followed. */
import type { Dirent } from "node:fs";
import { process } from "../base/globals.ts";

/** Loaded on first use, because importing it takes a while. */
export const nodeFiles = () => process.getBuiltinModule("node:fs/promises");

/** The names in a folder, by what they are; each list is sorted. */
export interface Names {
  readonly files: string[];
  readonly folders: string[];
  readonly links: string[];
  /** FIFOs, sockets and devices. */
  readonly specials: string[];
}

function listOf(names: Names, entry: Pick<Dirent, "isFile" | "isDirectory" | "isSymbolicLink">): string[] {
  if (entry.isFile()) return names.files;
  if (entry.isDirectory()) return names.folders;
  return entry.isSymbolicLink() ? names.links : names.specials;
}

/** Lists a folder. File systems that do not tell what an entry is are asked for each. */
export async function namesIn(folder: string): Promise<Names> {
  const names: Names = { files: [], folders: [], links: [], specials: [] };
  for (const entry of await nodeFiles().readdir(folder, { withFileTypes: true })) {
    const { name } = entry;
    let list = listOf(names, entry);
    if (list === names.specials) list = listOf(names, await nodeFiles().lstat(`${folder}/${name}`));
    list.push(name);
  }
  for (const list of Object.values(names)) list.sort();
  return names;
}

/** A folder's path and the name of an entry in it. */
export function joined(folder: string, name: string): string {
  return folder.endsWith("/") ? `${folder}${name}` : `${folder}/${name}`;
}
