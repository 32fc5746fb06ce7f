/** What the kernel reports about this process and this machine. */
import { process } from "./globals.ts";

export const pageBytes = 4096;
export const hugePageBytes = 2 ** 21;

/** Reads a file of /proc or /sys; returns "" if it cannot be read. */
export function readProc(path: string): string {
  try {
    return process.getBuiltinModule("node:fs").readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** The first capture group of `pattern` in `text`. */
export function field(text: string, pattern: RegExp): string | undefined {
  return pattern.exec(text)?.[1];
}

/**
 * The limit on the process's open descriptors, Infinity if there is none, and how many are open.
 * @throws Error of node:fs: /proc cannot be read, for example because no descriptor is left
 */
export function openFiles(): { limit: number; open: number } {
  const { readdirSync, readFileSync } = process.getBuiltinModule("node:fs");
  const limit = field(readFileSync("/proc/self/limits", "utf8"), /^Max open files\s+(\d+)/m);
  return {
    limit: Number(limit ?? Number.POSITIVE_INFINITY),
    open: readdirSync("/proc/self/fd").length - 1, // one belongs to this listing
  };
}

/**
 * Whether the process has a capability, given by its number, in the initial user namespace, as root of the machine
 * does. Root of another user namespace, as in a rootless container, does not.
 * @param status - the content of /proc/self/status
 */
export function hasCapability(capability: number, status: string): boolean {
  const effective = BigInt(`0x${field(status, /^CapEff:\s+(\S+)/m) ?? "0"}`);
  return (
    ((effective >> BigInt(capability)) & 1n) === 1n && /^\s*0\s+0\s+4294967295\s*$/.test(readProc("/proc/self/uid_map"))
  );
}
