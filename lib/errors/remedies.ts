/** What keeps io_uring or this library from working, and the way out: each of these texts is here once, for errors and for `bun-uring doctor`, whose steps.ts has it at length. */
import { oldest } from "./requirements.ts";

/** What is behind a failure, or behind less than there could be. */
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

/** What to do about one cause. */
export interface Remedy {
  readonly cause: Cause;
  /** The cause and the way out in a sentence or a few, as errors say it. */
  readonly hint: string;
}

/** What a seccomp profile has to allow. */
export const systemCalls = ["io_uring_setup", "io_uring_enter", "io_uring_register"] as const;
const allow = `allow ${systemCalls.slice(0, -1).join(", ")} and ${systemCalls[2]}`;

/** A filter that answers EPERM. */
export const seccomp: Remedy = {
  cause: "seccomp",
  hint: `A seccomp profile refuses io_uring to this process, as Docker's and Kubernetes' default ones do, or SystemCallFilter= of systemd: ${allow} in it.`,
};

/** A filter that answers ENOSYS. */
export const seccompHides: Remedy = {
  cause: "seccomp",
  hint:
    "This process has no io_uring: a seccomp profile most likely hides it, as Podman's default one does, unless the kernel is built without it. " +
    `A${allow.slice(1)} in the profile.`,
};

/** kernel.io_uring_disabled=2 */
export const disabled: Remedy = {
  cause: "disabled",
  hint: "The sysctl kernel.io_uring_disabled is 2, so nobody may use io_uring on this machine. Set it to 0.",
};

/** kernel.io_uring_disabled=1 */
export function restricted(group: number | undefined): Remedy {
  const members = group === undefined || group < 0 ? "which is nobody now" : `which has the id ${group} now`;
  return {
    cause: "restricted",
    hint:
      "The sysctl kernel.io_uring_disabled is 1, so only root of the machine may use io_uring, and the group that kernel.io_uring_group names, " +
      `${members}. Let it name a group of this process, or set kernel.io_uring_disabled to 0.`,
  };
}

/** EPERM, and nothing in /proc that explains it. */
export const refused: Remedy = {
  cause: "refused",
  hint:
    "The process may not use io_uring. Either a seccomp profile refuses it, as Docker's and Kubernetes' default ones do " +
    `(${allow}), or the sysctl kernel.io_uring_disabled is 1 or 2 (set it to 0).`,
};

/** EACCES. */
export const securityModule: Remedy = {
  cause: "securityModule",
  hint: "A security module refuses io_uring to this process, most likely SELinux: its audit log says which rule to add.",
};

/** ENOSYS, and no filter. */
export const noIoUring: Remedy = {
  cause: "noIoUring",
  hint: `This kernel, or the sandbox around this process, has no io_uring. Linux ${oldest.linux} or newer is needed, built with CONFIG_IO_URING.`,
};

/** The kernel of a sandbox. */
export const gvisor: Remedy = {
  cause: "gvisor",
  hint: "This process runs under gVisor, which has no io_uring that is of use. Run it with another container runtime.",
};

/** @param release - the kernel's, "5.15.0" */
export function oldKernel(release: string): Remedy {
  return { cause: "oldKernel", hint: `Linux ${oldest.linux} or newer is needed, and this is ${release}.` };
}

export const notLinux: Remedy = { cause: "notLinux", hint: "Use bun-uring on Linux only." };

export const oldBun: Remedy = { cause: "oldBun", hint: "Run `bun upgrade`." };

export const compilerOff: Remedy = { cause: "compilerOff", hint: "Run Bun without --no-ffi-cc." };

export const noShim: Remedy = {
  cause: "noShim",
  hint: "Install bun-uring again: its folder c is missing. `bun build` carries it into a program; for other bundlers keep bun-uring external.",
};

/** The C shim of a program that it was bundled into is compiled from a file in memory, which is found in /proc; or from one of these. */
export const noTemporaryFile: Remedy = {
  cause: "noTemporaryFile",
  hint: "Set TMPDIR to a folder that this process may write to, or mount /proc.",
};

/** Commands that install liburing, and the distributions that have them. */
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

/** What registered memory counts against, and on newer kernels rings, too. */
export const lockedMemory: Remedy = {
  cause: "lockedMemory",
  hint:
    "Raise the limit (`ulimit -l`, memlock in /etc/security/limits.conf, LimitMEMLOCK= of systemd, --ulimit memlock= of Docker), " +
    "or give the process the capability CAP_IPC_LOCK (of the machine, not of a container's user namespace), which frees it of the limit.",
};

/** What a process needs descriptors for, and how it gets more. */
export const moreDescriptors: Remedy = {
  cause: "descriptors",
  hint:
    "A ring takes two descriptors, and one more while it is in use, a pool up to three in each thread, and an open file one. The limit is raised with `ulimit -n`, nofile in " +
    "/etc/security/limits.conf, LimitNOFILE= of systemd, or --ulimit nofile= of Docker.",
};

/** EMFILE. */
export const openFiles: Remedy = {
  cause: "descriptors",
  hint: `The process has as many descriptors as it may: close some, or raise the limit. ${moreDescriptors.hint}`,
};

/** ENFILE. */
export const openFilesOfMachine: Remedy = {
  cause: "openFilesOfMachine",
  hint: "The machine has as many files open as it may: the sysctl fs.file-max says how many.",
};

/** ENOMEM where the limit on locked memory is not what is in the way. */
export const noMemory: Remedy = { cause: "noMemory", hint: "The machine, or the cgroup of this container or service, has no memory left." };

export const noProc: Remedy = { cause: "noProc", hint: "Limits and what refuses are read from /proc, which is not mounted here." };
