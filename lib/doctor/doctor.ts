/** Says what works here, and of what does not, why, and what to do about it: pure, from what was found. */

import { assert } from "../base/assert.ts";
import { remedyOfRefusal } from "../errors/hints.ts";
import * as remedies from "../errors/remedies.ts";
import { isBefore, newerLinux, oldest, since } from "../errors/requirements.ts";
import { isLimited } from "../uring/memlock.ts";
import type { Probe } from "../uring/probe.ts";
import { type Host, type Step, steps } from "./steps.ts";
import type { Surroundings } from "./surroundings.ts";
import { amplePoolBytes } from "./trial.ts";

/** One thing that was looked at. */
export interface Finding {
  readonly name: string;
  /** "limited": works, with less than there could be. "failed": io_uring, or this library, does not work here. */
  readonly state: "ok" | "limited" | "failed";
  /** What was found. */
  readonly found: string;
  /** What is wrong with that; absent where it is ok. */
  readonly why?: string;
  /** What to do about it, in lines to paste, with comments. */
  readonly fix?: readonly string[];
}

type Reason = NonNullable<Probe["reason"]>;

/** What most systems have. */
const usualFileLimit = 1024;
/** The least that a ring's table of registered files has. */
const smallestFileTable = 64;

/** Steps for where the process is first: that it is there is a guess. */
function linesOf(cause: remedies.Cause | undefined, container: Host | undefined): string[] {
  if (cause === undefined) return [];
  const fits = ({ place }: Step) => place === undefined || place === container;
  return [...steps[cause].filter(fits), ...steps[cause].filter((step) => !fits(step))].flatMap(({ lines }, index) => (index === 0 ? lines : ["", ...lines]));
}

/** Numbers for people: "8 MiB". */
function size(bytes: number): string {
  const unit = [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ] as const;
  const [divisor, name] = unit.find(([divisor]) => bytes >= divisor) ?? [1, "bytes"];
  return `${Math.round((bytes / divisor) * 10) / 10} ${name}`;
}

/** What keeps it from working: where, and what to do. */
interface Failure {
  readonly name: string;
  /** Without a cause where the hint is all that is known. */
  readonly remedy: Omit<remedies.Remedy, "cause"> & { readonly cause?: remedies.Cause };
}

/** Which part of the whole it is that an error of the probe or of the trial is about. */
function failureOf({ code, syscall, hint, message }: Reason, { available, kernel, memlock }: Probe, { platform, refusing }: Surroundings): Failure {
  const asSaid = { hint: hint ?? message };
  const other = { name: available ? "fixed read" : "io_uring", remedy: asSaid };
  if (platform !== "linux") return { name: "Linux", remedy: remedies.notLinux };
  switch (`${code} ${syscall}`) {
    case "EOPNOTSUPP cc":
      return { name: "Bun", remedy: remedies.oldBun };
    case "ERR_FFI_CC_DISABLED cc":
      return { name: "bun:ffi", remedy: remedies.compilerOff };
    case "ENOENT cc":
      return { name: "bun:ffi", remedy: remedies.noShim };
    case "ENOEXEC cc":
      return { name: "bun:ffi", remedy: asSaid };
    case "ENOENT dlopen":
      return { name: "liburing", remedy: hint === remedies.noLiburing.hint ? remedies.noLiburing : asSaid };
    case "ENOSYS dlsym":
      return { name: "liburing", remedy: remedies.oldLiburing };
  }
  switch (code) {
    case "EPERM":
    case "ENOSYS":
      return available ? other : { name: "io_uring", remedy: remedyOfRefusal(refusing, code) };
    case "EACCES":
      return available ? other : { name: "io_uring", remedy: remedies.securityModule };
    case "EMFILE":
      return { name: "open files", remedy: remedies.openFiles };
    case "ENFILE":
      return { name: "open files", remedy: remedies.openFilesOfMachine };
    case "ENOMEM":
      if (!isLimited(memlock)) return { name: "memory", remedy: remedies.noMemory };
      return {
        name: "locked memory",
        remedy: { ...remedies.lockedMemory, hint: `That leaves too little for a ring and a pool of 4 KiB. ${remedies.lockedMemory.hint}` },
      };
    case "EINVAL":
      return isBefore(kernel, oldest.linux) ? { name: "kernel", remedy: remedies.oldKernel(kernel) } : other;
    default:
      return other;
  }
}

