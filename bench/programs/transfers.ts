/** Arguments of the contenders that read and write blocks, and the positions that all of them use. */
import { constants } from "node:fs";

const [path = "", threadCount, depth, blockBytes, fileBytes, cache, direction, order] = process.argv.slice(2);

/** The same arguments as bench/c/transfer.c. */
export const job = {
  path,
  threadCount: Number(threadCount),
  depth: Number(depth),
  blockBytes: Number(blockBytes),
  blockCount: Number(fileBytes) / Number(blockBytes),
  isDirect: cache === "direct",
  isWrite: direction === "write",
  isSequential: order === "sequential",
};

export const openFlags =
  (job.isWrite ? constants.O_RDWR : constants.O_RDONLY) | (job.isDirect ? constants.O_DIRECT : 0);

/** Generates block positions like bench/c/transfer.c: xorshift32 or sequential. */
export class Positions {
  #random: number;
  #next: number;

  /** @param thread - index of the thread, from 0 to `job.threadCount` - 1 */
  constructor(thread = 0) {
    this.#random = 2463534242 + thread;
    this.#next = thread * Math.floor(job.blockCount / job.threadCount);
  }

  next(): number {
    if (job.isSequential) {
      if (this.#next === job.blockCount) this.#next = 0;
      return this.#next++ * job.blockBytes;
    }
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return ((x >>> 1) % job.blockCount) * job.blockBytes;
  }
}

/** Runs `operations` in `lanes` concurrent lanes. Each lane starts an operation when its previous one has completed. */
export async function runLanes(
  operations: number,
  lanes: number,
  lane: (index: number, operations: number) => Promise<void>,
): Promise<void> {
  const each = Math.floor(operations / lanes);
  await Promise.all(
    Array.from({ length: lanes }, (_, index) => lane(index, index === 0 ? operations - each * (lanes - 1) : each)),
  );
}

export function checkResult(result: number): void {
  if (result !== job.blockBytes) throw new Error(`a transfer of ${job.blockBytes} bytes returned ${result}`);
}
