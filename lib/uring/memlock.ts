/** The limit on locked memory, which registered buffers count against. */

import { field, hasCapability, readProc } from "../base/machine.ts";
import { wait } from "../base/timers.ts";
import { ENOMEM } from "../errors/errno.ts";
import { lockedMemory } from "../errors/remedies.ts";
import { UringError } from "../errors/uring-error.ts";

/** The limit, and this process's share of it. */
export interface Memlock {
  /** How many bytes the user may lock; Infinity without a limit. It does not apply to a process with CAP_IPC_LOCK. */
  readonly limitBytes: number;
  /**
   * Whether the process has CAP_IPC_LOCK. Root has it; root of a user namespace, as in a rootless container, does not.
   */
  readonly unlimited: boolean;
  /**
   * How many bytes this process has pinned now, as the kernel counts them. Linux 7.3 counts only if the limit applies.
   * The user's other processes count against the limit as well.
   */
  readonly pinnedBytes: number;
}

const CAP_IPC_LOCK = 14;

/** Reads it from /proc. */
export function memlock(status = readProc("/proc/self/status")): Memlock {
  const limit = field(readProc("/proc/self/limits"), /^Max locked memory\s+(\S+)/m);
  return {
    limitBytes: limit === undefined || limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit),
    unlimited: hasCapability(CAP_IPC_LOCK, status),
    pinnedBytes: Number(field(status, /^VmPin:\s+(\d+)/m) ?? 0) * 1024,
  };
}

/** Whether a limit applies to this process. */
export function isLimited({ limitBytes, unlimited }: Memlock): boolean {
  return !unlimited && limitBytes !== Number.POSITIVE_INFINITY;
}

const longestWaitMs = 256;

/**
 * Calls a function that needs locked memory, and calls it again if the limit prevents it, for at most half a second.
 *
 * Closing a ring or a pool frees its locked memory at once, except for two pages of each ring, and for the queues of a
 * ring without IORING_SETUP_DEFER_TASKRUN. A kernel worker frees those later, within 100 ms on an idle machine.
 * Constructors do not use this function, because waiting there would block the event loop.
 * @param call - throws a UringError with the code ENOMEM if it has to be called again
 * @param bytes - how much locked memory it needs at least
 */
export async function patiently<Result>(call: () => Result, bytes = 0): Promise<Result> {
  for (let waitMs = 1; ; waitMs *= 2) {
    try {
      return call();
    } catch (error) {
      const isShort = error instanceof UringError && error.errno === ENOMEM;
      if (!isShort || waitMs > longestWaitMs || !binds(memlock(), bytes)) throw error;
    }
    await wait(waitMs);
  }
}

/** Whether the limit may be what prevents locking `bytes`, and not permanently. */
function binds(now: Memlock, bytes: number): boolean {
  return isLimited(now) && bytes <= now.limitBytes;
}

/**
 * Checks the result of registering `bytes` of memory.
 * @throws UringError: the error of the registration. The hint of an ENOMEM names what was needed, what is allowed, and
 *   how to get more
 */
export function checkedRegistration(result: number, syscall: string, bytes: number): number {
  if (result >= 0) return result;
  const now = memlock();
  if (result !== ENOMEM || !isLimited(now)) throw new UringError(result, syscall);
  throw new UringError(result, syscall, {
    hint:
      `Registering ${bytes} bytes counts against the limit on locked memory, with all of any huge page that they lie in. The limit is ${now.limitBytes} bytes ` +
      `for everything that this user has registered (this process: ${now.pinnedBytes}). ${lockedMemory.hint} Or make the pool smaller.`,
  });
}
