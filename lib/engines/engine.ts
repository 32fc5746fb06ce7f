/** The seam between the queue of requests (requests/queue.ts) and whatever carries the requests out. */
import type { Sqe } from "../uring/sqe.ts";

/**
 * Kinds of requests. An open creates a descriptor and a close ends one, so their completions must not be lost, even if
 * only the teardown of an ended thread sees them. c/teardown.c uses the same numbers.
 */
export const requestKind = { plain: 0, open: 1, close: 2 } as const;

/**
 * What an engine needs to know about a request.
 *
 * The engine has a request from `start` until `reap` reports it. During that time the queue guarantees that the memory
 * that the request names is neither moved nor freed, that a file of the ring stays open (except for a close, which
 * closes it), and that no field declared here changes. Only the engine writes the fields that are not readonly. The
 * queue may use the same object for another request once `reap` has reported it.
 *
 * The fields of `Sqe` have io_uring's meaning, also for an engine that is not an io_uring. In particular:
 * - `off` is -1 if the caller gave no position. For a regular file or a block device the queue has already replaced it
 *   by the file's own position, and moves that position itself, except for writes that append and for `onThread`. A
 *   transfer that still has -1 is carried out at the file's own position, which read(2) or write(2) moves.
 * - `flags` contains IOSQE_ASYNC if the request must go to a worker at once. Of requests without it, only reads, writes
 *   and polls may be tried on the event loop's thread, without blocking. Everything else that may block (fsync, statx,
 *   rename, …) must not run there.
 * - `bufIndex` names the registered buffer that `addr` lies in, for the *_FIXED opcodes. `addr` and `len` are valid
 *   without it: the memory is mapped in this process.
 * - `addr` of a vectored transfer is the address of `len` iovecs.
 */
export interface EngineRequest extends Sqe {
  readonly kind: (typeof requestKind)[keyof typeof requestKind];
  /**
   * The ring's file that `fd` belongs to. Undefined: the caller gave `fd` as a number, or the request has no file.
   * `entry` is its entry in `Engine.files`. `isDirect`: it was opened with O_DIRECT.
   */
  readonly file: { readonly entry: number; readonly isDirect: boolean } | undefined;
  /**
   * For a close: the entry of `Engine.files` that it closes. For an open that succeeds: the engine writes the new entry
   * here before it reports the request.
   */
  fileEntry: number;
  /** The chain that the request belongs to. An engine only checks whether there is one. */
  readonly chain: object | undefined;
  readonly particulars:
    | {
        /** Waits for an event that the kernel may not signal, see `Descriptor.anonymous`. */
        readonly anonymous: boolean;
        /** To be carried out by a thread of node:fs, see `Descriptor.fuse`. Never part of a linked chain. */
        readonly onThread: boolean;
      }
    | undefined;
  /** These two belong to the engine while it has the request. */
  index: number;
  generation: number;
  /** The result: a value, or -errno. The engine writes it before it reports the request. */
  res: number;
}

/**
 * The descriptors that the engine has opened and not yet closed. An open adds one, and a close removes it unless the
 * close completes with -ECANCELED. If the thread ends, its teardown in C closes those that are left, so they must be
 * recorded where C can read them.
 */
export interface EngineFiles extends Iterable<{ readonly entry: number; readonly fd: number }> {
  /**
   * The entries of the ring's registered table that requests may open files into, without a descriptor of the process.
   * `count` is 0 if the engine cannot do that. Requests name such an entry as `fd` with IOSQE_FIXED_FILE. These files
   * are not recorded here: closing the engine closes them.
   * @see io_uring_prep_openat_direct(3)
   */
  readonly directSlots: DirectSlots;
}

/** A range of the ring's registered file table. */
export interface DirectSlots {
  readonly first: number;
  readonly count: number;
}

/** Counts since the engine was created. */
export interface EngineStats {
  /** System calls that submitted requests or checked for completions. */
  readonly submissions: number;
  /** Requests and cancellations submitted by those calls. */
  readonly submitted: number;
  /** How often the event loop was woken. */
  readonly wakeups: number;
  /** How often completions found the completion queue full and had to be fetched from the kernel. */
  readonly overflows: number;
}

