/** The seam between a queue of requests and who carries them out. */
import type { Sqe } from "../uring/sqe.ts";

/** Requests that bring or take a descriptor, which must not be lost whoever sees their completion. The teardown in C has the same numbers. */
export const requestKind = { plain: 0, open: 1, close: 2 } as const;

/** What an engine has to know of a request. From `start` to its completion the engine has it: the memory that it names stays where it is, and nothing of it changes. */
export interface EngineRequest extends Sqe {
  readonly kind: (typeof requestKind)[keyof typeof requestKind];
  /** The file of `fd`, where that is one of the ring's. */
  readonly file: { readonly entry: number; readonly isDirect: boolean } | undefined;
  /** What a close closes; the engine writes here what an open has opened. */
  fileEntry: number;
  /** The chain that it is part of. */
  readonly chain: object | undefined;
  readonly particulars:
    | {
        /** Waits for what may signal nobody, see `Descriptor.anonymous`. */
        readonly anonymous: boolean;
        /** Is to be carried out by a thread of node:fs, see `Descriptor.fuse`. */
        readonly onThread: boolean;
      }
    | undefined;
  /** The engine's own, while it has the request. */
  index: number;
  generation: number;
  /** A value, or -errno: written before the request is reported. */
  res: number;
}

/** The descriptors that an engine has opened and not closed: also the teardown of an ended thread knows them. */
export interface EngineFiles extends Iterable<{ readonly entry: number; readonly fd: number }> {
  /** Has later requests find the file faster, where the engine can. */
  install(entry: number): void;
}

/** Counts since the engine was made. */
export interface EngineStats {
  /** System calls that submitted, or looked. */
  readonly submissions: number;
  /** Requests that travelled in them. */
  readonly submitted: number;
  /** How often the event loop was woken. */
  readonly wakeups: number;
  /** How often completions found their queue full. */
  readonly overflows: number;
}

/**
 * Carries requests out. What every engine promises:
 * - A request that was started is reported by `reap` exactly once, when the engine, the kernel and every thread are done with its memory: never before, cancelled or not.
 * - Nothing begins before `submit`, unless the engine likes, and nothing is reported but by `reap`: no code of the caller's runs within any of these methods.
 * - While it is armed it calls `onWake` whenever there may be something to reap; a call may come for nothing, and none is lost. Armed, it keeps the process alive.
 * - Requests of a chain, each but the last started with `links`, begin one after the other; when one fails, or a transfer is short, the rest completes with -ECANCELED.
 * - What an open has brought is in `files` before anything can end the thread without the teardown seeing it.
 */
export interface Engine<Request extends EngineRequest> extends Iterable<Request> {
  /** The queue's. */
  onWake: () => void;
  readonly files: EngineFiles;
  /** Requests that a chain can have. */
  readonly longestChain: number;
  /** Requests that it has at a time, at most. */
  readonly capacity: number;
  /** Requests that it has. It iterates over them. */
  readonly inFlight: number;
  /** Whether there is anything to wait for: those, or what it has asked for by itself. */
  readonly busy: boolean;
  /** Whether something waits for the next `submit`. */
  readonly unsubmitted: boolean;
  /** Whether `arm` keeps the process alive. */
  referenced: boolean;
  readonly stats: EngineStats;
  /** Whether so many more can be started now, a chain's all at once. */
  hasRoom(count: number): boolean;
  /** Takes a request, for which there is room. Throws nothing. */
  start(request: Request, links: boolean): void;
  /**
   * Begins what was started.
   * @throws UringError: for now, or for good, see `isTransient`; nothing is lost
   */
  submit(): void;
  /**
   * Adds to `completed` what has completed, in the order of completion.
   * @throws UringError: as submit
   */
  reap(completed: Request[]): void;
  /** Has a request complete soon, if it can be: with -ECANCELED, or as it would have. */
  cancel(request: Request): void;
  cancelAll(): void;
  arm(): void;
  /** No wake-up is needed. The process may end. */
  disarm(): void;
  /** Stops waking for good. */
  silence(): void;
  /**
   * Ends it. Nothing is in flight, or what is waits as long as it takes.
   * @throws UringError: it could not be ended, and memory may be written still
   */
  close(): void;
}
