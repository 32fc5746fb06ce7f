/**
 * Turns what the doctor examined into findings: what works here, what does not, why, and what to do about it. The
 * functions here are pure.
 */

import { assert } from "../base/assert.ts";
import { remedyOfRefusal } from "../errors/hints.ts";
import * as remedies from "../errors/remedies.ts";
import { isBefore, newerLinux, oldest, since } from "../errors/requirements.ts";
import { isLimited } from "../uring/memlock.ts";
import type { Probe } from "../uring/probe.ts";
import { type Host, type Step, steps } from "./steps.ts";
import type { Surroundings } from "./surroundings.ts";
import { amplePoolBytes, type Reason } from "./trial.ts";

/** The result of examining one thing. */
export interface Finding {
  readonly name: string;
  /**
   * "limited": works, but with fewer features or less capacity than possible. "failed": io_uring or this library does
   * not work here.
   */
  readonly state: "ok" | "limited" | "failed";
  /** What was found. */
  readonly found: string;
  /** What is wrong with it. Absent if the state is "ok". */
  readonly why?: string;
  /** What to do about it: lines to paste, with comments. */
  readonly fix?: readonly string[];
}

/** The default limit of open files on most systems. */
const usualFileLimit = 1024;
/** The minimum size of a ring's table of registered files. */
const smallestFileTable = 64;

/**
 * The lines for a cause. Steps that fit the process's container come first, not alone, because the detected container
 * is a guess.
 */
function linesOf(cause: remedies.Cause | undefined, container: Host | undefined): string[] {
  if (cause === undefined) return [];
  const fits = ({ place }: Step) => place === undefined || place === container;
  return [...steps[cause].filter(fits), ...steps[cause].filter((step) => !fits(step))].flatMap(({ lines }, index) =>
    index === 0 ? lines : ["", ...lines],
  );
}

/** Formats a number of bytes for people: "8 MiB". */
function size(bytes: number): string {
  const unit = [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ] as const;
  const [divisor, name] = unit.find(([divisor]) => bytes >= divisor) ?? [1, "bytes"];
  return `${Math.round((bytes / divisor) * 10) / 10} ${name}`;
}

/** What keeps io_uring or the library from working: the finding it belongs to, and the remedy. */
interface Failure {
  readonly name: string;
  /** Without a cause if the hint is all that is known. */
  readonly remedy: Omit<remedies.Remedy, "cause"> & { readonly cause?: remedies.Cause };
}

/** Finds out which finding an error of the probe or of the trial belongs to, and its remedy. */
function failureOf(
  { code, syscall, hint, message }: Reason,
  { available, kernel, memlock }: Probe,
  { platform, refusing }: Surroundings,
): Failure {
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
        remedy: {
          ...remedies.lockedMemory,
          hint: `That leaves too little for a ring and a pool of 4 KiB. ${remedies.lockedMemory.hint}`,
        },
      };
    case "EINVAL":
      return isBefore(kernel, oldest.linux) ? { name: "kernel", remedy: remedies.oldKernel(kernel) } : other;
    default:
      return other;
  }
}

/**
 * The finding for one thing, on the assumption that it has not failed. `diagnose` adds the failure and the lines to
 * paste.
 */
type Observation = Omit<Finding, "name" | "fix"> & { readonly cause?: remedies.Cause };

function ok(found: string): Observation {
  return { state: "ok", found };
}

function limited(found: string, why: string, cause: remedies.Cause): Observation {
  return { state: "limited", found, why, cause };
}

function buffersCloned({ clone }: Probe, { trial }: Surroundings): Observation {
  if (!clone.whole) {
    const why = `Each ring registers a pool's memory itself, which counts against locked memory each time. ${newerLinux(since.clones)}`;
    return limited("no", why, "oldKernel");
  }
  if (!clone.ranges) {
    const why = `A ring with several pools registers their memory itself. ${newerLinux(since.ranges)}`;
    return limited("whole tables", why, "oldKernel");
  }
  if (clone.replaceKeepsTail) return ok("whole tables, ranges, replacing");
  // The trial failed, so the probe may not have been able to try replacing either. Do not report it as missing.
  if (trial?.error !== undefined) return ok("whole tables, ranges");
  const why = `RawRing.cloneBuffers({ replace: true }) uses a slower method, and refuses tables with tags. ${newerLinux(since.replaceKeepsTail)}`;
  return limited("whole tables, ranges; replacing drops the entries after the range", why, "oldKernel");
}

function filesRegistered({ clone }: Probe, { openFiles }: Surroundings): Observation {
  const slower = "The kernel looks up the file again for each request.";
  if (!clone.ranges) return limited("no", `${slower} ${newerLinux(since.registeredFiles)}`, "oldKernel");
  if (openFiles.limit >= smallestFileTable) return ok("yes");
  const why = `${slower} A table has at least ${smallestFileTable} entries, and must not exceed the limit on open files, ${openFiles.limit}.`;
  return limited("no", why, "descriptors");
}

function operation({ opcodes }: Probe, name: "READV_FIXED" | "FTRUNCATE", refused: string): Observation {
  if (opcodes.includes(name)) return ok("yes");
  return limited("no", `${refused} ${newerLinux(since[name])}`, "oldKernel");
}

