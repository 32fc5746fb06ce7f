/** What this machine's io_uring can do, found by trying. */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { basename } from "node:path";
import { UringError } from "./errors.ts";
import { native } from "./native.ts";
import { RawRing, registerAny, replaceKeepsTail } from "./raw-ring.ts";
import { scratch } from "./scratch.ts";
import * as uapi from "./uapi.ts";

/** What `probe()` returns: plain data. */
export interface Probe {
  /** Whether a ring can be set up. */
  readonly available: boolean;
  /** Why it can't, and what to do about it. */
  readonly reason: { readonly code: string; readonly message: string; readonly hint: string | undefined } | undefined;
  /** The kernel's release, "6.12.9". Say it to people; ask the rest for what works. */
  readonly kernel: string;
  /** The library in use. Its version is what its file's name says. */
  readonly liburing: { readonly version: string | undefined; readonly path: string } | undefined;
  /** IORING_FEAT_* that the kernel has, by name without the prefix. */
  readonly features: readonly string[];
  /** IORING_OP_* that the kernel has, by name without the prefix. */
  readonly opcodes: readonly string[];
  readonly clone: {
    /** Whole tables. Linux 6.12+. */
    readonly whole: boolean;
    /** Offsets and counts. Linux 6.13+. */
    readonly ranges: boolean;
    /** IORING_REGISTER_DST_REPLACE. Linux 6.13+. */
    readonly replace: boolean;
    /** Whether that leaves the entries behind its range alone. `RawRing.cloneBuffers` does so in any case. */
    readonly replaceKeepsTail: boolean;
  };
  readonly memlock: {
    /** Bytes that may be locked, Infinity without a limit. It does not bind a process with CAP_IPC_LOCK. */
    readonly limitBytes: number;
    /** Whether the process has CAP_IPC_LOCK, as root has. */
    readonly unlimited: boolean;
    /** Bytes that this process has pinned now. */
    readonly pinnedBytes: number;
  };
  /** The sysctl kernel.io_uring_disabled: 0 for all, 1 for a group, 2 for none; undefined before Linux 6.6. */
  readonly ioUringDisabled: number | undefined;
  /** The process's seccomp mode: 0 none, 1 strict, 2 filtered. */
  readonly seccomp: number;
}

const CAP_IPC_LOCK = 14n;

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function field(text: string, pattern: RegExp): string | undefined {
  return pattern.exec(text)?.[1];
}

function number(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** The names of constants with a prefix, by value. */
function named(prefix: string, holds: (value: number) => boolean): string[] {
  const names: string[] = [];
  for (const [name, value] of Object.entries(uapi))
    if (name.startsWith(prefix) && name !== "IORING_OP_LAST" && typeof value === "number" && holds(value)) names.push(name.slice(prefix.length));
  return names;
}

/** Opcodes by number that the kernel says it has. @see io_uring_register(2), IORING_REGISTER_PROBE */
function supportedOpcodes(ring: RawRing): Set<number> {
  const { address, words } = scratch(16 + 8 * 256);
  registerAny(ring, uapi.IORING_REGISTER_PROBE, address, 256, "io_uring_register_probe");
  const bytes = new Uint8Array(words.buffer);
  const supported = new Set<number>();
  for (let index = 0; index < (bytes[1] ?? 0); index++) if (((bytes[16 + 8 * index + 2] ?? 0) & 1) !== 0) supported.add(bytes[16 + 8 * index] ?? 0);
  return supported;
}

function liburing(): Probe["liburing"] {
  const path = field(read("/proc/self/maps"), /(\S*\/liburing\.so\S*)/);
  return path === undefined ? undefined : { path, version: field(basename(path), /\.so\.([\d.]+\d)$/) };
}

function memlock(): Probe["memlock"] {
  const status = read("/proc/self/status");
  const limit = field(read("/proc/self/limits"), /^Max locked memory\s+(\S+)/m);
  const capabilities = BigInt(`0x${field(status, /^CapEff:\s+(\S+)/m) ?? "0"}`);
  return {
    limitBytes: limit === undefined || limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit),
    unlimited: ((capabilities >> CAP_IPC_LOCK) & 1n) === 1n,
    pinnedBytes: Number(field(status, /^VmPin:\s+(\d+)/m) ?? 0) * 1024,
  };
}

type Rings = Pick<Probe, "available" | "reason" | "features" | "opcodes" | "clone">;

function tryRings(): Rings {
  try {
    using ring = new RawRing({ entries: 1 });
    const ability = native().probeClone();
    const ranges = (ability & 2) !== 0;
    const opcodes = supportedOpcodes(ring);
    return {
      available: true,
      reason: undefined,
      features: named("IORING_FEAT_", (value) => (ring.features & value) !== 0),
      opcodes: named("IORING_OP_", (value) => opcodes.has(value)),
      clone: { whole: (ability & 1) !== 0, ranges, replace: ranges, replaceKeepsTail: ranges && replaceKeepsTail() },
    };
  } catch (error) {
    if (!(error instanceof UringError)) throw error;
    const { code, message, hint } = error;
    return {
      available: false,
      reason: { code, message, hint },
      features: [],
      opcodes: [],
      clone: { whole: false, ranges: false, replace: false, replaceKeepsTail: false },
    };
  }
}

let found: (Rings & Pick<Probe, "kernel" | "liburing" | "ioUringDisabled" | "seccomp">) | undefined;

/**
 * What this machine's io_uring can do, found by trying rather than by version number. Never throws: where io_uring can't be used, `reason` says why. What can't
 * change while the process runs is found once.
 *
 * @example
 * ```ts
 * import { probe } from "bun-uring";
 *
 * const { available, reason, clone } = probe();
 * if (!available) console.error(reason?.message);
 * else console.log(clone.whole ? "buffers are cloned" : "each ring registers its buffers");
 * ```
 *
 * @see io_uring_register(2), io_uring_clone_buffers(3)
 */
export function probe(): Probe {
  found ??= {
    ...tryRings(),
    kernel: release(),
    liburing: liburing(),
    ioUringDisabled: number(field(read("/proc/sys/kernel/io_uring_disabled"), /^(\d)/)),
    seccomp: Number(field(read("/proc/self/status"), /^Seccomp:\s+(\d)/m) ?? 0),
  };
  return { ...found, memlock: memlock() };
}
