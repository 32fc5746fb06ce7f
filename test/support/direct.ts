/** Reads that bypass the page cache, and so take a while, if the file system supports them. */
import { closeSync, constants, openSync } from "node:fs";

/** Flags that open `path` for such reads, or for plain reads if O_DIRECT is not supported. */
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
