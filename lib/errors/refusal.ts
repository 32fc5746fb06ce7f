/** What refuses io_uring to this process, as far as /proc says. */
import { process } from "../base/globals.ts";
import { field, hasCapability, readProc } from "../base/machine.ts";

/** What there is that may refuse. */
export interface Refusing {
  /** The sysctl kernel.io_uring_disabled: 0 for all, 1 for a group, 2 for none; undefined before Linux 6.6. */
  readonly ioUringDisabled: number | undefined;
  /** The sysctl kernel.io_uring_group: whom 1 leaves io_uring to. -1 is nobody. */
  readonly ioUringGroup: number | undefined;
  /** Whether 1 leaves it to this process: to root of the machine, or to a member of the group. */
  readonly exempt: boolean;
  /** The process's seccomp mode: 0 none, 1 strict, 2 filtered. */
  readonly seccomp: number;
  /** Whether the kernel is gVisor's, which is no Linux. */
  readonly gvisor: boolean;
}

/** Who or what. */
export type Refuser = "disabled" | "restricted" | "seccomp" | "gvisor" | "unknown";

const CAP_SYS_ADMIN = 21;

function integer(path: string): number | undefined {
  const text = field(readProc(path), /^(-?\d+)/);
  return text === undefined ? undefined : Number(text);
}

/** As /proc says it. */
export function refusing(status = readProc("/proc/self/status")): Refusing {
  const ioUringGroup = integer("/proc/sys/kernel/io_uring_group");
  const { release, version } = process.getBuiltinModule("node:os");
  const groups = [field(status, /^Gid:\s+\d+\s+(\d+)/m), ...(field(status, /^Groups:[ \t]*([\d ]*)/m) ?? "").split(" ")];
  return {
    ioUringDisabled: integer("/proc/sys/kernel/io_uring_disabled"),
    ioUringGroup,
    exempt: hasCapability(CAP_SYS_ADMIN, status) || groups.includes(String(ioUringGroup)),
    seccomp: Number(field(status, /^Seccomp:\s+(\d)/m) ?? 0),
    gvisor: /gvisor/i.test(release()) || version().includes("Sun Jan 10 15:06:54 PST 2016"), // all of its releases say so
  };
}

/** What is behind EPERM or ENOSYS, most likely. A sysctl that refuses does so for certain. */
export function refuserOf({ ioUringDisabled = 0, exempt, seccomp, gvisor }: Refusing, code: string): Refuser {
  if (gvisor) return "gvisor";
  if (code === "EPERM" && ioUringDisabled >= 2) return "disabled";
  if (code === "EPERM" && ioUringDisabled === 1 && !exempt) return "restricted";
  return seccomp === 2 ? "seccomp" : "unknown";
}
