/** What tests tell their Workers. */
import type { PoolHandle } from "bun-uring";

export interface ReaderJob {
  readonly pool: PoolHandle;
  readonly path: string;
  readonly content: SharedArrayBuffer;
  /** Reads parts `first`, `first + step`, … of `partBytes`, `rounds` times over. */
  readonly first: number;
  readonly step: number;
  readonly partBytes: number;
  readonly rounds: number;
}

export interface ReaderAnswer {
  readonly right: number;
  readonly wrong: number;
  readonly bufferSource: string;
}

/** How a Worker ends, in the middle of what it does. */
export type Ending = "terminate" | "process.exit" | "throw" | "fall off" | "spin";

export interface DoomedJob {
  readonly pool: PoolHandle;
  /** A file to read past the page cache, over and over. */
  readonly path: string;
  /** A pipe whose reads never complete. */
  readonly pipeFd: number;
  readonly ending: Ending;
  readonly slots: number;
}

export interface SettlerJob {
  readonly pool: PoolHandle;
  readonly operations: number;
  /** A file for each ring: each word of 32 bits is its own number. */
  readonly paths: readonly string[];
  /** Another, to read past the page cache. */
  readonly directPath: string;
  readonly fileBytes: number;
  /** Nothing ever comes out of it. */
  readonly silentFd: number;
}

export interface SettlerAnswer {
  readonly settledOnce: number;
  /** What settled otherwise than it should have, the first few. */
  readonly faults: readonly string[];
  readonly rejections: number;
  /** Of each ring, at the end. */
  readonly inFlight: readonly number[];
}

/** What races with a pool's close. */
export type Racing = "attach" | "acquire" | "clone";

export interface RacerJob {
  readonly pool: PoolHandle;
  readonly racing: Racing;
  /** A file of numbered words. */
  readonly path: string;
  /** Its first word is set when the race begins, its second by whoever has done a step. */
  readonly gate: SharedArrayBuffer;
}

export interface RacerAnswer {
  /** What each step came to, until the pool was closed. */
  readonly outcomes: readonly string[];
}
