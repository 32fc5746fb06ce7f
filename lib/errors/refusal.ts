/** Finds out from /proc what denies this process io_uring. */
import { process } from "../base/globals.ts";
import { field, hasCapability, readProc } from "../base/machine.ts";

/** The state of everything that may deny io_uring. */
export interface Refusing {
  /**
   * The sysctl kernel.io_uring_disabled. 0: all may use io_uring; 1: only a group; 2: nobody. Undefined before Linux
   * 6.6.
   */
  readonly ioUringDisabled: number | undefined;
  /**
   * The sysctl kernel.io_uring_group: the group that may use io_uring if kernel.io_uring_disabled is 1. -1: no group.
   */
  readonly ioUringGroup: number | undefined;
  /**
   * Whether this process may use io_uring if kernel.io_uring_disabled is 1: it is root of the machine, or a member of
   * the group.
   */
  readonly exempt: boolean;
  /** The process's seccomp mode. 0: none; 1: strict; 2: filter. */
  readonly seccomp: number;
  /** Whether the kernel is gVisor's, which is not Linux. */
  readonly gvisor: boolean;
}

const CAP_SYS_ADMIN = 21;

function integer(path: string): number | undefined {
  const text = field(readProc(path), /^(-?\d+)/);
  return text === undefined ? undefined : Number(text);
}

/** Reads that state from /proc. */
export function refusing(status = readProc("/proc/self/status")): Refusing {
  const ioUringGroup = integer("/proc/sys/kernel/io_uring_group");
  const { release, version } = process.getBuiltinModule("node:os");
  const groups = [
    field(status, /^Gid:\s+\d+\s+(\d+)/m),
    ...(field(status, /^Groups:[ \t]*([\d ]*)/m) ?? "").split(" "),
  ];
  return {
    ioUringDisabled: integer("/proc/sys/kernel/io_uring_disabled"),
    ioUringGroup,
    exempt: hasCapability(CAP_SYS_ADMIN, status) || groups.includes(String(ioUringGroup)),
    seccomp: Number(field(status, /^Seccomp:\s+(\d)/m) ?? 0),
    // Every release of gVisor reports this date.
    gvisor: /gvisor/i.test(release()) || version().includes("Sun Jan 10 15:06:54 PST 2016"),
  };
}
