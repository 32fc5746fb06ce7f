/** Hints: what to do about an error, if the library knows. */
import { process } from "../base/globals.ts";
import { type Refusing, refusing } from "./refusal.ts";
import * as remedies from "./remedies.ts";
import { isBefore, oldest, since } from "./requirements.ts";

/**
 * The most likely reason that io_uring is refused with EPERM or ENOSYS, and the remedy. If a sysctl denies io_uring,
 * that is certain; a seccomp filter is a guess.
 */
export function remedyOfRefusal(
  { ioUringDisabled = 0, ioUringGroup, exempt, seccomp, gvisor }: Refusing,
  code: "EPERM" | "ENOSYS",
): remedies.Remedy {
  if (gvisor) return remedies.gvisor;
  if (code === "EPERM" && ioUringDisabled >= 2) return remedies.disabled;
  if (code === "EPERM" && ioUringDisabled === 1 && !exempt) return remedies.restricted(ioUringGroup);
  if (seccomp === 2) return code === "ENOSYS" ? remedies.seccompHides : remedies.seccomp;
  return code === "ENOSYS" ? remedies.noIoUring : remedies.refused;
}

function invalidSetup(): string {
  const release = process.getBuiltinModule("node:os").release();
  if (isBefore(release, oldest.linux)) return remedies.oldKernel(release).hint;
  return (
    "Either the number of entries is out of range (1 to 32768, and no more SQ than CQ entries), " +
    "or the flags cannot be combined (IORING_SETUP_DEFER_TASKRUN needs IORING_SETUP_SINGLE_ISSUER), " +
    `or this kernel, Linux ${release}, does not know one of them.`
  );
}

const noMemory = `${remedies.noMemory.hint} Or the limit on locked memory has been reached. ${remedies.lockedMemory.hint}`;
const transfers = ["read", "write", "readv", "writev", "read_fixed", "write_fixed", "readv_fixed", "writev_fixed"];
const unsupportedFlag =
  `The kernel or the file system does not support an option of the transfer: \`dontCache\` (Linux ${since.DONTCACHE}+, ` +
  "on ext4, XFS and others) or `noWait`. Leave it out.";
const fileTable = "A file table cannot have more entries than the limit on open files (ulimit -n).";
const hasFiles = "The ring already has a file table: unregister it first, or update it.";
const pastTheEnd = "The range goes past the end of the table, or an empty entry has a tag.";

/**
 * A key is "code syscall", or a code alone for all other system calls. A function is called when the error is created:
 * its hint depends on the state of the machine at that time.
 */
const hints: Record<string, string | (() => string)> = {
  "EPERM io_uring_setup": () => remedyOfRefusal(refusing(), "EPERM").hint,
  "ENOSYS io_uring_setup": () => remedyOfRefusal(refusing(), "ENOSYS").hint,
  "EACCES io_uring_setup": remedies.securityModule.hint,
  "EINVAL io_uring_setup": invalidSetup,
  "ENOMEM io_uring_setup":
    `${noMemory} Rings that were closed within the last 100 ms may still count against it: ` +
    "wait a moment, or close rings less often.",
  ...Object.fromEntries(transfers.map((syscall) => [`EOPNOTSUPP ${syscall}`, unsupportedFlag])),
  EMFILE: remedies.openFiles.hint,
  ENFILE: remedies.openFilesOfMachine.hint,
  "ENOMEM io_uring_register_buffers": noMemory,
  "ENOMEM io_uring_register_buffers_update": noMemory,
  "EFAULT io_uring_register_buffers": "Each buffer must be 1 byte to 1 GiB long.",
  "EINVAL io_uring_register_buffers": "A table can have up to 16384 buffers, and an empty entry cannot have a tag.",
  "EBUSY io_uring_register_buffers":
    "The ring already has registered buffers: unregister them first, or update the table.",
  "EBUSY io_uring_clone_buffers":
    "The destination already has a buffer table, possibly a sparse one: " +
    `unregister it first, or clone with \`replace: true\` (Linux ${since.ranges}+).`,
  "ENXIO io_uring_clone_buffers": "The source ring has no registered buffers.",
  "ENXIO io_uring_unregister_buffers": "The ring has no registered buffers.",
  "ENXIO io_uring_register_buffers_update": "The ring has no buffer table: register one first (it may be sparse).",
  "EBUSY io_uring_register_files": hasFiles,
  "EBUSY io_uring_register_files_sparse": hasFiles,
  "EBADF io_uring_register_files": "Each entry must be -1 or an open descriptor, but not that of an io_uring.",
  "EMFILE io_uring_register_files": fileTable,
  "EMFILE io_uring_register_files_sparse": fileTable,
  "EINVAL io_uring_register_buffers_update": pastTheEnd,
  "EINVAL io_uring_register_files_update": pastTheEnd,
  "ENXIO io_uring_register_files_update": "The ring has no file table: register one first (it may be sparse).",
  "ENXIO io_uring_unregister_files": "The ring has no file table.",
  "EEXIST io_uring_clone_buffers":
    "Only its own thread can clone from a ring with IORING_SETUP_SINGLE_ISSUER: clone from a ring without that flag.",
  "EINVAL io_uring_clone_buffers":
    "Either the range does not fit (count larger than the source's table, or 0 together with an offset; " +
    "more than 16384 entries in the destination), " +
    "or the source and the destination do not belong to the same process and user " +
    "(a process that changed its user, or gained or lost CAP_IPC_LOCK, counts as another user), " +
    `or the kernel is too old (whole clones are Linux ${since.clones}+, ranges and \`replace\` ${since.ranges}+).`,
  "EOVERFLOW io_uring_clone_buffers": "sourceOffset + count goes past the end of the source's table.",
  "EOPNOTSUPP io_uring_clone_buffers": "The source's descriptor is not that of an io_uring.",
  "EINVAL io_uring_register_ring_fd": "Registered ring descriptors need Linux 5.18 or newer.",
  "EEXIST io_uring_register_ring_fd": "The ring's descriptor is registered already.",
  "EINVAL io_uring_unregister_ring_fd": "The ring's descriptor is not registered.",
};

/** The hint for the failure of a system call, if there is one. */
export function hintFor(code: string, syscall: string): string | undefined {
  const hint = hints[`${code} ${syscall}`] ?? hints[code];
  return typeof hint === "function" ? hint() : hint;
}
