import {
  checkBoolean,
  checkInteger,
  checkOptions,
  checkSignal,
  invalidType,
  invalidValue,
  mark,
} from "../base/arguments.ts";
import { Promise } from "../base/globals.ts";
import { currentPlace, type Place, track } from "../base/handles.ts";
import { hold, letGo } from "../base/hold.ts";
import { isSharedMemory, sharedByteLengthOf } from "../base/view.ts";
import { cloneAbility, kernel } from "../uring/kernel.ts";
import { patiently } from "../uring/memlock.ts";
import { native } from "../uring/native.ts";
import { type Region, regionBytes } from "../uring/registration.ts";
import type { Sqe } from "../uring/sqe.ts";
import { IORING_OP_MADVISE } from "../uring/uapi.ts";
import { Uring } from "../uring/uring.ts";
import { Wakeup } from "../uring/wakeup.ts";
import { largestTicket, PoolControl } from "./control.ts";
import type { FixedBuffer, SlotToken } from "./fixed-buffer.ts";
import {
  adviseHugePages,
  allocateMemories,
  checkAdvice,
  MADV_POPULATE_WRITE,
  memoryBytes,
  planPool,
  populate,
  residentParts,
} from "./memory.ts";
import { Participant } from "./participant.ts";

/** Options of `new BufferPool()` and `BufferPool.create()`. */
export interface BufferPoolOptions {
  /** The number of slots, 1 or more. */
  readonly count: number;
  /**
   * The size of a slot in bytes, 1 to 1 GiB. Each slot starts on a page boundary, so a size that is not a multiple of
   * 4096 takes up more memory.
   */
  readonly size: number;
  /** Whether to ask for huge pages, which make registering the memory faster. Default true. */
  readonly hugePages?: boolean;
  /** Whether to fill a slot with zeros each time it is acquired. Default false: it shows its last content. */
  readonly zero?: boolean;
}

/**
 * A handle with which other threads attach to a pool. It can be structured-cloned: send it with postMessage or
 * workerData, within this process.
 */
export interface PoolHandle {
  /** Distinguishes a handle from other objects. */
  readonly kind: "bun-uring.PoolHandle";
  /** The state that the attached threads share. Programs have no use for it. */
  readonly control: SharedArrayBuffer;
  /** The slots' memory. */
  readonly memories: readonly SharedArrayBuffer[];
}

/** What `BufferPool.stats()` returns. */
export interface PoolStats {
  /** The total number of slots. */
  readonly count: number;
  /** The size of a slot in bytes. */
  readonly size: number;
  /** Free slots. */
  readonly available: number;
  /** Slots that were acquired or received through this pool object and are not released yet. */
  readonly held: number;
  /** Slots that were handed over and not received yet, by any thread. */
  readonly inTransit: number;
  /** Pending `acquire` calls of this pool object. */
  readonly waiting: number;
  /**
   * How often a slot was requested from this pool object and could not be granted at once. Streams count, too, when
   * they leave the last free slot to others.
   */
  readonly exhaustions: number;
  /** Other attachments of this pool, in this thread and others. */
  readonly othersAttached: number;
  /** How many of those have pending acquires. */
  readonly othersWaiting: number;
  /** Bytes of memory of all slots, padding included. */
  readonly memoryBytes: number;
  /** The number of registered buffers that the memory consists of. */
  readonly extents: number;
  /** Milliseconds that registering the memory took; 0 in an attached pool, which registers nothing. */
  readonly registrationMs: number;
}

/** Access for rings to the participant behind a pool object. */
export let participantOf: (pool: BufferPool) => Participant;

function checkPoolOptions(options: BufferPoolOptions) {
  checkOptions(options, ["count", "size", "hugePages", "zero"]);
  const { count, size, hugePages = true, zero = false } = options;
  checkInteger("options.count", count, 1, 2 ** 29);
  checkInteger("options.size", size, 1, 2 ** 30);
  checkBoolean("options.hugePages", hugePages);
  checkBoolean("options.zero", zero);
  return { plan: planPool(count, size, hugePages), zero };
}

