/** Reads past the page cache, which take a while: where the file system has them. */
import { closeSync, constants, openSync } from "node:fs";

/** Flags that open `path` for such reads, or for plain ones. */
export function directFlags(path: string): number {
  const flags = constants.O_RDONLY | constants.O_DIRECT;
  try {
    closeSync(openSync(path, flags));
    return flags;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EINVAL") return constants.O_RDONLY;
    throw error;
  }
}
