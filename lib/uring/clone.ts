/** Clones one ring's registered buffers into another ring's table. */
import { Bun } from "../base/globals.ts";
import { ENXIO, EOVERFLOW } from "../errors/errno.ts";
import { checked } from "../errors/uring-error.ts";
import type { Clones } from "./kernel.ts";
import { native } from "./native.ts";
import { largestTable } from "./registration.ts";
import { IORING_REGISTER_DST_REPLACE, IORING_UNREGISTER_BUFFERS } from "./uapi.ts";
import { Uring } from "./uring.ts";

/**
 * A range of the source's table, and where it goes. A count of 0 is the whole table, and requires both offsets to be 0.
 */
export interface CloneRange {
  readonly sourceFd: number;
  readonly destinationOffset: number;
  readonly sourceOffset: number;
  readonly count: number;
}

/** Whether the kernel has IORING_REGISTER_DST_REPLACE, but a faulty one. */
export function replacesWrongly({ ranges, replaceKeepsTail }: Clones): boolean {
  return ranges && !replaceKeepsTail;
}

/**
 * Clones into a ring that has a table: entries in the way are replaced, and the table grows if necessary. Returns 0 or
 * -errno. On an error nothing has changed.
 *
 * Before Linux 6.18.44 IORING_REGISTER_DST_REPLACE drops the entries after the range, and some kernels leave old
 * entries within it. All kernels are right if the source's table is at least as long as the destination's and the range
 * extends to its end. On the faulty kernels the wanted table is therefore assembled in temporary rings, by such clones
 * and by clones into rings without a table, and then cloned as a whole.
 * @param tableLength - the number of entries in the destination's table, if it is known
 */
export function replaceBuffers(
  destination: Uring,
  tableLength: number | undefined,
  range: CloneRange,
  clones: Clones,
): number {
  const { sourceFd, destinationOffset, sourceOffset, count } = range;
  if (replacesWrongly(clones)) return replaceInSteps(destination, tableLength, range);
  return destination.clone(sourceFd, destinationOffset, sourceOffset, count, IORING_REGISTER_DST_REPLACE);
}

/**
 * Adds up the time spent in the kernel's calls, in nanoseconds. Optional, because reading the clock takes time, too.
 */
export interface Took {
  ns: number;
}

/**
 * Clones a source's whole table of `count` entries into a ring whose table has `offset` entries, after those.
 * @throws UringError: io_uring_clone_buffers(3)'s errors
 */
export function appendBuffers(
  destination: Uring,
  offset: number,
  sourceFd: number,
  count: number,
  clones: Clones,
  took?: Took,
): void {
  const isFirst = offset === 0;
  const range = { sourceFd, destinationOffset: offset, sourceOffset: 0, count };
  const started = took === undefined ? 0 : Bun.nanoseconds();
  // Directly, if it is the first: in a new thread each further function would have to be compiled.
  const result = isFirst
    ? native().ringClone(destination.address, sourceFd, 0, 0, 0, 0)
    : replaceBuffers(destination, offset, range, clones);
  if (took !== undefined) took.ns += Bun.nanoseconds() - started;
  checked(result, "io_uring_clone_buffers");
}

/** Creates a ring that is used only for its buffer table. */
function openTable(): Uring {
  return new Uring({ entries: 1, cqEntries: 0, flags: 0, sqThreadIdleMs: 0 });
}

/** Clones a range. If the destination has a table, its length must be `destinationOffset`. Returns 0 or -errno. */
function append(
  destination: Uring,
  sourceFd: number,
  destinationOffset: number,
  sourceOffset: number,
  count: number,
): number {
  return destination.clone(
    sourceFd,
    destinationOffset,
    sourceOffset,
    count,
    destinationOffset === 0 ? 0 : IORING_REGISTER_DST_REPLACE,
  );
}

/**
 * Returns the number of entries in a ring's table, or -errno. Finds it by bisection, since the kernel has no call for
 * it.
 */
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

/**
 * See `replaceBuffers`. The wanted table consists of the destination's entries before the range, the range, and the
 * destination's entries after it.
 */
function replaceInSteps(
  destination: Uring,
  tableLength: number | undefined,
  { sourceFd, destinationOffset, sourceOffset, count }: CloneRange,
): number {
  const length = tableLength ?? entryCount(destination.fd);
  if (length < 0) return length;
  const cloned = count === 0 ? entryCount(sourceFd) : count;
  if (cloned < 0) return cloned;
  const end = destinationOffset + cloned;
  // Let the kernel itself report what it does not accept.
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
