/** Compares the pages of docs/api with newly made ones, and checks their links. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { anchorsOf } from "../support/documents.ts";

/** Names of all files in a folder, and in its folders, in order. */
export function filesOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** One line for each page that is out of date. */
export function differencesOf(made: string, there: string): string[] {
  const names = [...new Set([...filesOf(made), ...filesOf(there)])].sort();
  return names.flatMap((name) => {
    const [now, before] = [join(made, name), join(there, name)];
    if (!existsSync(before)) return [`${name} is missing`];
    if (!existsSync(now)) return [`${name} is there, and would not be made`];
    return readFileSync(now).equals(readFileSync(before)) ? [] : [`${name} would be made otherwise`];
  });
}

/** Links of the pages that lead to no file, or to no anchor in it. */
export function brokenLinksOf(folder: string): string[] {
  return filesOf(folder).flatMap((name) => {
    const text = readFileSync(join(folder, name), "utf8");
    const links = Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, link = ""]) => link).filter((link) => !link.startsWith("https:"));
    return links.filter((link) => !leads(join(folder, name), link)).map((link) => `${name} links to ${link}, which is not there`);
  });
}

function leads(page: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : join(dirname(page), path);
  if (!existsSync(target)) return false;
  return anchor === undefined || anchorsOf(readFileSync(target, "utf8")).has(anchor);
}
