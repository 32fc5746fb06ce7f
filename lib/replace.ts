/**
 * IORING_REGISTER_DST_REPLACE as it is meant to be, for kernels that have it wrong: before Linux 6.18.44 they drop entries behind the range, and some leave old
 * ones within it. All are right where the source's table is at least as long as the destination's and the range ends it. So the wanted table is built up in
 * tables of its own, by such clones and by those to empty ones, and then cloned as a whole.
 */
import { checked } from "./errors.ts";
import { largestTable } from "./limits.ts";
import { native } from "./native.ts";
import { scratch } from "./scratch.ts";
import { IORING_REGISTER_DST_REPLACE, IORING_UNREGISTER_BUFFERS } from "./uapi.ts";

const EOVERFLOW = -75;
const ENXIO = -6;

/** A ring that is there for its buffer table only. */
class Table implements Disposable {
  readonly address: number;
  readonly fd: number;

  constructor() {
    const { longs, address } = scratch(11 * 8);
    checked(native().ringInit(1, 0, 0, 0, address), "io_uring_setup");
    this.address = Number(longs[0]);
    this.fd = Number(longs[1]);
  }

  [Symbol.dispose](): void {
    native().ringClose(this.address);
  }
}

/** Clones a range; to a table that exists only if that is as long as the range's beginning. Returns 0 or -errno. */
function append(destinationAddress: number, fd: number, destinationOffset: number, sourceOffset: number, count: number): number {
  return native().ringClone(destinationAddress, fd, destinationOffset, sourceOffset, count, destinationOffset === 0 ? 0 : IORING_REGISTER_DST_REPLACE);
}

/** How many entries a ring's table has, or -errno. */
function entryCount(fd: number): number {
  using probe = new Table();
  let least = 0;
  let most = largestTable;
  while (least < most) {
    const index = (least + most) >> 1;
    const result = native().ringClone(probe.address, fd, 0, index, 1, 0);
    if (result === EOVERFLOW || result === ENXIO) most = index;
    else if (result < 0) return result;
    else {
      checked(native().ringRegister(probe.address, IORING_UNREGISTER_BUFFERS, 0, 0), "io_uring_unregister_buffers");
      least = index + 1;
    }
  }
  return least;
}

/**
 * Clones a range over what a ring's table has there; returns 0 or -errno, and then nothing is changed.
 * @param tableLength - the entries of that table, where they are known
 * @param count - 0: the whole source, which takes offsets of 0
 */
export function replaceRange(
  destination: { readonly address: number; readonly fd: number; readonly tableLength: number | undefined },
  sourceFd: number,
  destinationOffset: number,
  sourceOffset: number,
  count: number,
): number {
  const length = destination.tableLength ?? entryCount(destination.fd);
  if (length < 0) return length;
  const cloned = count === 0 ? entryCount(sourceFd) : count;
  if (cloned < 0) return cloned;
  const end = destinationOffset + cloned;
  // The kernel's own answer to what it does not take.
  if (length === 0 || cloned === 0 || (count === 0 && (destinationOffset > 0 || sourceOffset > 0)))
    return native().ringClone(destination.address, sourceFd, destinationOffset, sourceOffset, count, IORING_REGISTER_DST_REPLACE);

  using range = new Table();
  const result = native().ringClone(range.address, sourceFd, destinationOffset, sourceOffset, cloned, 0);
  if (result < 0) return result;
  if (destinationOffset >= length) return append(destination.address, range.fd, destinationOffset, destinationOffset, cloned);

  using wanted = new Table();
  const head = destinationOffset === 0 ? 0 : append(wanted.address, destination.fd, 0, 0, destinationOffset);
  if (head < 0) return head;
  const middle = append(wanted.address, range.fd, destinationOffset, destinationOffset, cloned);
  if (middle < 0) return middle;
  const tail = end >= length ? 0 : append(wanted.address, destination.fd, end, end, length - end);
  if (tail < 0) return tail;
  return native().ringClone(destination.address, wanted.fd, 0, 0, 0, IORING_REGISTER_DST_REPLACE);
}
