/** What this machine's kernel and liburing have, found by trying, once in each thread. */

import { process } from "../base/globals.ts";
import { newerLinux } from "../errors/requirements.ts";
import { checked, UringError } from "../errors/uring-error.ts";
import { native, text } from "./native.ts";
import { scratch } from "./scratch.ts";

/** The liburing in use. */
export interface Liburing {
  /** Undefined where neither it nor its file's name tells. */
  readonly version: string | undefined;
  readonly path: string;
}

/** What was found. */
export interface Kernel {
  /** IORING_FEAT_* */
  readonly features: number;
  /** IORING_OP_* by number. */
  readonly opcodes: ReadonlySet<number>;
  /** What can be cloned, as the shim has it: a number, which pools share. By `cloneAbility()` it is the best that is known. */
  readonly cloneAbility: number;
  /** Looks its file up. */
  readonly liburing: () => Liburing | undefined;
}

const clonesWhole = 1;
const clonesRanges = 2;
const replaceKeepsTail = 4;
/** For want of descriptors or memory. Until that can be tried the slower way is right anywhere. */
const replaceUntried = 8;

/** What can be cloned. */
export interface Clones {
  readonly whole: boolean;
  /** Offsets and counts, into a table that exists. */
  readonly ranges: boolean;
  /** Whether IORING_REGISTER_DST_REPLACE leaves the entries behind its range alone: from Linux 6.13 to early 6.18 it does not. */
  readonly replaceKeepsTail: boolean;
}

/** What a `cloneAbility` says. */
export function clonesOf(cloneAbility: number): Clones {
  return { whole: (cloneAbility & clonesWhole) !== 0, ranges: (cloneAbility & clonesRanges) !== 0, replaceKeepsTail: (cloneAbility & replaceKeepsTail) !== 0 };
}

/** Opcodes of a struct io_uring_probe whose entries the kernel flags as supported. @see io_uring_get_probe(3) */
function supportedOpcodes(bytes: Uint8Array): Set<number> {
  const supported = new Set<number>();
  for (let index = 0; index < (bytes[1] ?? 0); index++) if (((bytes[16 + 8 * index + 2] ?? 0) & 1) !== 0) supported.add(bytes[16 + 8 * index] ?? 0);
  return supported;
}

function liburingOf(file: string, major: number, minor: number): Liburing {
  const { existsSync, realpathSync } = process.getBuiltinModule("node:fs");
  const path = existsSync(file) ? realpathSync(file) : file;
  // Before 2.4 only the file's name tells.
  return { path, version: major > 0 ? `${major}.${minor}` : /\.so\.([\d.]+\d)$/.exec(path)?.[1] };
}

function ask(): Kernel {
  const { address, words, longs } = scratch(24 + 16 + 8 * 256);
  checked(native().probe(address), "io_uring_setup");
  const [features = 0, cloneAbility = 0, , , major = 0, minor = 0] = words;
  const file = text(Number(longs[1]));
  return {
    features,
    cloneAbility,
    opcodes: supportedOpcodes(new Uint8Array(words.buffer, 24)),
    liburing: () => (file === undefined ? undefined : liburingOf(file, major, minor)),
  };
}

let asked: Kernel | undefined;

/**
 * The kernel, and the liburing in use.
 * @throws UringError: io_uring can't be used here
 */
export function kernel(): Kernel {
  asked ??= ask();
  return asked;
}

/**
 * What can be cloned. What could not be found out before, when descriptors or memory were short, is tried again.
 * @throws UringError: as `kernel`
 */
export function cloneAbility(): number {
  if (isConclusive()) return kernel().cloneAbility;
  try {
    asked = ask();
  } catch {
    // They still are.
  }
  return kernel().cloneAbility;
}

/** Whether all could be found out. */
export function isConclusive(): boolean {
  return (kernel().cloneAbility & replaceUntried) === 0;
}

/**
 * Requires an opcode that older kernels lack.
 * @param version - the Linux that brought it
 * @param otherwise - what else can be done
 */
export function checkOpcode(opcode: number, syscall: string, version: string, otherwise = ""): void {
  if (kernel().opcodes.has(opcode)) return;
  throw new UringError("EOPNOTSUPP", syscall, { message: "this kernel has no such request", hint: `${newerLinux(version)}${otherwise}` });
}

let skips: boolean | undefined;

/**
 * Whether this kernel may queue work for a ring and signal that to nobody, its eventfd neither: Linux 6.12.117 was seen to, after 6.12.107 did not. That cannot be
 * tried: it does so now and then.
 */
export function maySkipSignals(release = process.getBuiltinModule("node:os").release()): boolean {
  const [, patch] = /^6\.12\.(\d+)/.exec(release) ?? [];
  return Number(patch) > 107;
}

/** The same of the kernel in use, found once. */
export function skipsSignals(): boolean {
  skips ??= maySkipSignals();
  return skips;
}