/** Does everything that comes before the memory's first page fault. */
function allocate({ plan, zero }: ReturnType<typeof checkPoolOptions>) {
  const ability = cloneAbility(); // first: without io_uring it throws, before any memory is allocated
  const memories = allocateMemories(plan);
  const control = PoolControl.create(plan, ability, zero);
  const parts = residentParts(plan, memories);
  adviseHugePages(plan, parts);
  return { control, memories, parts };
}

/**
 * Lets the kernel's own worker threads fault the memory in, part by part. `parts` is held meanwhile, since the kernel
 * writes to the memory.
 */
async function populateOffThread(parts: readonly Region[]): Promise<void> {
  using uring = await patiently(() => new Uring({ entries: 1, cqEntries: 0, flags: 0, sqThreadIdleMs: 0 }));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let next = 0;
  const advance = () => {
    const part = parts[next++];
    if (part === undefined) return resolve();
    uring.prepare(populating(part), 0, -1, 0);
    uring.submit();
  };
  const wakeup = new Wakeup(uring.eventfd(), () => {
    try {
      uring.forEachCompletion((_userData, res) => {
        checkAdvice(res);
        advance();
      });
    } catch (error) {
      reject(error);
    }
  });
  hold(parts);
  try {
    wakeup.arm();
    advance();
    await promise;
  } finally {
    wakeup.close();
    uring.close();
    letGo(parts);
  }
}

function populating({ start, end }: Region): Sqe {
  return {
    opcode: IORING_OP_MADVISE,
    flags: 0,
    fd: -1,
    off: 0,
    addr: start,
    len: end - start,
    opFlags: MADV_POPULATE_WRITE,
    bufIndex: 0,
    spliceFdIn: 0,
  };
}

/**
 * Memory for I/O that is registered with the kernel once and cloned into every ring that needs it: `count` slots of
 * `size` bytes in SharedArrayBuffers, which all threads of the process see at the same addresses. Each slot has one
 * holder at a time. Threads share the slots without locks.
 *
 * @example
 * ```ts
 * import { once } from "node:events";
 * import { isMainThread, Worker, workerData } from "node:worker_threads";
 * import { BufferPool, Ring } from "bun-uring";
 *
 * using pool = isMainThread ? new BufferPool({ count: 256, size: 65536 }) : BufferPool.attach(workerData);
 * await using ring = new Ring({ pool }); // a clone, here and in the Worker
 * if (isMainThread) await once(new Worker(import.meta.filename, { workerData: pool.share() }), "exit");
 * ```
 *
 * @see io_uring_register_buffers(3), io_uring_clone_buffers(3)
 */
export class BufferPool implements Disposable {
  readonly #participant: Participant;

