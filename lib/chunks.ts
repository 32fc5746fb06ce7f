/** Chunks of a file, in memory of a function's own. */

const largestBytes = 2 ** 18;
const smallestBytes = 2 ** 14;

/** How much of a file is transferred at once: as much as a small file needs, and the byte behind it. What is in the page cache is copied on the event loop, which has other work too. */
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
