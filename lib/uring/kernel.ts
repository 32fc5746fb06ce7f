/** What this machine's kernel and liburing support. Found by trying, once in each thread. */

import { process } from "../base/globals.ts";
import { newerLinux } from "../errors/requirements.ts";
import { checked, UringError } from "../errors/uring-error.ts";
import { native, text } from "./native.ts";
import { scratch } from "./scratch.ts";

/** The liburing in use. */
export interface Liburing {
  /** Undefined if neither the library nor its file name contains it. */
  readonly version: string | undefined;
  readonly path: string;
}

/** What was found. */
export interface Kernel {
  /** IORING_FEAT_* bits. */
  readonly features: number;
  /** The supported IORING_OP_* numbers. */
  readonly opcodes: ReadonlySet<number>;
  /**
   * What can be cloned, as the bits below. A number, so that pools can share it between threads. Prefer
   * `cloneAbility()`, which completes it if it is incomplete.
   */
  readonly cloneAbility: number;
  /** Finds out about the liburing in use. Accesses the file system. */
  readonly liburing: () => Liburing | undefined;
}

const clonesWhole = 1;
const clonesRanges = 2;
const replaceKeepsTail = 4;
/**
 * There were too few descriptors or too little memory to try `replaceKeepsTail`. The workaround for its absence is
 * correct on every kernel, so it is used until this can be tried.
 */
const replaceUntried = 8;

/** What can be cloned. */
export interface Clones {
  /** Whole tables, into a ring without a table. */
  readonly whole: boolean;
  /** Offsets and counts, into a table that exists. */
  readonly ranges: boolean;
  /**
   * Whether IORING_REGISTER_DST_REPLACE leaves the entries after its range alone. From Linux 6.13 to early 6.18 it does
   * not.
   */
  readonly replaceKeepsTail: boolean;
}

/** Decodes a `cloneAbility`. */
export function clonesOf(cloneAbility: number): Clones {
  return {
    whole: (cloneAbility & clonesWhole) !== 0,
    ranges: (cloneAbility & clonesRanges) !== 0,
    replaceKeepsTail: (cloneAbility & replaceKeepsTail) !== 0,
  };
}

/**
 * The opcodes that the kernel marks as supported in a struct io_uring_probe.
 * @see io_uring_get_probe(3)
 */
function supportedOpcodes(bytes: Uint8Array): Set<number> {
  const supported = new Set<number>();
  for (let index = 0; index < (bytes[1] ?? 0); index++)
    if (((bytes[16 + 8 * index + 2] ?? 0) & 1) !== 0) supported.add(bytes[16 + 8 * index] ?? 0);
  return supported;
}

function liburingOf(file: string, major: number, minor: number): Liburing {
  const { existsSync, realpathSync } = process.getBuiltinModule("node:fs");
  const path = existsSync(file) ? realpathSync(file) : file;
  // liburing before 2.4 has no version functions, so use the file's name.
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
 * Returns what the kernel and the liburing in use support.
 * @throws UringError: io_uring cannot be used here
 */
export function kernel(): Kernel {
  asked ??= ask();
  return asked;
}

/**
 * Returns what can be cloned. Tries again what could not be tried before because descriptors or memory were short.
 * @throws UringError: as `kernel`
 */
export function cloneAbility(): number {
  if (isConclusive()) return kernel().cloneAbility;
  try {
    asked = ask();
  } catch {
    // They are still short.
  }
  return kernel().cloneAbility;
}

/** Whether everything could be tried. */
export function isConclusive(): boolean {
  return (kernel().cloneAbility & replaceUntried) === 0;
}

/**
 * Requires an opcode that older kernels do not have.
 * @param version - the first Linux version that has it
 * @param otherwise - what the program can do instead
 */
export function checkOpcode(opcode: number, syscall: string, version: string, otherwise = ""): void {
  if (kernel().opcodes.has(opcode)) return;
  throw new UringError("EOPNOTSUPP", syscall, {
    message: "this kernel does not support this request",
    hint: `${newerLinux(version)}${otherwise}`,
  });
}

let skips: boolean | undefined;

/**
 * Whether this kernel may queue work for a ring without signalling anyone, not even the ring's eventfd. Linux 6.12.117
 * was seen to do so, and 6.12.107 was not. It cannot be tested for, because it happens only now and then.
 */
export function maySkipSignals(release = process.getBuiltinModule("node:os").release()): boolean {
  const [, patch] = /^6\.12\.(\d+)/.exec(release) ?? [];
  return Number(patch) > 107;
}

/** `maySkipSignals` for the running kernel, evaluated once. */
export function skipsSignals(): boolean {
  skips ??= maySkipSignals();
  return skips;
}