  /**
   * Allocates, faults in and registers the memory.
   * @throws TypeError, RangeError: an option's type or value
   * @throws UringError ENOMEM: the machine or the cgroup does not have enough memory, or the limit on locked memory is
   * exceeded (what was closed a moment ago may still count: `create` waits up to half a second for that, the
   * constructor does not); and the errors of `new RawRing()`
   */
  constructor(options: BufferPoolOptions);
  /** @internal */
  constructor(participant: Participant, place: Place);
  constructor(options: BufferPoolOptions | Participant, place?: Place) {
    if (options instanceof Participant) {
      this.#participant = options;
      track(this, options, place);
    } else {
      const { control, memories, parts } = allocate(checkPoolOptions(options));
      populate(parts);
      this.#participant = Participant.create(control, memories);
      track(this, this.#participant);
    }
  }

  /**
   * Like `new BufferPool()`, but threads of the kernel fault the memory in while the event loop goes on. Registering
   * the memory afterwards blocks as long as in the constructor.
   * @throws TypeError, RangeError, UringError: as the constructor
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = await BufferPool.create({ count: 1024, size: 65536 });
   * console.log(pool.available); // 1024
   * ```
   * @see madvise(2)
   */
  static async create(options: BufferPoolOptions): Promise<BufferPool> {
    const place = currentPlace();
    const plan = checkPoolOptions(options);
    await patiently(kernel);
    const { control, memories, parts } = allocate(plan);
    await populateOffThread(parts);
    const participant = await patiently(() => Participant.create(control, memories), regionBytes(parts));
    return new BufferPool(participant, place);
  }

  /**
   * Attaches to a pool of another thread. This takes neither memory nor another registration. Each attachment is
   * independent, even a second one with the same handle: it has its own slots and pending acquires, and is closed
   * separately. If the pool is being closed at the same time, `attach` either throws or returns a pool that is closed
   * already.
   * @param handle - what `share` returned
   * @throws TypeError: not a handle, or one of another version of this library
   * @throws UringError EBADF: the pool is closed, or every thread attached to it has ended; EMFILE; EUSERS: 1024 pool
   * objects share this pool already, the one that made it included
   * @example
   * ```ts
   * import { BufferPool, Ring } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * const handle = pool.share(); // most often sent to another thread
   * using attached = BufferPool.attach(handle);
   * await using ring = new Ring({ pool: attached });
   * ```
   * @see io_uring_clone_buffers(3)
   */
  static attach(handle: PoolHandle): BufferPool {
    if (typeof handle !== "object" || handle === null || handle.kind !== "bun-uring.PoolHandle")
      throw invalidType("handle", "what BufferPool.share() returned", handle);
    const control = PoolControl.open(handle.control);
    const memories: readonly unknown[] = Array.isArray(handle.memories) ? Array.from(handle.memories) : [];
    const { plan } = control;
    if (memories.length !== plan.memoryCount)
      throw invalidValue(`handle.memories must be ${plan.memoryCount} SharedArrayBuffers`);
    const shared = memories.map((memory, index) => {
      if (isSharedMemory(memory) && sharedByteLengthOf(memory) === memoryBytes(plan, index)) return memory;
      throw invalidValue(`handle.memories[${index}] must be a SharedArrayBuffer of ${memoryBytes(plan, index)} bytes`);
    });
    native();
    return new BufferPool(Participant.attach(control, shared), currentPlace());
  }

  /** The number of slots. */
  get count(): number {
    return this.#participant.control.plan.count;
  }

  /** The size of a slot in bytes. */
  get size(): number {
    return this.#participant.control.plan.sizeBytes;
  }

  /**
   * The number of slots that are free at this moment. Reading it scans all slots: use it for diagnostics and tests, not
   * for every request.
   */
  get available(): number {
    return this.#participant.census().free;
  }

  /** Whether the pool is closed, here or by the thread that made it. */
  get closed(): boolean {
    return this.#participant.closed;
  }

  /**
   * Returns a handle with which another thread attaches to the pool. A pool that was shared and then dropped without
   * close stays open until this thread ends, because the handle may still be on its way to another thread.
   * @throws UringError EBADF: the pool is closed
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * const worker = new Worker("data:text/javascript,");
   * worker.postMessage(pool.share());
   * ```
   */
  share(): PoolHandle {
    this.#participant.share();
    return {
      kind: "bun-uring.PoolHandle",
      control: this.#participant.control.memory,
      memories: [...this.#participant.memories],
    };
  }

  /**
   * Acquires a slot without waiting. Returns undefined if no slot is free, if an `acquire` of this pool object is
   * pending, or if only one slot is free and it is kept for another thread that has been waiting for more than a
   * hundred releases.
   * @throws UringError EBADF: the pool is closed
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * using buffer = pool.tryAcquire();
   * console.log(buffer === undefined ? "all slots are taken" : `slot ${buffer.slotIndex}`);
   * ```
   */
  tryAcquire(): FixedBuffer | undefined {
    return this.#participant.tryAcquire();
  }

  /**
   * Acquires a slot, and waits until one is free, here or by a release in another thread. Pending acquires of a pool
   * object are served in order. No thread is passed over for ever: after a hundred-odd releases, the last free slot is
   * kept for the thread that has waited longest. Waiting uses no CPU and keeps the process alive. After 5 seconds a
   * process warning (code BUN_URING_ACQUIRE_WAITS) reports who has the slots. It is emitted again only after a time in
   * which nobody waited here.
   * @param options.signal - rejects the promise with its reason when it aborts
   * @throws UringError EBADF: the pool is closed, or was closed while waiting
   * @throws TypeError: an option's type
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * using buffer = await pool.acquire({ signal: AbortSignal.timeout(1000) });
   * buffer.bytes.fill(0);
   * ```
   */
  async acquire(options: { readonly signal?: AbortSignal } = {}): Promise<FixedBuffer> {
    checkOptions(options, ["signal"]);
    if (options.signal !== undefined) checkSignal(options.signal);
    return this.#participant.acquire(options.signal);
  }

  /**
   * Takes over a slot, with its content, that another thread gave away with `FixedBuffer.handOver`. If the thread that
   * made the pool has closed it, an attached pool object can still receive slots in transit; they stay valid until they
   * are released, like all slots in use.
   * @param token - what `handOver` returned
   * @throws TypeError: not a token, or one of another pool
   * @throws UringError ESTALE: the token was used already; EBADF: this pool object is closed
   * @throws RangeError: a slot index or ticket out of range
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * using attached = BufferPool.attach(pool.share()); // most often in another thread
   * const token = (await pool.acquire()).handOver();
   * using buffer = attached.receive(token);
   * ```
   */
  receive(token: SlotToken): FixedBuffer {
    if (typeof token !== "object" || token === null || token.kind !== "bun-uring.SlotToken")
      throw invalidType("token", "what FixedBuffer.handOver() returned", token);
    const { kind, pool, slotIndex, ticket } = token; // read once: getters may return something else the next time
    checkInteger("token.slotIndex", slotIndex, 0, this.count - 1);
    checkInteger("token.ticket", ticket, 1, largestTicket);
    return this.#participant.receive({ kind, pool, slotIndex, ticket });
  }

  /**
   * Returns counts of slots and attachments, and how much memory the pool takes.
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * using pool = new BufferPool({ count: 16, size: 65536 });
   * using buffer = await pool.acquire();
   * const { available, held, memoryBytes } = pool.stats();
   * console.log(available, held, memoryBytes); // 15 1 1048576
   * ```
   */
  stats(): PoolStats {
    const { control, extents, memories, waiting, exhaustions, others } = this.#participant;
    const { free, own, inTransit } = this.#participant.census();
    return {
      count: control.plan.count,
      size: control.plan.sizeBytes,
      available: free,
      held: own,
      inTransit,
      waiting,
      exhaustions,
      othersAttached: others.attached,
      othersWaiting: others.waiting,
      memoryBytes: memories.reduce((sum, memory) => sum + memory.byteLength, 0),
      extents: extents.length,
      registrationMs: this.#participant.registrationMs,
    };
  }

  /**
   * Closes the pool, for every thread: no ring can join it and no slot can be acquired any more, and pending acquires
   * reject with EBADF. Returns without waiting for slots or rings; at most it waits for a clone or an attachment that
   * another thread is just making. Rings that have joined the pool go on. Slots in use or in transit stay valid until
   * they are released. The memory is freed with the last of these. The pool stays closed, also for handles that were
   * shared earlier, even if the number of its descriptor is reused.
   *
   * On an attached pool, `close` ends only that attachment; other attachments with the same handle go on. Calling it
   * again does nothing.
   * @example
   * ```ts
   * import { BufferPool } from "bun-uring";
   *
   * const pool = new BufferPool({ count: 16, size: 65536 });
   * const buffer = await pool.acquire();
   * pool.close();
   * buffer.release(); // was valid until now; the memory goes
   * ```
   */
  close(): void {
    this.#participant.close();
  }

  /** close() */
  [Symbol.dispose](): void {
    this.close();
  }

  static {
    participantOf = (pool) => pool.#participant;
    mark("BufferPool", BufferPool.prototype);
  }
}
