/** Paths as callers give them. */
import { invalidType } from "./arguments.ts";
import { Bun } from "./globals.ts";

const { fileURLToPath } = Bun;

/** Whether it has what a URL has, whichever class made it: programs replace that. What url.parse() returned is none. */
export function isUrl(value: unknown): value is URL {
  if (typeof value !== "object" || value === null) return false;
  return "href" in value && "protocol" in value && !("auth" in value) && !("path" in value);
}

/**
 * The text of a path.
 * @throws TypeError: no string and no URL, or not one of a file
 */
export function pathText(path: unknown, name = "path"): string {
  const text: unknown = isUrl(path) ? fileURLToPath(String(path.href)) : path;
  if (typeof text !== "string") throw invalidType(name, "a string or a file: URL", path);
  return text;
}
