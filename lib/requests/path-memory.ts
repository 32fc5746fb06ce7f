/** Memory for a path that requests use one after the other. */
import { Buffer } from "../base/globals.ts";
import { UringError } from "../errors/uring-error.ts";

/** The longest path that the kernel takes, with its zero byte. */
export const pathBytes = 4096;

/**
 * Writes a path to memory of `pathBytes`, with its zero byte.
 * @throws UringError ENAMETOOLONG
 */
export function writePath(memory: Buffer, path: string): void {
  const length = memory.write(path, 0, pathBytes - 1);
  // A character that does not fit is left out, so a path that is too long nearly fills the memory.
  if (length >= pathBytes - 4 && Buffer.byteLength(path) >= pathBytes)
    throw new UringError("ENAMETOOLONG", "open", { path });
  memory[length] = 0;
}