/**
 * Carries requests out. One queue uses the engine, from one thread. Every engine guarantees:
 * - **Exactly one report.** `reap` reports each started request once, whether or not it was cancelled, and not before
 *   the engine, the kernel and every thread are done with its memory and its descriptor. The report is what allows the
 *   queue to release them, so a request that cannot be interrupted is reported late rather than early.
 * - **No reentrance.** No method below runs the program's code, calls `onWake`, or reports a request except through
 *   `reap`. `onWake` is called from a later microtask or turn of the event loop.
 * - **Start, then submit.** `start` may leave a request untouched until the next `submit`. An engine is free to begin
 *   it earlier.
 * - **No lost wake-up.** While armed, the engine calls `onWake` whenever there may be something to reap, including what
 *   completed before `arm`. A call may come for nothing, several completions may share one call, and a call may come
 *   while not armed: the queue ignores what it does not need. While armed and `referenced`, the engine keeps the
 *   process alive.
 * - **Chains run in order.** The queue starts the requests of a linked chain directly one after the other, without
 *   another call in between, all but the last with `links` true. Each begins when the one before it has succeeded. If
 *   one fails, or a read or write transfers fewer bytes than it asked for, the rest of the chain completes with
 *   -ECANCELED. A timeout with IORING_TIMEOUT_ETIME_SUCCESS that expires (-ETIME) has not failed.
 * - **No lost descriptor.** JavaScript can be stopped between any two instructions, for good, when a Worker is
 *   terminated. So at every moment each descriptor that an open has created must be either in `files` or in a
 *   completion that the teardown in C still sees. A descriptor that a close has closed must not be closed again. See
 *   c/teardown.c.
 * - **Nothing goes on after a Worker's end.** When its Worker has been terminated, `reap` is never called again, and
 *   the requests' memory and descriptors go to others. Whatever the engine uses besides the kernel, such as threads,
 *   must not touch them any more. The teardown in C waits for the kernel. See node-transfer.ts and
 *   `FileTable.writeOutside` for threads.
 *
 * The queue keeps the engine and its requests reachable until `close` has returned.
 */
export interface Engine<Request extends EngineRequest> extends Iterable<Request> {
  /** Set by the queue. See the guarantees above for when it is called. */
  onWake: () => void;
  readonly files: EngineFiles;
  /** The most requests that a linked chain can have. */
  readonly longestChain: number;
  /** The most requests that the engine can have at a time. */
  readonly capacity: number;
  /**
   * How many requests the engine has: started, and not yet reported by `reap`. Iterating over the engine yields them.
   */
  readonly inFlight: number;
  /**
   * Whether there is anything to wait for: requests in flight, or requests of the engine's own, such as cancellations.
   */
  readonly busy: boolean;
  /**
   * Whether a request or a cancellation waits for the next `submit`. After a `submit` that threw this may be
   * false although requests still wait: the queue calls `submit` again in any case.
   */
  readonly unsubmitted: boolean;
  /** Whether `arm` keeps the process alive. Default true. */
  set referenced(referenced: boolean);
  readonly stats: EngineStats;
  /** Whether `count` more requests can be started now. A chain needs room for all of its requests at once. */
  hasRoom(count: number): boolean;
  /**
   * Takes a request. `hasRoom` must have returned true for it. Does not throw: a request that cannot be carried out
   * completes with -errno.
   */
  start(request: Request, links: boolean): void;
  /**
   * Begins the requests that were started, and gives the kernel the chance to complete others.
   * @throws UringError EAGAIN, EBUSY, ENOMEM, EINTR: not possible for now. Nothing is lost, and the queue calls
   *   `submit` again; any other code: the engine takes nothing any more. The queue then calls `silence`, fails what is
   *   in flight, and calls nothing but `close`
   */
  submit(): void;
  /**
   * Appends the requests that have completed to `completed`, those of the kernel in the order of completion, and
   * forgets them. If it throws, the requests that it has appended count as reported.
   * @throws UringError: as `submit`
   */
  reap(completed: Request[]): void;
  /**
   * Asks for a request to complete soon, if it can be cancelled: with -ECANCELED, -EINTR or an errno of the kernel's
   * own (-512 to -516), or with the result it would have had. It still completes, and is reported by `reap`. Returns at
   * once, and may queue a request of its own for the next `submit`. Does nothing if `reap` has already reported the
   * request: the queue may not have settled it yet. May also do nothing if the request is in a chain and has not begun:
   * the queue calls this again until it has completed.
   */
  cancel(request: Request): void;
  /**
   * Does the same for every request that the engine has, closes included. Some may begin only later, so the queue calls
   * this again until nothing is in flight.
   */
  cancelAll(): void;
  /** Begins to wait for completions, see `onWake`. Cheap if it is armed already. */
  arm(): void;
  /** Stops waiting: nothing is in flight. The process may end. */
  disarm(): void;
  /**
   * Stops waking for good: the queue gives up waiting. A call of `onWake` that is already on its way may still come.
   */
  silence(): void;
  /**
   * Ends the engine, synchronously. Normally nothing is in flight. If something is, after a failed `submit`, this
   * cancels it and waits until the kernel is done with it, however long that takes.
   * @throws UringError: the engine could not be ended. The kernel may still write the memory of its requests, so the
   *   queue keeps all of it for good
   */
  close(): void;
}