/** What is said of one thing: a finding, as long as nothing has failed there. */
type Observation = Omit<Finding, "name" | "fix"> & { readonly cause?: remedies.Cause };

function ok(found: string): Observation {
  return { state: "ok", found };
}

function buffersCloned({ clone }: Probe, { trial }: Surroundings): Observation {
  if (!clone.whole) {
    const why = `Each ring registers a pool's memory itself, which counts against locked memory each time. ${newerLinux(since.clones)}`;
    return { state: "limited", found: "no", why, cause: "oldKernel" };
  }
  if (!clone.ranges) {
    const why = `A ring with several pools registers their memory itself. ${newerLinux(since.ranges)}`;
    return { state: "limited", found: "whole tables", why, cause: "oldKernel" };
  }
  if (clone.replaceKeepsTail) return ok("whole tables, ranges, replacing");
  if (trial?.error !== undefined) return ok("whole tables, ranges"); // for want of what failed the trial, the rest may not have been tried
  const why = `RawRing.cloneBuffers({ replace: true }) takes a slower way, and refuses tables with tags. ${newerLinux(since.replaceKeepsTail)}`;
  return { state: "limited", found: "whole tables, ranges; replacing drops the entries behind the range", why, cause: "oldKernel" };
}

function filesRegistered({ clone }: Probe, { openFiles }: Surroundings): Observation {
  const slower = "The kernel looks an open file up in each request.";
  if (!clone.ranges) return { state: "limited", found: "no", why: `${slower} ${newerLinux(since.registeredFiles)}`, cause: "oldKernel" };
  if (openFiles.limit >= smallestFileTable) return ok("yes");
  const why = `${slower} A table has ${smallestFileTable} entries at least, and may not have more than the limit of open files, ${openFiles.limit}.`;
  return { state: "limited", found: "no", why, cause: "descriptors" };
}

function operation({ opcodes }: Probe, name: "READV_FIXED" | "FTRUNCATE", refused: string): Observation {
  if (opcodes.includes(name)) return ok("yes");
  return { state: "limited", found: "no", why: `${refused} ${newerLinux(since[name])}`, cause: "oldKernel" };
}

function memoryLocked({ memlock, clone }: Probe, { hasProc, trial }: Surroundings): Observation {
  if (!hasProc) return ok("limit not known");
  const pinned = `${size(memlock.pinnedBytes)} pinned by this process`;
  if (!isLimited(memlock)) return ok(`no limit${memlock.unlimited ? " (CAP_IPC_LOCK)" : ""}, ${pinned}`);
  const found = `limit ${size(memlock.limitBytes)} for all processes of this user, ${pinned}`;
  const largestBytes = trial?.error === undefined ? trial?.largestPoolBytes : undefined;
  if (largestBytes === undefined || largestBytes >= amplePoolBytes) return ok(found);
  return {
    state: "limited",
    found: `${found}; ${largestBytes === 0 ? "no pool of 64 KiB" : `no pool much larger than ${largestBytes} bytes`} could be made`,
    why: `Pools count against the limit${clone.whole ? "" : ", once more for each ring that has them"}, and on newer kernels rings do. ${remedies.lockedMemory.hint}`,
    cause: "lockedMemory",
  };
}

function filesOpen({ openFiles: { limit, open } }: Surroundings): Observation {
  if (limit === Number.POSITIVE_INFINITY) return ok("limit not known");
  const found = `limit ${limit}, ${open} open`;
  return limit >= usualFileLimit ? ok(found) : { state: "limited", found, why: remedies.moreDescriptors.hint, cause: "descriptors" };
}

