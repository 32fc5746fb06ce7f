/**
 * Makes one file share another's blocks (a reflink). This runs on a thread of the C shim, because io_uring has no such
 * request, and the kernel may write back dirty data for seconds first.
 */

import { wait } from "../base/timers.ts";
import { checked } from "../errors/uring-error.ts";
import { native } from "../uring/native.ts";
import { scratch } from "../uring/scratch.ts";

const longestWaitMs = 16;

/**
 * Resolves when the destination has all of the source's content. The caller may close both files in the meantime. A
 * Worker that is terminated waits for the reflink to finish.
 *
 * This does not use copyFile of node:fs with `/proc/self/fd/N`, for three reasons. It copies the source's setuid bit.
 * It cannot open a destination whose owner may only read it. And if a Worker has ended before the call runs on the
 * thread pool, it opens whatever files have those descriptor numbers by then.
 * @param source - a descriptor open for reading
 * @param destination - a descriptor open for writing
 * @throws UringError EOPNOTSUPP, EXDEV, EINVAL, …: the file system does not support reflinks, or not between these two
 * files
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
