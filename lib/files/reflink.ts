/** Has one file share another's blocks, in a thread of the C shim: io_uring has no request for that, and the kernel may write back for seconds before. */

import { wait } from "../base/timers.ts";
import { checked } from "../errors/uring-error.ts";
import { native } from "../uring/native.ts";
import { scratch } from "../uring/scratch.ts";

const longestWaitMs = 16;

/**
 * Resolves when the destination has all of the source's content. The files may be closed meanwhile. A Worker that is ended waits for it.
 *
 * Not through copyFile of node:fs with `/proc/self/fd/N`: it gives the destination the source's setuid bit, may not open a destination that its owner may only
 * read, and would open whatever files have those numbers when a Worker has ended before its turn came.
 * @param source - a descriptor that is open for reading
 * @param destination - one that is open for writing
 * @throws UringError EOPNOTSUPP, EXDEV, EINVAL, …: the file system cannot; or not this source, or destination
 * @see ioctl_ficlone(2)
 */
export async function reflink(source: number, destination: number): Promise<void> {
  const { address, longs } = scratch(8);
  checked(native().reflinkStart(source, destination, address), "ioctl_ficlone");
  const started = Number(longs[0]);
  for (let waitMs = 1; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
    const result = native().reflinkResult(started);
    if (result !== 1) {
      checked(result, "ioctl_ficlone");
      return;
    }
    await wait(waitMs);
  }
}
