/** Cloning of one ring's registered buffers into another's table. */
import { Bun } from "../base/globals.ts";
import { ENXIO, EOVERFLOW } from "../errors/errno.ts";
import { checked } from "../errors/uring-error.ts";
import type { Clones } from "./kernel.ts";
import { largestTable } from "./registration.ts";
import { IORING_REGISTER_DST_REPLACE, IORING_UNREGISTER_BUFFERS } from "./uapi.ts";
import { Uring } from "./uring.ts";

/** Which entries of a source's table, and where they go. A count of 0 is the whole table, which takes offsets of 0. */
export interface CloneRange {
  readonly sourceFd: number;
  readonly destinationOffset: number;
  readonly sourceOffset: number;
  readonly count: number;
}

/** Whether the kernel has IORING_REGISTER_DST_REPLACE, and has it wrong. */
export function replacesWrongly({ ranges, replaceKeepsTail }: Clones): boolean {
  return ranges && !replaceKeepsTail;
}

/** Clones into a ring that has no table; returns 0 or -errno. @see io_uring_clone_buffers(3) */
export function cloneBuffers(destination: Uring, { sourceFd, destinationOffset, sourceOffset, count }: CloneRange): number {
  return destination.clone(sourceFd, destinationOffset, sourceOffset, count, 0);
}

/**
 * Clones into the table that a ring has: entries in the way are replaced, the table grows. Returns 0 or -errno, and then nothing is changed.
 *
 * Before Linux 6.18.44 IORING_REGISTER_DST_REPLACE drops entries after the range, and some kernels leave old ones within it. All are right where the source's table is at
 * least as long as the destination's and the range ends it. So there the wanted table is built up in rings of its own, by such clones and by those to empty ones, and then
 * cloned as a whole.
 * @param tableLength - the entries of that table, where they are known
 */
export function replaceBuffers(destination: Uring, tableLength: number | undefined, range: CloneRange, clones: Clones): number {
  const { sourceFd, destinationOffset, sourceOffset, count } = range;
  if (replacesWrongly(clones)) return replaceInSteps(destination, tableLength, range);
  return destination.clone(sourceFd, destinationOffset, sourceOffset, count, IORING_REGISTER_DST_REPLACE);
}

/** Where what calls of the kernel took is added up, in nanoseconds: reading the clock takes a tenth of a clone's time. */
export interface Took {
  ns: number;
}

/**
 * Clones a source's whole table, `count` entries, to a ring whose table has `offset` entries.
 * @throws UringError: io_uring_clone_buffers(3)'s errors
 */
export function appendBuffers(destination: Uring, offset: number, sourceFd: number, count: number, clones: Clones, took?: Took): void {
  const isFirst = offset === 0;
  const range = { sourceFd, destinationOffset: offset, sourceOffset: 0, count: isFirst ? 0 : count };
  const started = took === undefined ? 0 : Bun.nanoseconds();
  const result = isFirst ? cloneBuffers(destination, range) : replaceBuffers(destination, offset, range, clones);
  if (took !== undefined) took.ns += Bun.nanoseconds() - started;
  checked(result, "io_uring_clone_buffers");
}

/** A ring that is there for its buffer table only. */
function openTable(): Uring {
  return new Uring({ entries: 1, cqEntries: 0, flags: 0, sqThreadIdleMs: 0 });
}

/** Clones a range; to a table that exists only if that is as long as the range's beginning. Returns 0 or -errno. */
function append(destination: Uring, sourceFd: number, destinationOffset: number, sourceOffset: number, count: number): number {
  return destination.clone(sourceFd, destinationOffset, sourceOffset, count, destinationOffset === 0 ? 0 : IORING_REGISTER_DST_REPLACE);
}

/** How many entries a ring's table has, or -errno. */
function entryCount(fd: number): number {
  using probe = openTable();
  let least = 0;
  let most = largestTable;
  while (least < most) {
    const index = (least + most) >> 1;
    const result = probe.clone(fd, 0, index, 1, 0);
    if (result === EOVERFLOW || result === ENXIO) most = index;
    else if (result < 0) return result;
    else {
      checked(probe.register(IORING_UNREGISTER_BUFFERS, 0, 0), "io_uring_unregister_buffers");
      least = index + 1;
    }
  }
  return least;
}

function replaceInSteps(destination: Uring, tableLength: number | undefined, { sourceFd, destinationOffset, sourceOffset, count }: CloneRange): number {
  const length = tableLength ?? entryCount(destination.fd);
  if (length < 0) return length;
  const cloned = count === 0 ? entryCount(sourceFd) : count;
  if (cloned < 0) return cloned;
  const end = destinationOffset + cloned;
  // The kernel's own answer to what it does not take.
  if (length === 0 || cloned === 0 || (count === 0 && (destinationOffset > 0 || sourceOffset > 0)))
    return destination.clone(sourceFd, destinationOffset, sourceOffset, count, IORING_REGISTER_DST_REPLACE);

  using range = openTable();
  const result = range.clone(sourceFd, destinationOffset, sourceOffset, cloned, 0);
  if (result < 0) return result;
  if (destinationOffset >= length) return append(destination, range.fd, destinationOffset, destinationOffset, cloned);

  using wanted = openTable();
  const head = destinationOffset === 0 ? 0 : append(wanted, destination.fd, 0, 0, destinationOffset);
  if (head < 0) return head;
  const middle = append(wanted, range.fd, destinationOffset, destinationOffset, cloned);
  if (middle < 0) return middle;
  const tail = end >= length ? 0 : append(wanted, destination.fd, end, end, length - end);
  if (tail < 0) return tail;
  return destination.clone(wanted.fd, 0, 0, 0, IORING_REGISTER_DST_REPLACE);
}
