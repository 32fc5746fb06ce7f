/** What the kernel says of this process and machine. */
import { process } from "./globals.ts";

export const pageBytes = 4096;
export const hugePageBytes = 2 ** 21;

/** A file of /proc or /sys; "" where it can't be read. */
export function readProc(path: string): string {
  try {
    return process.getBuiltinModule("node:fs").readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** What a pattern's first group finds. */
export function field(text: string, pattern: RegExp): string | undefined {
  return pattern.exec(text)?.[1];
}

/**
 * Whether the process has a capability of the machine, by its number, as root has; root of a user namespace, as in a rootless container, has not.
 * @param status - what /proc/self/status says
 */
export function hasCapability(capability: number, status: string): boolean {
  const effective = BigInt(`0x${field(status, /^CapEff:\s+(\S+)/m) ?? "0"}`);
  return ((effective >> BigInt(capability)) & 1n) === 1n && /^\s*0\s+0\s+4294967295\s*$/.test(readProc("/proc/self/uid_map"));
}
