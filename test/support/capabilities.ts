/**
 * What this machine is capable of. A test that needs a missing capability is skipped, and the name of the skipped test
 * names the capability.
 */
import { test } from "bun:test";
import { constants, copyFileSync, existsSync } from "node:fs";
import { networkInterfaces, totalmem } from "node:os";
import { probe, RawRing } from "bun-uring";
import { makesMemoryCgroups } from "./cgroups.ts";
import { ownsMachine } from "./clock.ts";
import { directFlags } from "./direct.ts";
import { hasAllDocuments } from "./documents.ts";
import { mountsFaultyFiles } from "./faulty-files.ts";
import { Folder, hasPlace } from "./files.ts";
import { makesLoopDevices } from "./loop-device.ts";
import { mounts } from "./mounts.ts";
import { takesDontCache } from "./page-cache.ts";
import { makesTerminals } from "./pipes.ts";
import { pinsCounted } from "./resources.ts";

/**
 * Capabilities that must be present, by name and separated by commas. A test that needs one of these runs even if the
 * capability is missing, and fails with the reason. CI sets this for what it installs.
 */
const required: readonly string[] = (process.env["BUN_URING_TEST_REQUIRES"] ?? "").split(",");

const { available, clone, opcodes, memlock } = probe();

function mayLock(bytes: number): boolean {
  return memlock.unlimited || memlock.limitBytes >= bytes;
}

/** Whether this Bun can switch bun:ffi's compiler off. */
function switchesCompilerOff(): boolean {
  const program =
    'try { require("bun:ffi").cc({ source: "/dev/null", symbols: {} }) } catch (error) { process.exit(error.code === "ERR_FFI_CC_DISABLED" ? 0 : 1) }';
  return Bun.spawnSync([process.execPath, "--no-ffi-cc", "-e", program], { stderr: "ignore" }).exitCode === 0;
}

/**
 * Whether node:worker_threads, which has the only MessageChannel left, can be loaded after a program has removed the
 * global MessagePort. Bun 1.4.0 cannot.
 */
function loadsWorkerThreadsAlone(): boolean {
  const program = 'globalThis.MessagePort = undefined; process.getBuiltinModule("node:worker_threads")';
  return Bun.spawnSync([process.execPath, "-e", program], { stderr: "ignore" }).exitCode === 0;
}

/** Whether unregistering a table posts its tags: older kernels post only the tags of entries that are replaced. */
function unregisteringPostsTags(): boolean {
  using ring = new RawRing({ entries: 1 });
  ring.registerBuffers([new SharedArrayBuffer(4096)], [1]);
  ring.unregisterBuffers();
  return ring.forEachCompletion(() => undefined) === 1;
}

/** Whether test files can be opened with O_DIRECT: before Linux 6.6 files on tmpfs cannot. */
function takesDirect(): boolean {
  using folder = new Folder();
  return directFlags(folder.write("file", "")) !== constants.O_RDONLY;
}

/** Whether a copied test file shares the blocks of its source (reflink). */
function sharesBlocks(): boolean {
  using folder = new Folder();
  try {
    copyFileSync(folder.write("file", "x"), `${folder.path}/copy`, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  }
}

/** Whether reads of test files can be asked not to leave them in the page cache. */
function readsUncached(): boolean {
  using folder = new Folder();
  return takesDontCache(folder.write("file", "x"));
}

const capabilities = {
  "clone (Linux 6.12)": () => clone.whole,
  "clone of ranges (Linux 6.13)": () => clone.ranges,
  "READV_FIXED (Linux 6.15)": () => opcodes.includes("READV_FIXED"),
  "RWF_DONTCACHE (Linux 6.14)": readsUncached,
  "FTRUNCATE (Linux 6.9)": () => opcodes.includes("FTRUNCATE"),
  "tags of tables that are unregistered (Linux 6.13)": unregisteringPostsTags,
  "a file system with O_DIRECT": takesDirect,
  "VmPin that counts for root (not Linux 7.3)": pinsCounted,
  "256 MiB of locked memory": () => mayLock(2 ** 28),
  "4 GiB of locked memory": () => mayLock(2 ** 32),
  "test folders on a disk": () => hasPlace("disk"),
  "tmpfs on /dev/shm": () => hasPlace("memory"),
  "6 GiB of memory": () => totalmem() >= 6 * 2 ** 30,
  "--no-ffi-cc (Bun 1.4.1)": switchesCompilerOff,
  "node:worker_threads without MessagePort (not Bun 1.4.0)": loadsWorkerThreadsAlone,
  "a loopback interface": () =>
    Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ internal }) => internal)),
  "root, to become another user": () => process.getuid?.() === 0,
  // For tests that depend on programs rather than on the kernel. Under emulation they take very long, and find nothing
  // new.
  "a processor that is not emulated": () => process.env["BUN_URING_TEST_EMULATED"] === undefined,
  "the folder bench": () => existsSync(new URL("../../bench/", import.meta.url)),
  "all documents": () => hasAllDocuments,
  "TypeScript's compiler": () => existsSync(new URL("../../node_modules/typescript/", import.meta.url)),
  bash: () => Bun.which("bash") !== null,
  jq: () => Bun.which("jq") !== null,
  curl: () => Bun.which("curl") !== null,
  "bash, split, sha256sum and perl": () =>
    ["bash", "split", "sha256sum", "perl"].every((name) => Bun.which(name) !== null),
  "a test folder without reflinks": () => !sharesBlocks(),
  "grep of GNU": () =>
    Bun.which("grep") !== null &&
    Bun.spawnSync(["grep", "--version"], { stderr: "ignore" }).stdout.toString().includes("GNU"),
  "cp of GNU coreutils": () =>
    Bun.which("cp") !== null &&
    Bun.spawnSync(["cp", "--version"], { stderr: "ignore" }).stdout.toString().includes("coreutils"),
  root: () => process.getuid?.() === 0,
  "mounts of tmpfs": () => mounts("tmpfs"),
  "mounts of btrfs": () => mounts("btrfs"),
  "mounts of xfs": () => mounts("xfs"),
  "mounts of FUSE": mountsFaultyFiles,
  "loop devices": makesLoopDevices,
  terminals: makesTerminals,
  "control groups that limit memory": makesMemoryCgroups,
  "a machine whose clock may be set": () => ownsMachine,
} as const;

export type Capability = keyof typeof capabilities;

/** `needs` for tests that put their folder in one of the places. */
export const needsPlace = { disk: needs("test folders on a disk"), memory: needs("tmpfs on /dev/shm") } as const;

/** How a ring gets the buffers of one pool, and of several pools. */
export const bufferSource = {
  one: clone.whole ? "cloned" : "registered",
  several: clone.ranges ? "cloned" : "registered",
} as const;

/**
 * Returns `test`, or a skip that names the first missing capability. If io_uring is not available at all, the test runs
 * and fails with the reason.
 */
export function needs(
  ...needed: readonly Capability[]
): (name: string, body: () => void | Promise<void>, timeoutMs?: number) => void {
  const missing = available
    ? needed.find((capability) => !required.includes(capability) && !capabilities[capability]())
    : undefined;
  return (name, body, timeoutMs) =>
    test.skipIf(missing !== undefined)(
      missing === undefined ? name : `${name} [skipped: needs ${missing}]`,
      body,
      timeoutMs,
    );
}
