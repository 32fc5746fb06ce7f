/** The messages between tests and their Workers. */
import type { PoolHandle, SlotToken } from "bun-uring";
import type { Step } from "../support/calls.ts";

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

/** What a reader has read so far. */
export interface ReaderAnswer {
  readonly right: number;
  readonly wrong: number;
  readonly bufferSource: string | undefined;
}

/** How a Worker ends, in the middle of its work. */
export type Ending = "terminate" | "process.exit" | "throw" | "fall off" | "spin";

/**
 * What a Worker is doing when it ends: reads into its slots, reads that are aborted at once, a wait for slots, a wait
 * in the kernel, or holding the pool's lock.
 */
export type Activity = "read" | "pump" | "batch" | "abort" | "acquire" | "wait" | "lock";

export interface DoomedJob {
  /** Default "read". */
  readonly activity?: Activity;
  readonly pool: PoolHandle;
  /** A file to read over and over, bypassing the page cache. */
  readonly path: string;
  /** A pipe whose reads never complete. */
  readonly pipeFd: number;
  readonly ending: Ending;
  readonly slots: number;
}

export interface SettlerJob {
  readonly pool: PoolHandle;
  readonly operations: number;
  /** A file for each ring, in which each 32-bit word is its own index. */
  readonly paths: readonly string[];
  /** Another such file, to read with O_DIRECT if the file system has it. */
  readonly directPath: string;
  readonly fileBytes: number;
  /** A descriptor whose reads never complete. */
  readonly silentFd: number;
}

export interface SettlerAnswer {
  readonly settledOnce: number;
  /** The first few operations that did not settle as they should. */
  readonly faults: readonly string[];
  readonly rejections: number;
  /** Operations in flight at the end, by ring. */
  readonly inFlight: readonly number[];
}

export interface VerifierJob {
  readonly pool: PoolHandle;
  /** A file whose parts, each a slot's length, have these hashes. */
  readonly path: string;
  readonly hashes: BigUint64Array;
  /** The number of reads in flight. */
  readonly depth: number;
}

export interface VerifierAnswer {
  readonly right: number;
  readonly wrong: number;
}

/** Memory that threads share. `owners` and `marks` have a word for each slot. */
export interface SharedSlots {
  /** The state of lib/pool/slots.ts, if it is used by itself: a word for each block of slots. */
  readonly hints: SharedArrayBuffer;
  readonly owners: SharedArrayBuffer;
  /** The holder of each slot: 0, or a Worker's mark. */
  readonly marks: SharedArrayBuffer;
  /** Two words: how many slots all threads have given back, and whether to stop. */
  readonly progress: SharedArrayBuffer;
}

export interface GrabberJob extends SharedSlots {
  /** What to use: lib/pool/slots.ts, or one of a BufferPool's methods. */
  readonly how: "slots" | "tryAcquire" | "acquire";
  readonly pool: PoolHandle;
  /** The Worker's mark: 1 or more, and different from every other Worker's. */
  readonly mark: number;
  /** The most slots to acquire and release, if it is not told to stop earlier. */
  readonly pairs: number;
  /** How many slots to hold at once, or with "acquire" to wait for at once. */
  readonly depth: number;
  /** How often to check a slot's mark before releasing the slot. */
  readonly looks: number;
}

export interface GrabberAnswer {
  readonly pairs: number;
  /** How often another thread held the same slot. */
  readonly stolen: number;
  /** How often no slot was free. */
  readonly exhausted: number;
  /** For each wait, how many slots were given back between the call of acquire() and its end. */
  readonly releasesWaited: readonly number[];
}

/** The job of caller.ts: one sequence of calls. */
export interface CallerJob {
  readonly pools: readonly PoolHandle[];
  readonly steps: readonly Step[];
  /** A file in which each 32-bit word is its own index. It must not be changed. */
  readonly knownPath: string;
  readonly knownBytes: number;
  /** A folder that only this thread uses. */
  readonly folder: string;
  /** A descriptor whose reads never complete. */
  readonly silentFd: number;
  readonly knownFd: number;
}

/** The messages of caller.ts: a handle or a token that others may use, or the result of the sequence. */
export type CallerNews =
  | { readonly handle: PoolHandle }
  | { readonly token: SlotToken }
  | {
      readonly calls: number;
      readonly outcomes: Readonly<Record<string, number>>;
      readonly faults: readonly string[];
      readonly trace: readonly string[];
    };

/** What races with a pool's close. */
export type Racing = "attach" | "acquire" | "clone";

export interface RacerJob {
  readonly pool: PoolHandle;
  readonly racing: Racing;
  /** A file of numbered words. */
  readonly path: string;
  /** The first word is set when the race begins, the second by each thread that has done a step. */
  readonly gate: SharedArrayBuffer;
}

export interface RacerAnswer {
  /** The outcome of each step, up to the error of the closed pool. */
  readonly outcomes: readonly string[];
}

export interface StreamerJob {
  readonly way:
    | "reads slots"
    | "reads copies"
    | "reads without a pool"
    | "reads into its own memory"
    | "writes without a pool"
    | "writes"
    | "pipes from slot to slot"
    | "drops chunks"
    | "serves";
  readonly pool: PoolHandle;
  readonly source: string;
  readonly target: string;
}

/** The message that the streams have begun. */
export interface StreamerAnswer {
  /** The server's port, if the Worker serves. */
  readonly port?: number | undefined;
}

/** The job of copier.ts. */
export interface CopierJob {
  readonly act:
    | "append"
    | "copyFile"
    | "copyTree"
    | "durable"
    | "frozen"
    | "hashFile"
    | "hashTree"
    | "readable"
    | "small"
    | "writable";
  readonly from: string;
  readonly to: string;
}

/** The job of mode-watcher.ts: it polls the permissions of `path` until `stop` is set. */
export interface ModeWatcherJob {
  readonly path: string;
  readonly stop: Int32Array;
}

/** The job of eventfd-writer.ts. */
export interface EventfdWriterJob {
  readonly fd: number;
  readonly word: Int32Array;
}
