/** Helpers for tests that drive RawRings by hand. */
import { closeSync, openSync } from "node:fs";
import { constants, RawRing, UringError } from "bun-uring";

const {
  IORING_SETUP_CQE32,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_SQE128,
  IORING_SETUP_SQPOLL,
} = constants;

/** The setup flags of each kind of ring that works with any file. */
export const kinds: Record<string, number> = {
  plain: 0,
  SINGLE_ISSUER: IORING_SETUP_SINGLE_ISSUER,
  DEFER_TASKRUN: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
  SQPOLL: IORING_SETUP_SQPOLL,
  "SQE128 and CQE32": IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
};

export const EFAULT = -14;

export function shared(sizeBytes: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(sizeBytes));
}

/** `count` pieces of one memory, `sizeBytes` each. */
export function pieces(count: number, sizeBytes = 4096): Uint8Array[] {
  const memory = new SharedArrayBuffer(count * sizeBytes);
  return Array.from({ length: count }, (_, index) => new Uint8Array(memory, index * sizeBytes, sizeBytes));
}

/** A ring that has `count` pages of one memory registered. */
export function ringWith(count: number): { ring: RawRing; pages: Uint8Array[] } {
  const pages = pieces(count);
  const ring = new RawRing({ entries: 8 });
  ring.registerBuffers(pages);
  return { ring, pages };
}

/**
 * Prepares a request in a ring whose submission queue may be full: as long as there is no room, it submits and tries
 * again. With SQPOLL the kernel's thread may free a request's entry only after the request has completed.
 */
export function whenRoom(ring: RawRing, prepare: () => void): void {
  for (;;) {
    try {
      prepare();
      return;
    } catch (error) {
      if (!(error instanceof UringError && error.code === "EBUSY")) throw error;
      ring.submit();
    }
  }
}

/** The completions that have arrived. */
export function completions(ring: RawRing): [userData: number, result: number][] {
  const found: [number, number][] = [];
  ring.forEachCompletion((userData, result) => found.push([userData, result]));
  return found;
}

/** Waits until `count` completions have arrived. It waits repeatedly, because a signal may end a wait early. */
export function waitFor(ring: RawRing, count: number): [userData: number, result: number][] {
  const found: [number, number][] = [];
  while (found.length < count) {
    ring.submitAndWait(1);
    found.push(...completions(ring));
  }
  return found;
}

/** Waits for the only request, and returns its result: a value or -errno. */
export function resultOf(ring: RawRing): number {
  const [[, result] = [0, Number.NaN]] = waitFor(ring, 1);
  return result;
}

/** Reads one byte of `path` into `bytes` through the registered buffer `index`. Returns the result: 1, or -errno. */
export function readThrough(ring: RawRing, path: string, bytes: Uint8Array, index: number): number {
  const fd = openSync(path, "r");
  try {
    ring.prepReadFixed(fd, bytes.subarray(0, 1), 0, index, 1);
    return resultOf(ring);
  } finally {
    closeSync(fd);
  }
}
