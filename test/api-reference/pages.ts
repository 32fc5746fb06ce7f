/** Compares the pages of docs/api with newly generated ones, and checks their links. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { anchorsOf } from "../support/documents.ts";

/** Paths, relative to a folder, of all files in it and in its subfolders, sorted. */
export function filesOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** One line for each page of `there` that is missing, obsolete or out of date. */
export function differencesOf(made: string, there: string): string[] {
  const names = [...new Set([...filesOf(made), ...filesOf(there)])].sort();
  return names.flatMap((name) => {
    const [now, before] = [join(made, name), join(there, name)];
    if (!existsSync(before)) return [`${name} is missing`];
    if (!existsSync(now)) return [`${name} is obsolete`];
    return readFileSync(now).equals(readFileSync(before)) ? [] : [`${name} is out of date`];
  });
}

/** One line for each link of the pages whose file, or the anchor in it, does not exist. */
export function brokenLinksOf(folder: string): string[] {
  return filesOf(folder).flatMap((name) => {
    const text = readFileSync(join(folder, name), "utf8");
    const links = Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, link = ""]) => link).filter(
      (link) => !link.startsWith("https:"),
    );
    return links
      .filter((link) => !leads(join(folder, name), link))
      .map((link) => `${name} links to ${link}, which does not exist`);
  });
}

function leads(page: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : join(dirname(page), path);
  if (!existsSync(target)) return false;
  return anchor === undefined || anchorsOf(readFileSync(target, "utf8")).has(anchor);
}
