/** The data that checksum.ts and its Workers exchange. */
import type { PoolHandle } from "bun-uring";

export const chunkBytes = 2 ** 20;
export const digestBytes = 32;
/** Reads in flight in each Worker. */
export const readsInFlight = 16;

/** A file and the result of hashing it. */
export interface FileReport {
  readonly path: string;
  readonly sizeBytes: number;
  digest?: string;
  seconds?: number;
  verified?: boolean;
  error?: string;
}

/** The work, the same for every Worker: the arrays are in shared memory. Chunks are numbered across all files. */
export interface Job {
  readonly pool: PoolHandle;
  readonly files: readonly FileReport[];
  readonly firstChunks: readonly number[];
  readonly chunkCount: number;
  /** [0]: the next chunk to claim. [1]: how many chunks are done. */
  readonly progress: Int32Array;
  /** For each file: not 0 if it cannot be hashed. */
  readonly failed: Int32Array;
  /** For each file: the number of chunks that are not done. */
  readonly chunksLeft: Int32Array;
  /**
   * For each file: when its first chunk was claimed, and when its last chunk was done, in milliseconds of the same
   * clock.
   */
  readonly times: Float64Array;
  readonly digests: Uint8Array;
}

/** What a Worker reports when it has finished. */
export interface Report {
  readonly bufferSource: string;
  readonly bufferJoinMs: number;
}