function memoryLocked({ memlock, clone }: Probe, { hasProc, trial }: Surroundings): Observation {
  if (!hasProc) return ok("limit not known");
  const pinned = `${size(memlock.pinnedBytes)} pinned by this process`;
  if (!isLimited(memlock)) return ok(`no limit${memlock.unlimited ? " (CAP_IPC_LOCK)" : ""}, ${pinned}`);
  const found = `limit ${size(memlock.limitBytes)} for all processes of this user, ${pinned}`;
  const largestBytes = trial?.error === undefined ? trial?.largestPoolBytes : undefined;
  if (largestBytes === undefined || largestBytes >= amplePoolBytes) return ok(found);
  return limited(
    `${found}; ${largestBytes === 0 ? "no pool of 64 KiB" : `no pool much larger than ${largestBytes} bytes`} could be made`,
    `Pools count against the limit${clone.whole ? "" : ", once more for each ring that has them"}, and on newer kernels so do rings. ${remedies.lockedMemory.hint}`,
    "lockedMemory",
  );
}

function filesOpen({ openFiles: { limit, open } }: Surroundings): Observation {
  if (limit === Number.POSITIVE_INFINITY) return ok("limit not known");
  const found = `limit ${limit}, ${open} open`;
  return limit >= usualFileLimit ? ok(found) : limited(found, remedies.moreDescriptors.hint, "descriptors");
}

/**
 * Everything that was examined, ordered so that each thing comes after those it depends on. Leaves out what could not
 * be examined because of a failure.
 */
function observations(
  probe: Probe,
  surroundings: Surroundings,
  failed: string | undefined,
): [name: string, Observation][] {
  const { platform, architecture, bun, hasProc, refusing, trial } = surroundings;
  const { available, kernel, liburing } = probe;
  const sysctl =
    refusing.ioUringDisabled === undefined ? "" : `, kernel.io_uring_disabled is ${refusing.ioUringDisabled}`;
  const filter = refusing.seccomp === 2 ? ", seccomp filters system calls" : "";
  const all: (false | [name: string, Observation])[] = [
    ["Linux", ok(`${platform} ${architecture}`)],
    ["Bun", ok(bun)],
    !hasProc && ["/proc", limited("not there", remedies.noProc.hint, "noProc")],
    ["kernel", ok(`${kernel}${refusing.gvisor ? " (gVisor)" : ""}`)],
    (failed === "bun:ffi" || failed === "liburing" || available) && [
      "bun:ffi",
      ok(failed === "bun:ffi" ? "does not compile" : "compiles"),
    ],
    (failed === "liburing" || available) && [
      "liburing",
      ok(liburing === undefined ? "not usable" : `${liburing.version ?? "version unknown"}, ${liburing.path}`),
    ],
    (failed === "io_uring" || available) && [
      "io_uring",
      ok(`${available ? `${probe.opcodes.length} operations` : "refused"}${sysctl}${filter}`),
    ],
    trial !== undefined &&
      (failed === "fixed read" || trial.error === undefined) && [
        "fixed read",
        ok(
          trial.error === undefined
            ? `${trial.readBytes} bytes in a ${trial.bufferSource} buffer, the same as node:fs reads`
            : "failed",
        ),
      ],
    available && ["buffer clones", buffersCloned(probe, surroundings)],
    available && ["registered files", filesRegistered(probe, surroundings)],
    available && [
      "READV_FIXED",
      operation(
        probe,
        "READV_FIXED",
        "readvFixed() and writevFixed() treat slots as unregistered memory, and RawRing refuses such requests.",
      ),
    ],
    available && ["FTRUNCATE", operation(probe, "FTRUNCATE", "ring.ftruncate() is refused.")],
    ["locked memory", memoryLocked(probe, surroundings)],
    failed === "memory" && ["memory", ok("none left")],
    ["open files", filesOpen(surroundings)],
  ];
  const found = all.filter((entry) => entry !== false);
  // On another system, or with an old Bun, the findings after that one are of no use.
  return failed === "Linux" || failed === "Bun"
    ? found.slice(0, found.findIndex(([name]) => name === failed) + 1)
    : found;
}

/**
 * Reports what works here, what does not, why, and what to do about it.
 * @param probe - the result of `probe()`
 * @param surroundings - what `examine()` found besides the probe
 */
export function diagnose(probe: Probe, surroundings: Surroundings): Finding[] {
  const reason = probe.reason ?? surroundings.trial?.error;
  const failure = reason && {
    ...failureOf(reason, probe, surroundings),
    said: reason.message.replace(`. ${reason.hint}`, ""),
  };
  const findings = observations(probe, surroundings, failure?.name).map(
    ([name, { state, found, why, cause }]): Finding => {
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
    },
  );
  assert(works(findings) === (failure === undefined), `${failure?.name} is among what was looked at`);
  return findings;
}

/** Whether io_uring and this library work here. */
export function works(findings: readonly Finding[]): boolean {
  return findings.every(({ state }) => state !== "failed");
}
