/**
 * What keeps io_uring or this library from working, and the remedies. Each text exists only here, for errors and for
 * `bun-uring doctor`; lib/doctor/steps.ts has the detailed steps.
 */
import { oldest } from "./requirements.ts";

/** The cause of a failure, or of a limitation: something works less well than it could. */
export type Cause =
  | "seccomp"
  | "disabled"
  | "restricted"
  | "refused"
  | "securityModule"
  | "noIoUring"
  | "gvisor"
  | "oldKernel"
  | "notLinux"
  | "oldBun"
  | "compilerOff"
  | "noShim"
  | "noTemporaryFile"
  | "noLiburing"
  | "lockedMemory"
  | "descriptors"
  | "openFilesOfMachine"
  | "noMemory"
  | "noProc";

/** A cause and its remedy. */
export interface Remedy {
  readonly cause: Cause;
  /** The cause and the remedy in one to a few sentences, for error messages. */
  readonly hint: string;
}

/** The system calls that a seccomp profile has to allow. */
export const systemCalls = ["io_uring_setup", "io_uring_enter", "io_uring_register"] as const;
const allow = `allow ${systemCalls.slice(0, -1).join(", ")} and ${systemCalls[2]}`;

/** A seccomp filter that returns EPERM. */
export const seccomp: Remedy = {
  cause: "seccomp",
  hint:
    "A seccomp profile denies this process io_uring, as the default profiles of Docker and Kubernetes do, " +
    `or as SystemCallFilter= of systemd does. A${allow.slice(1)} in it.`,
};

/** A seccomp filter that returns ENOSYS. */
export const seccompHides: Remedy = {
  cause: "seccomp",
  hint:
    "This process has no io_uring. Most likely a seccomp profile hides it, as Podman's default profile does; " +
    `otherwise the kernel is built without it. A${allow.slice(1)} in the profile.`,
};

/** kernel.io_uring_disabled=2 */
export const disabled: Remedy = {
  cause: "disabled",
  hint: "The sysctl kernel.io_uring_disabled is 2, so nobody may use io_uring on this machine. Set it to 0.",
};

/** kernel.io_uring_disabled=1 */
export function restricted(group: number | undefined): Remedy {
  const members = group === undefined || group < 0 ? "currently none" : `currently id ${group}`;
  return {
    cause: "restricted",
    hint:
      "The sysctl kernel.io_uring_disabled is 1, so only root of the machine " +
      `and the group in kernel.io_uring_group (${members}) may use io_uring. ` +
      "Set kernel.io_uring_group to a group of this process, or kernel.io_uring_disabled to 0.",
  };
}

/** EPERM, and nothing in /proc explains it. */
export const refused: Remedy = {
  cause: "refused",
  hint:
    "This process is not allowed to use io_uring. Either a seccomp profile denies it, " +
    `as the default profiles of Docker and Kubernetes do (${allow}), ` +
    "or the sysctl kernel.io_uring_disabled is 1 or 2 (set it to 0).",
};

/** EACCES. */
export const securityModule: Remedy = {
  cause: "securityModule",
  hint: "A security module denies this process io_uring, most likely SELinux: its audit log shows which rule to add.",
};

/** ENOSYS without a seccomp filter. */
export const noIoUring: Remedy = {
  cause: "noIoUring",
  hint: `This kernel, or the sandbox around this process, has no io_uring. Linux ${oldest.linux} or newer is needed, built with CONFIG_IO_URING.`,
};

/** The kernel of a sandbox. */
export const gvisor: Remedy = {
  cause: "gvisor",
  hint: "This process runs under gVisor, which has no usable io_uring. Run it with another container runtime.",
};

/** @param release - the kernel's release, "5.15.0" */
export function oldKernel(release: string): Remedy {
  return { cause: "oldKernel", hint: `Linux ${oldest.linux} or newer is needed, and this is ${release}.` };
}

export const notLinux: Remedy = { cause: "notLinux", hint: "Use bun-uring on Linux only." };

export const oldBun: Remedy = { cause: "oldBun", hint: "Run `bun upgrade`." };

export const compilerOff: Remedy = { cause: "compilerOff", hint: "Run Bun without --no-ffi-cc." };

export const noShim: Remedy = {
  cause: "noShim",
  hint:
    "Reinstall bun-uring: its folder c is missing. " +
    "`bun build` bundles that folder; with other bundlers, mark bun-uring as external.",
};

/**
 * The C source of the shim cannot be written to a file. When the library is bundled, the source is compiled from a file
 * in memory, whose path is in /proc; failing that, from a temporary file.
 */
export const noTemporaryFile: Remedy = {
  cause: "noTemporaryFile",
  hint: "Set TMPDIR to a folder that this process may write to, or mount /proc.",
};

/** Commands that install liburing, and the distributions that they are for. */
export const liburingInstalls: readonly (readonly [command: string, distributions: string])[] = [
  ["apt-get install liburing2", "Debian, Ubuntu"],
  ["dnf install liburing", "Fedora, RHEL"],
  ["apk add liburing", "Alpine"],
  ["pacman -S liburing", "Arch"],
];

export const noLiburing: Remedy = {
  cause: "noLiburing",
  hint: `Install liburing's runtime library: ${liburingInstalls.map(([command, distributions]) => `\`${command}\` (${distributions})`).join(", ")}.`,
};

export const oldLiburing: Remedy = { cause: "noLiburing", hint: `liburing ${oldest.liburing} or newer is needed.` };

/** The limit on locked memory. Registered memory counts against it, and on newer kernels rings do too. */
export const lockedMemory: Remedy = {
  cause: "lockedMemory",
  hint:
    "Raise the limit (`ulimit -l`, memlock in /etc/security/limits.conf, LimitMEMLOCK= of systemd, --ulimit memlock= of Docker), " +
    "or give the process the capability CAP_IPC_LOCK (of the machine, not of a container's user namespace), " +
    "which exempts it from the limit.",
};

/** What a process needs descriptors for, and how to raise the limit. */
export const moreDescriptors: Remedy = {
  cause: "descriptors",
  hint:
    "A ring takes two descriptors, and one more while it is in use; a pool takes up to three in each thread, " +
    "and an open file one. " +
    "Raise the limit with `ulimit -n`, nofile in /etc/security/limits.conf, LimitNOFILE= of systemd, or --ulimit nofile= of Docker.",
};

/** EMFILE. */
export const openFiles: Remedy = {
  cause: "descriptors",
  hint: `The process has reached its limit on open descriptors: close some, or raise the limit. ${moreDescriptors.hint}`,
};

/** ENFILE. */
export const openFilesOfMachine: Remedy = {
  cause: "openFilesOfMachine",
  hint: "The machine has reached its limit on open files, which is the sysctl fs.file-max.",
};

/** ENOMEM that the limit on locked memory does not explain. */
export const noMemory: Remedy = {
  cause: "noMemory",
  hint: "The machine, or the cgroup of this container or service, has no memory left.",
};

export const noProc: Remedy = {
  cause: "noProc",
  hint: "The limits, and what denies io_uring, are read from /proc, which is not mounted here.",
};
