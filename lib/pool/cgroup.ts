/**
 * The memory that the cgroups of this process allow it. A page fault beyond a limit ends in SIGKILL rather than an
 * errno, so pools check the limits before they fault memory in.
 */
import { field, readProc } from "../base/machine.ts";

/** The names of the files in a cgroup's folder, by cgroup version. */
interface Files {
  readonly limit: string;
  readonly usage: string;
  readonly swapLimit: string;
  readonly swapUsage: string;
  /** The prefix of those lines in memory.stat that include the cgroups below. */
  readonly total: string;
}

const version1: Files = {
  limit: "memory.limit_in_bytes",
  usage: "memory.usage_in_bytes",
  swapLimit: "memory.memsw.limit_in_bytes",
  swapUsage: "memory.memsw.usage_in_bytes",
  total: "total_",
};
const version2: Files = {
  limit: "memory.max",
  usage: "memory.current",
  swapLimit: "memory.swap.max",
  swapUsage: "memory.swap.current",
  total: "",
};

/** A cgroup's limit, and how much of it is available. */
export interface CgroupMemory {
  readonly limitBytes: number;
  readonly availableBytes: number;
  /** The cgroup's folder. */
  readonly path: string;
}

/** More than any machine has. Without a limit, cgroup version 1 shows 2^63 rounded down to pages. */
const noLimitBytes = 2 ** 60;

/**
 * Parses a number of bytes. Returns Infinity for "max", and for a missing file: the root cgroup has none of these
 * files.
 */
function bytesIn(text: string): number {
  const trimmed = text.trim();
  return /^\d+$/.test(trimmed) ? Number(trimmed) : Number.POSITIVE_INFINITY;
}

/** Decodes the octal escapes of /proc/self/mountinfo, such as \040. */
function unescaped(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** A mount of the cgroup hierarchy that counts memory: where it is mounted, and which cgroup is its root. */
interface Mount {
  readonly files: Files;
  readonly root: string;
  readonly point: string;
}

function mountsOf(mountinfo: string): Mount[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [mount = "", type = ""] = line.split(" - ");
    const [, , , root = "", point = ""] = mount.split(" ");
    const [kind, , options = ""] = type.split(" ");
    const files =
      kind === "cgroup2" ? version2 : kind === "cgroup" && options.split(",").includes("memory") ? version1 : undefined;
    return files === undefined ? [] : [{ files, root: unescaped(root), point: unescaped(point) }];
  });
}

/** The cgroup of this process in the hierarchy of a version. */
function cgroupOf(files: Files, cgroups: string): string | undefined {
  return field(cgroups, files === version2 ? /^0::(.*)$/m : /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m);
}

/**
 * The folders of a cgroup and of its ancestors, as far as they are mounted. A container sees only its own cgroup, but
 * possibly under its path on the host.
 */
function foldersOf({ root, point }: Mount, cgroup: string): string[] {
  const prefix = root === "/" ? "" : root;
  const inside = cgroup === prefix || cgroup.startsWith(`${prefix}/`) ? cgroup.slice(prefix.length) : "";
  const names = inside.split("/").filter((name) => name !== "");
  // A process that was moved out of its cgroup namespace's root has a path like "/../…", which is not mounted anywhere.
  if (names.includes("..")) return [point];
  return Array.from({ length: names.length + 1 }, (_, count) => [point, ...names.slice(0, count)].join("/"));
}

/**
 * How many more bytes a cgroup can provide. That includes page cache and memory that can be swapped out, which the
 * kernel would reclaim.
 */
function availableIn(path: string, files: Files, read: typeof readProc, leftBytes: number): number {
  const stat = read(`${path}/memory.stat`);
  const counted = (name: string) => Number(field(stat, new RegExp(`^${files.total}${name} (\\d+)$`, "m")) ?? 0);
  const cacheBytes = counted("inactive_file") + counted("active_file") + counted("slab_reclaimable");
  const swapFreeBytes = Number(field(read("/proc/meminfo"), /^SwapFree:\s+(\d+)/m) ?? 0) * 1024;
  const swapLeftBytes = bytesIn(read(`${path}/${files.swapLimit}`)) - (Number(read(`${path}/${files.swapUsage}`)) || 0);
  const swappableBytes = Math.min(
    counted("inactive_anon") + counted("active_anon"),
    swapFreeBytes,
    Math.max(0, swapLeftBytes),
  );
  return Math.max(0, leftBytes + cacheBytes + swappableBytes);
}

/**
 * The cgroup of this process, or an ancestor, that cannot provide this many more bytes. Undefined if all that are
 * visible can.
 */
export function cgroupWithout(bytes: number, read = readProc): CgroupMemory | undefined {
  const cgroups = read("/proc/self/cgroup");
  for (const mount of mountsOf(read("/proc/self/mountinfo"))) {
    const { files } = mount;
    const cgroup = cgroupOf(files, cgroups);
    if (cgroup === undefined) continue;
    for (const path of foldersOf(mount, cgroup)) {
      const limitBytes = bytesIn(read(`${path}/${files.limit}`));
      if (limitBytes > noLimitBytes) continue;
      const leftBytes = limitBytes - bytesIn(read(`${path}/${files.usage}`));
      if (leftBytes >= bytes || leftBytes === Number.NEGATIVE_INFINITY) continue;
      const availableBytes = availableIn(path, files, read, leftBytes);
      if (availableBytes < bytes) return { limitBytes, availableBytes, path };
    }
  }
  return undefined;
}
