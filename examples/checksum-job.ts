/** What checksum.ts and its Workers tell each other. */
import type { PoolHandle } from "bun-uring";

export const chunkBytes = 2 ** 20;
export const digestBytes = 32;
/** Of one Worker. */
export const readsInFlight = 16;

/** One file, and what came of it. */
export interface FileReport {
  readonly path: string;
  readonly sizeBytes: number;
  digest?: string;
  seconds?: number;
  verified?: boolean;
  error?: string;
}

/** The work, the same for every Worker: the arrays are shared. Chunks are counted over all files. */
export interface Job {
  readonly pool: PoolHandle;
  readonly files: readonly FileReport[];
  readonly firstChunks: readonly number[];
  readonly chunkCount: number;
  /** The next chunk to claim, and how many are done. */
  readonly progress: Int32Array;
  /** By file: not 0 where it can't be hashed. */
  readonly failed: Int32Array;
  /** By file: chunks not done. */
  readonly chunksLeft: Int32Array;
  /** By file: when its first chunk was claimed and its last done, in milliseconds of the same clock. */
  readonly times: Float64Array;
  readonly digests: Uint8Array;
}

/** What a Worker says at its end. */
export interface Report {
  readonly bufferSource: string;
  readonly bufferJoinMs: number;
}
