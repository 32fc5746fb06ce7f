/** Chunks of a file, in memory of a function's own. */

const largestBytes = 2 ** 18;
const smallestBytes = 2 ** 14;

/** Bytes that are transferred at once: all of a small file, and the byte behind it; no more than the event loop should copy from the page cache at a time. */
export function chunkBytesOf(sizeBytes: number): number {
  return Math.min(Math.ceil((sizeBytes + 1) / smallestBytes) * smallestBytes, largestBytes);
}

/** Repeats a transfer, from what is done on, until all is done or nothing comes. Returns how much that is. */
export async function repeat(length: number, transfer: (done: number) => Promise<number>): Promise<number> {
  let done = 0;
  while (done < length) {
    const transferred = await transfer(done);
    if (transferred === 0) break;
    done += transferred;
  }
  return done;
}