/** All that was looked at, in the order in which one thing needs the other. What a failure kept from being looked at is left out. */
function observations(probe: Probe, surroundings: Surroundings, failed: string | undefined): [name: string, Observation][] {
  const { platform, architecture, bun, hasProc, refusing, trial } = surroundings;
  const { available, kernel, liburing } = probe;
  const sysctl = refusing.ioUringDisabled === undefined ? "" : `, kernel.io_uring_disabled is ${refusing.ioUringDisabled}`;
  const filter = refusing.seccomp === 2 ? ", seccomp filters system calls" : "";
  const all: (false | [name: string, Observation])[] = [
    ["Linux", ok(`${platform} ${architecture}`)],
    ["Bun", ok(bun)],
    !hasProc && ["/proc", { state: "limited", found: "not there", why: remedies.noProc.hint, cause: "noProc" }],
    ["kernel", ok(`${kernel}${refusing.gvisor ? " (gVisor)" : ""}`)],
    (failed === "bun:ffi" || failed === "liburing" || available) && ["bun:ffi", ok(failed === "bun:ffi" ? "does not compile" : "compiles")],
    (failed === "liburing" || available) && [
      "liburing",
      ok(liburing === undefined ? "not to be used" : `${liburing.version ?? "version unknown"}, ${liburing.path}`),
    ],
    (failed === "io_uring" || available) && ["io_uring", ok(`${available ? `${probe.opcodes.length} operations` : "refused"}${sysctl}${filter}`)],
    trial !== undefined &&
      (failed === "fixed read" || trial.error === undefined) && [
        "fixed read",
        ok(trial.error === undefined ? `${trial.readBytes} bytes in a ${trial.bufferSource} buffer, the same as node:fs reads` : "failed"),
      ],
    available && ["buffer clones", buffersCloned(probe, surroundings)],
    available && ["registered files", filesRegistered(probe, surroundings)],
    available && [
      "READV_FIXED",
      operation(probe, "READV_FIXED", "readvFixed() and writevFixed() name each slot's memory anew, and those of RawRing are refused."),
    ],
    available && ["FTRUNCATE", operation(probe, "FTRUNCATE", "ring.ftruncate() is refused.")],
    ["locked memory", memoryLocked(probe, surroundings)],
    failed === "memory" && ["memory", ok("none left")],
    ["open files", filesOpen(surroundings)],
  ];
  const found = all.filter((entry) => entry !== false);
  // On another system, or with an old Bun, nothing behind that is of use.
  return failed === "Linux" || failed === "Bun" ? found.slice(0, found.findIndex(([name]) => name === failed) + 1) : found;
}

/**
 * What works here, and what does not, and of that why, and what to do about it.
 * @param probe - what `probe()` returned
 * @param surroundings - what `examine()` found besides
 */
export function diagnose(probe: Probe, surroundings: Surroundings): Finding[] {
  const reason = probe.reason ?? surroundings.trial?.error;
  const failure = reason && { ...failureOf(reason, probe, surroundings), said: reason.message.replace(`. ${reason.hint}`, "") };
  const findings = observations(probe, surroundings, failure?.name).map(([name, { state, found, why, cause }]): Finding => {
    const failed = failure?.name === name ? failure : undefined;
    const hint = failed?.remedy.hint ?? why;
    const fix = linesOf(failed === undefined ? cause : failed.remedy.cause, surroundings.container);
    return {
      name,
      state: failed === undefined ? state : "failed",
      found: failed === undefined ? found : `${found}: ${failed.said}`,
      ...(hint !== undefined && { why: hint }),
      ...(fix.length > 0 && { fix }),
    };
  });
  assert(works(findings) === (failure === undefined), `${failure?.name} is among what was looked at`);
  return findings;
}

/** Whether io_uring and this library work. */
export function works(findings: readonly Finding[]): boolean {
  return findings.every(({ state }) => state !== "failed");
}
