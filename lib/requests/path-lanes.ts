import { ItemQueue } from "../base/item-queue.ts";
import type { DirectSlots } from "../engines/engine.ts";
import { ECANCELED } from "../errors/errno.ts";
import { UringError } from "../errors/uring-error.ts";
import type { RequestQueue } from "./queue.ts";

/** Something to do with a file by its path. */
export interface PathJob {
  readonly path: string;
  /** The lane that carries it out; undefined while it waits for one. Set by PathLanes. */
  lane: { abort(job: PathJob): void } | undefined;
  /** Set by `PathLanes.abort`. */
  isAborted: boolean;
  /** Must not run the program's code. */
  failed(reason: unknown): void;
}

/** Carries out one job at a time, with requests and memory that it uses again. */
export interface PathLane<Job extends PathJob> {
  /**
   * Begins a job. The lane must be free.
   * @throws UringError: the job is refused, and the lane is still free
   */
  start(job: Job): void;
  /**
   * Cancels the job, which reports nothing any more. The lane is free when the kernel is done with it. Does nothing if
   * the lane has reported the job: it may be another's lane by now.
   */
  abort(job: PathJob): void;
}

/** The error for a request of a lane. */
export function pathError(errno: number, syscall: string, path: string, { closed }: RequestQueue): UringError {
  return new UringError(
    errno,
    syscall,
    errno === ECANCELED && closed ? { message: "the ring was closed", path } : { path },
  );
}

/** The direct descriptors of a ring's readers. */
export function readersSlots({ first, count }: DirectSlots): DirectSlots {
  return { first, count: count / 2 };
}

/** The direct descriptors of a ring's writers. */
export function writersSlots({ first, count }: DirectSlots): DirectSlots {
  return { first: first + count / 2, count: count / 2 };
}

/** A fixed number of lanes of one kind. Jobs for which none is free wait in order. */
export class PathLanes<Job extends PathJob, Lane extends PathLane<Job>> {
  readonly count: number;
  readonly #requests: RequestQueue;
  readonly #make: (index: number, onFree: (lane: Lane) => void) => Lane;
  /** The lane that was used last comes first: its memory is likely in the processor's cache. */
  readonly #free: Lane[] = [];
  readonly #waiting = new ItemQueue<Job>();
  #made = 0;
  #kept = 0;

  /**
   * @param count - the most lanes. They are made when they are needed
   * @param make - makes a lane, which calls `onFree` after each job
   */
  constructor(requests: RequestQueue, count: number, make: (index: number, onFree: (lane: Lane) => void) => Lane) {
    this.#requests = requests;
    this.count = count;
    this.#make = make;
  }

  /** Starts a job, unless it was aborted, or lets it wait for a lane. Errors go to `job.failed`. */
  start(job: Job): void {
    if (job.isAborted) return;
    try {
      const lane = this.#free.pop() ?? this.#another();
      if (lane === undefined) this.#waiting.push(job);
      else if (!this.#begin(lane, job)) this.#free.push(lane);
    } catch (error) {
      job.failed(error); // no memory for another lane
    }
  }

  /** Aborts a job: it reports nothing any more. */
  abort(job: Job): void {
    job.isAborted = true;
    job.lane?.abort(job);
  }

  /**
   * Whether one more lane may be kept by those who use its memory, until they call `free`. The other half never waits
   * for the program, so that every job gets its turn.
   */
  keep(): boolean {
    if (this.#kept >= this.count / 2) return false;
    this.#kept++;
    return true;
  }

  /** Lets a lane that was kept do another job. */
  free(lane: Lane): void {
    this.#kept--;
    this.#isFree(lane);
  }

  #another(): Lane | undefined {
    if (this.#made === this.count) return undefined;
    const lane = this.#make(this.#made, this.#isFree);
    this.#made++;
    return lane;
  }

  /** Returns false if the job was refused, so that the lane is still free. */
  #begin(lane: Lane, job: Job): boolean {
    try {
      job.lane = lane;
      lane.start(job);
      return true;
    } catch (error) {
      job.lane = undefined;
      job.failed(error);
      return false;
    }
  }

  readonly #isFree = (lane: Lane): void => {
    for (let job = this.#waiting.shift(); job !== undefined; job = this.#waiting.shift()) {
      if (job.isAborted) continue;
      if (this.#requests.closed) job.failed(pathError(ECANCELED, "open", job.path, this.#requests));
      else if (this.#begin(lane, job)) return;
    }
    this.#free.push(lane);
  };
}
