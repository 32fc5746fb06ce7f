/** Paths that callers pass. */
import { invalidType } from "./arguments.ts";
import { Bun } from "./globals.ts";

const { fileURLToPath } = Bun;

/**
 * Whether `value` looks like a URL, whatever its class: programs replace the global URL. The result of url.parse() does
 * not count.
 */
export function isUrl(value: unknown): value is URL {
  if (typeof value !== "object" || value === null) return false;
  return "href" in value && "protocol" in value && !("auth" in value) && !("path" in value);
}

/**
 * Converts a path to a string.
 * @throws TypeError: neither a string nor a URL, or not a file: URL
 */
export function pathText(path: unknown, name = "path"): string {
  const text: unknown = isUrl(path) ? fileURLToPath(String(path.href)) : path;
  if (typeof text !== "string") throw invalidType(name, "a string or a file: URL", path);
  return text;
}
