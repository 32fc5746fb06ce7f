/** What tests tell their Workers. */
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

/** How a Worker ends, in the middle of what it does. */
export type Ending = "terminate" | "process.exit" | "throw" | "fall off" | "spin";

/** What a Worker is in the middle of when it ends: reads of its slots, reads that are aborted at once, a wait for slots, a wait in the kernel, the pool's lock. */
export type Activity = "read" | "abort" | "acquire" | "wait" | "lock";

export interface DoomedJob {
  /** Default "read". */
  readonly activity?: Activity;
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

export interface VerifierJob {
  readonly pool: PoolHandle;
  /** A file whose parts, each a slot's length, have these hashes. */
  readonly path: string;
  readonly hashes: BigUint64Array;
  /** Reads in flight. */
  readonly depth: number;
}

export interface VerifierAnswer {
  readonly right: number;
  readonly wrong: number;
}

/** Memory that threads share: a word for each slot, but for the last two. */
export interface SharedSlots {
  /** Where lib/pool/slots.ts is used by itself. */
  readonly hints: SharedArrayBuffer;
  readonly owners: SharedArrayBuffer;
  /** Whose each slot is: 0, or a Worker's mark. */
  readonly marks: SharedArrayBuffer;
  /** How many slots were given back, by all threads; and whether to stop. */
  readonly progress: SharedArrayBuffer;
}

export interface GrabberJob extends SharedSlots {
  /** By what: lib/pool/slots.ts, or a BufferPool's methods. */
  readonly how: "slots" | "tryAcquire" | "acquire";
  readonly pool: PoolHandle;
  /** 1 or more: no other thread's. */
  readonly mark: number;
  /** How many slots to acquire and release; until it is told to stop, at most. */
  readonly pairs: number;
  /** Slots to hold, or with "acquire" to wait for, at once. */
  readonly depth: number;
  /** How often to look at a slot's mark before it is released. */
  readonly looks: number;
}

export interface GrabberAnswer {
  readonly pairs: number;
  /** Slots that somebody else had as well. */
  readonly stolen: number;
  /** How often there was none. */
  readonly exhausted: number;
  /** Of each wait, how many slots were given back from when it was asked for to when it was over. */
  readonly releasesWaited: readonly number[];
}

/** What a caller is to do: one sequence. */
export interface CallerJob {
  readonly pools: readonly PoolHandle[];
  readonly steps: readonly Step[];
  /** A file each of whose words of 32 bits is its own number; it is not to be changed. */
  readonly knownPath: string;
  readonly knownBytes: number;
  /** Of this thread alone. */
  readonly folder: string;
  /** Nothing ever comes out of it. */
  readonly silentFd: number;
  readonly knownFd: number;
}

/** What callers say: what others may use, or how it went. */
export type CallerNews =
  | { readonly handle: PoolHandle }
  | { readonly token: SlotToken }
  | { readonly calls: number; readonly outcomes: Readonly<Record<string, number>>; readonly faults: readonly string[]; readonly trace: readonly string[] };

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

export interface StreamerJob {
  readonly way: "reads slots" | "reads copies" | "reads without a pool" | "writes" | "pipes from slot to slot" | "leaves chunks" | "serves";
  readonly pool: PoolHandle;
  readonly source: string;
  readonly target: string;
}

/** It has begun. */
export interface StreamerAnswer {
  /** Of the server, if it is one. */
  readonly port?: number | undefined;
}

/** What copier.ts does. */
export interface CopierJob {
  readonly act: "copyFile" | "durable" | "frozen" | "hashFile" | "readable" | "writable";
  readonly from: string;
  readonly to: string;
}

/** What mode-watcher.ts does: looks at the permissions of `path` until the flag is set. */
export interface ModeWatcherJob {
  readonly path: string;
  readonly stop: Int32Array;
}

/** What eventfd-writer.ts does. */
export interface EventfdWriterJob {
  readonly fd: number;
  readonly word: Int32Array;
}
