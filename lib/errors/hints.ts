/** What to do about an error, where that is known. */
import { process } from "../base/globals.ts";
import { refuserOf, refusing } from "./refusal.ts";
import * as remedies from "./remedies.ts";
import { isBefore, oldest, since } from "./requirements.ts";

/** Who refuses io_uring with this errno, most likely, and what to do about that. */
export function remedyOfRefusal(facts: ReturnType<typeof refusing>, code: string): remedies.Remedy {
  switch (refuserOf(facts, code)) {
    case "gvisor":
      return remedies.gvisor;
    case "disabled":
      return remedies.disabled;
    case "restricted":
      return remedies.restricted(facts.ioUringGroup);
    case "seccomp":
      return code === "ENOSYS" ? remedies.seccompHides : remedies.seccomp;
    case "unknown":
      return code === "ENOSYS" ? remedies.noIoUring : remedies.refused;
  }
}

function invalidSetup(): string {
  const release = process.getBuiltinModule("node:os").release();
  if (isBefore(release, oldest.linux)) return remedies.oldKernel(release).hint;
  return (
    "Either the number of entries is out of range (1 to 32768, and no more SQ than CQ entries), or the flags do not go together " +
    `(IORING_SETUP_DEFER_TASKRUN needs IORING_SETUP_SINGLE_ISSUER), or this kernel, Linux ${release}, does not know one of them.`
  );
}

const noMemory = `${remedies.noMemory.hint} Or the limit on locked memory is reached. ${remedies.lockedMemory.hint}`;
const fileTable = "A file table may not be larger than the limit of open files (ulimit -n).";
const hasFiles = "The ring has a file table: unregister it first, or update it.";
const pastTheEnd = "The range goes past the table's end, or an entry that is to hold nothing has a tag.";

/** A key is "code syscall", or a code alone for any other system call. What has to be looked up is a function: it runs when the error is made. */
const hints: Record<string, string | (() => string)> = {
  "EPERM io_uring_setup": () => remedyOfRefusal(refusing(), "EPERM").hint,
  "ENOSYS io_uring_setup": () => remedyOfRefusal(refusing(), "ENOSYS").hint,
  "EACCES io_uring_setup": remedies.securityModule.hint,
  "EINVAL io_uring_setup": invalidSetup,
  "ENOMEM io_uring_setup": `${noMemory} Rings that were closed within the last 100 ms may still count against it: close fewer, or wait a moment.`,
  EMFILE: remedies.openFiles.hint,
  ENFILE: remedies.openFilesOfMachine.hint,
  "ENOMEM io_uring_register_buffers": noMemory,
  "ENOMEM io_uring_register_buffers_update": noMemory,
  "EFAULT io_uring_register_buffers": "A buffer is from 1 byte to 1 GiB long.",
  "EINVAL io_uring_register_buffers": "A table has up to 16384 buffers, and an entry that holds nothing has no tag.",
  "EBUSY io_uring_register_buffers": "The ring has buffers: unregister them first, or update the table.",
  "EBUSY io_uring_clone_buffers": `The destination has a buffer table, even if only a sparse one: unregister it first, or clone with \`replace: true\` (Linux ${since.ranges}).`,
  "ENXIO io_uring_clone_buffers": "The source ring has no registered buffers.",
  "ENXIO io_uring_unregister_buffers": "The ring has no registered buffers.",
  "ENXIO io_uring_register_buffers_update": "The ring has no buffer table: register one first, sparse if need be.",
  "EBUSY io_uring_register_files": hasFiles,
  "EBUSY io_uring_register_files_sparse": hasFiles,
  "EBADF io_uring_register_files": "Each entry is an open descriptor, and not that of an io_uring, or -1.",
  "EMFILE io_uring_register_files": fileTable,
  "EMFILE io_uring_register_files_sparse": fileTable,
  "EINVAL io_uring_register_buffers_update": pastTheEnd,
  "EINVAL io_uring_register_files_update": pastTheEnd,
  "ENXIO io_uring_register_files_update": "The ring has no file table: register one first, sparse if need be.",
  "ENXIO io_uring_unregister_files": "The ring has no file table.",
  "EEXIST io_uring_clone_buffers": "A source ring with IORING_SETUP_SINGLE_ISSUER can be cloned from by its own thread only: clone from a plain one.",
  "EINVAL io_uring_clone_buffers":
    "Either the range does not fit (count larger than the source's table, or given as 0 beside an offset; more than 16384 entries in the destination), " +
    `or source and destination are not of one process and user (who changes the user, or loses CAP_IPC_LOCK, is another), or the kernel is too old (whole clones are Linux ${since.clones}+, ranges and \`replace\` ${since.ranges}+).`,
  "EOVERFLOW io_uring_clone_buffers": "sourceOffset + count goes past the end of the source's table.",
  "EOPNOTSUPP io_uring_clone_buffers": "The source's descriptor is not that of an io_uring.",
  "EINVAL io_uring_register_ring_fd": "Registered ring descriptors are Linux 5.18+.",
  "EEXIST io_uring_register_ring_fd": "The ring's descriptor is registered already.",
  "EINVAL io_uring_unregister_ring_fd": "The ring's descriptor is not registered.",
};

/** What to do about a system call's failure. */
export function hintFor(code: string, syscall: string): string | undefined {
  const hint = hints[`${code} ${syscall}`] ?? hints[code];
  return typeof hint === "function" ? hint() : hint;
}
