/** The limit on locked memory, which registered buffers count against. */

import { field, hasCapability, readProc } from "../base/machine.ts";
import { wait } from "../base/timers.ts";
import { ENOMEM } from "../errors/errno.ts";
import { lockedMemory } from "../errors/remedies.ts";
import { UringError } from "../errors/uring-error.ts";

/** How this process stands with it. */
export interface Memlock {
  /** Bytes that the user may lock, Infinity without a limit. It does not bind a process with CAP_IPC_LOCK. */
  readonly limitBytes: number;
  /** Whether the process has CAP_IPC_LOCK, as root has; root of a user namespace, as in a rootless container, has not. */
  readonly unlimited: boolean;
  /** Bytes that this process has pinned now, as the kernel counts them: Linux 7.3 does so only where the limit binds. The user's other processes count as well. */
  readonly pinnedBytes: number;
}

const CAP_IPC_LOCK = 14;

/** As /proc says it. */
export function memlock(status = readProc("/proc/self/status")): Memlock {
  const limit = field(readProc("/proc/self/limits"), /^Max locked memory\s+(\S+)/m);
  return {
    limitBytes: limit === undefined || limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit),
    unlimited: hasCapability(CAP_IPC_LOCK, status),
    pinnedBytes: Number(field(status, /^VmPin:\s+(\d+)/m) ?? 0) * 1024,
  };
}

/** Whether there is a limit that binds this process. */
export function isLimited({ limitBytes, unlimited }: Memlock): boolean {
  return !unlimited && limitBytes !== Number.POSITIVE_INFINITY;
}

const longestWaitMs = 256;

/**
 * Calls what takes locked memory, and calls it again where the limit is in the way, for half a second at most. What is closed gives its part back at once, but for two pages a ring,
 * and the queues of a ring without IORING_SETUP_DEFER_TASKRUN: a kernel worker gives those back, within 100 ms on an idle machine. Constructors cannot wait without stopping the event
 * loop, so they do not.
 * @param call - throws a UringError with the code ENOMEM where it has to be called again
 * @param bytes - what it takes at least
 */
export async function patiently<Result>(call: () => Result, bytes = 0): Promise<Result> {
  for (let waitMs = 1; ; waitMs *= 2) {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof UringError && error.errno === ENOMEM) || waitMs > longestWaitMs || !binds(memlock(), bytes)) throw error;
    }
    await wait(waitMs);
  }
}

/** Whether the limit is what is in the way of so many bytes, and not for good. */
function binds(now: Memlock, bytes: number): boolean {
  return isLimited(now) && bytes <= now.limitBytes;
}

/**
 * The result of registering `bytes` of memory.
 * @throws UringError: what it failed with; ENOMEM with what was needed, what is allowed, and how to get more
 */
export function checkedRegistration(result: number, syscall: string, bytes: number): number {
  if (result >= 0) return result;
  const now = memlock();
  if (result !== ENOMEM || !isLimited(now)) throw new UringError(result, syscall);
  throw new UringError(result, syscall, {
    hint:
      `Registering ${bytes} bytes, and the rest of the huge pages that they lie in, takes as much of the limit on locked memory, which is ${now.limitBytes} bytes ` +
      `for all that this user has registered (this process: ${now.pinnedBytes}). ${lockedMemory.hint} Or make the pool smaller.`,
  });
}
