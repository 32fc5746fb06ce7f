/** Reads the kernel's own account of this process and machine. */
import { readFileSync } from "node:fs";

/** A file of /proc; "" where it can't be read. */
export function readProc(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** What a pattern's first group finds. */
export function field(text: string, pattern: RegExp): string | undefined {
  return pattern.exec(text)?.[1];
}
