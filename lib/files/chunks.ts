/** Chunks of a file, for functions that transfer it through their own memory. */

const largestBytes = 2 ** 18;
const smallestBytes = 2 ** 14;

/**
 * Size of a chunk, in bytes. A chunk holds all of a small file and one byte more, so that the first read also finds the
 * end. It is limited because the event loop is blocked while a chunk is copied from the page cache.
 */
export function chunkBytesOf(sizeBytes: number): number {
  return Math.min(Math.ceil((sizeBytes + 1) / smallestBytes) * smallestBytes, largestBytes);
}

/**
 * Repeats a transfer from where it stopped, until everything is transferred or a transfer returns 0. Returns the number
 * of bytes transferred.
 */
export async function repeat(length: number, transfer: (done: number) => Promise<number>): Promise<number> {
  let done = 0;
  while (done < length) {
    const transferred = await transfer(done);
    if (transferred === 0) break;
    done += transferred;
  }
  return done;
}
