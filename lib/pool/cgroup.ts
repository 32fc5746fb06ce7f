/** The memory that the cgroups of this process leave it. Beyond that a page fault is answered with SIGKILL, not with an errno, so it is looked before. */
import { field, readProc } from "../base/machine.ts";

/** What the files of a version are called, below a cgroup's folder. */
interface Files {
  readonly limit: string;
  readonly usage: string;
  readonly swapLimit: string;
  readonly swapUsage: string;
  /** Of the lines in memory.stat that count what lies below as well. */
  readonly total: string;
}

const version1: Files = {
  limit: "memory.limit_in_bytes",
  usage: "memory.usage_in_bytes",
  swapLimit: "memory.memsw.limit_in_bytes",
  swapUsage: "memory.memsw.usage_in_bytes",
  total: "total_",
};
const version2: Files = { limit: "memory.max", usage: "memory.current", swapLimit: "memory.swap.max", swapUsage: "memory.swap.current", total: "" };

/** Reads a file of the kernel; "" where it can't be read. */
export type ReadFile = (path: string) => string;

/** A cgroup's limit, and what of it can be had. */
export interface CgroupMemory {
  readonly limitBytes: number;
  readonly availableBytes: number;
  /** Its folder. */
  readonly path: string;
}

/** No machine has as much: version 1 says 2^63, rounded down to pages, where there is no limit. */
const noLimitBytes = 2 ** 60;

/** A number of bytes; Infinity for "max" and where the file is not there, as the root's are not. */
function bytesIn(text: string): number {
  const trimmed = text.trim();
  return /^\d+$/.test(trimmed) ? Number(trimmed) : Number.POSITIVE_INFINITY;
}

/** What is written as \040 and the like in /proc/self/mountinfo. */
function unescaped(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** A mount of the cgroups that count memory: where, and which cgroup that is. */
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
    const files = kind === "cgroup2" ? version2 : kind === "cgroup" && options.split(",").includes("memory") ? version1 : undefined;
    return files === undefined ? [] : [{ files, root: unescaped(root), point: unescaped(point) }];
  });
}

/** Which cgroup of a version's hierarchy this process is in. */
function cgroupOf(files: Files, cgroups: string): string | undefined {
  return field(cgroups, files === version2 ? /^0::(.*)$/m : /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m);
}

/** The folders of a cgroup and of those around it, as far as they are mounted: a container sees its own and no more, under a name that may be that of the machine. */
function foldersOf({ root, point }: Mount, cgroup: string): string[] {
  const prefix = root === "/" ? "" : root;
  const inside = cgroup === prefix || cgroup.startsWith(`${prefix}/`) ? cgroup.slice(prefix.length) : "";
  const names = inside.split("/").filter((name) => name !== "");
  // A process that was moved out of its namespace's root is in "/../…", which is mounted nowhere.
  if (names.includes("..")) return [point];
  return Array.from({ length: names.length + 1 }, (_, count) => [point, ...names.slice(0, count)].join("/"));
}

/** What a cgroup leaves of its limit, the page cache and what can be swapped out included: the kernel would take that back. */
function availableIn(path: string, files: Files, read: ReadFile, leftBytes: number): number {
  const stat = read(`${path}/memory.stat`);
  const counted = (name: string) => Number(field(stat, new RegExp(`^${files.total}${name} (\\d+)$`, "m")) ?? 0);
  const cacheBytes = counted("inactive_file") + counted("active_file") + counted("slab_reclaimable");
  const swapFreeBytes = Number(field(read("/proc/meminfo"), /^SwapFree:\s+(\d+)/m) ?? 0) * 1024;
  const swapLeftBytes = bytesIn(read(`${path}/${files.swapLimit}`)) - (Number(read(`${path}/${files.swapUsage}`)) || 0);
  const swappableBytes = Math.min(counted("inactive_anon") + counted("active_anon"), swapFreeBytes, Math.max(0, swapLeftBytes));
  return Math.max(0, leftBytes + cacheBytes + swappableBytes);
}

/** The cgroup of this process, or one around it, that cannot give it so many bytes more. Undefined where all can, as far as they are to be seen. */
export function cgroupWithout(bytes: number, read: ReadFile = readProc): CgroupMemory | undefined {
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
