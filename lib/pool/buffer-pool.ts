import { checkBoolean, checkInteger, checkOptions, checkSignal, invalidType, invalidValue, mark } from "../base/arguments.ts";
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
import { PoolControl } from "./control.ts";
import type { FixedBuffer, SlotToken } from "./fixed-buffer.ts";
import { adviseHugePages, allocateMemories, checkAdvice, MADV_POPULATE_WRITE, memoryBytes, planPool, populate, residentParts } from "./memory.ts";
import { Participant } from "./participant.ts";

/** Options of `new BufferPool()` and `BufferPool.create()`. */
export interface BufferPoolOptions {
  /** How many slots, 1 or more. */
  readonly count: number;
  /** Bytes of a slot, 1 to 1 GiB. Each begins on a page, so what is not a multiple of 4096 takes more memory than it shows. */
  readonly size: number;
  /** Ask for huge pages, which make registering several times cheaper. Default true. */
  readonly hugePages?: boolean;
  /** Fill a slot with zeros whenever it is acquired. Default false: it shows its last content. */
  readonly zero?: boolean;
}

/** A pool, for other threads: structured-cloneable, for postMessage and workerData within this process. */
export interface PoolHandle {
  /** Tells a handle from other objects. */
  readonly kind: "bun-uring.PoolHandle";
  /** What the threads have in common: of no use to programs. */
  readonly control: SharedArrayBuffer;
  /** The slots' memory. */
  readonly memories: readonly SharedArrayBuffer[];
}

/** What `BufferPool.stats()` tells. */
export interface PoolStats {
  /** Slots in all. */
  readonly count: number;
  /** Bytes of a slot. */
  readonly size: number;
  /** Free slots. */
  readonly available: number;
  /** Slots that this pool object's holders have. */
  readonly held: number;
  /** Slots handed over and not yet received. */
  readonly inTransit: number;
  /** Pending acquires of this pool object. */
  readonly waiting: number;
  /** How often this pool object had no slot free when one was asked for, or only the last one, which streams leave to others. */
  readonly exhaustions: number;
  /** Other threads and pool objects that have this pool. */
  readonly othersAttached: number;
  /** How many of them have pending acquires. */
  readonly othersWaiting: number;
  /** Memory of all slots, padding included. */
  readonly memoryBytes: number;
  /** Buffers that the kernel knows the memory as. */
  readonly extents: number;
  /** Milliseconds that registering took; 0 in an attached pool, which registers nothing. */
  readonly registrationMs: number;
}

/** What a ring needs of a pool. */
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

/** Everything up to the memory's first page fault. */
function allocate({ plan, zero }: ReturnType<typeof checkPoolOptions>) {
  const ability = cloneAbility(); // a machine without io_uring says so before any memory is allocated
  const memories = allocateMemories(plan);
  const control = PoolControl.create(plan, ability, zero);
  const parts = residentParts(plan, memories);
  adviseHugePages(plan, parts);
  return { control, memories, parts };
}

/** Has the kernel's own worker threads fault the memory in, part by part. */
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
  return { opcode: IORING_OP_MADVISE, flags: 0, fd: -1, off: 0, addr: start, len: end - start, opFlags: MADV_POPULATE_WRITE, bufIndex: 0, spliceFdIn: 0 };
}

/**
 * Memory for I/O, registered with the kernel once and cloned into every ring that needs it: `count` slots of `size` bytes in SharedArrayBuffers, which
 * all threads of the process see at the same addresses. Slots are granted to one holder at a time, across threads and without locks.
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
   * @throws UringError ENOMEM: not that much memory on the machine or in the cgroup, or over the memlock limit (`create` waits half a second for what was closed and is
   * still counted, this does not); and the errors of `new RawRing()`
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
   * As `new BufferPool()`, with the memory faulted in by threads of the kernel while the event loop goes on. Registering
   * it afterwards takes as long as in the constructor.
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
   * The pool of another thread, here. It costs neither memory nor a registration. Each attachment is a holder of its own, the same handle's second one too: it has slots
   * and waits of its own, and is closed for itself. Where the pool is closed at the same moment it is refused, or is a pool that is closed already.
   * @param handle - what `share` returned
   * @throws TypeError: not a handle, or one of another version of this library
   * @throws UringError EBADF: the pool is closed, or every thread that had it has ended; EMFILE; EUSERS: 1024 have it
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
    if (memories.length !== plan.memoryCount) throw invalidValue(`handle.memories must be ${plan.memoryCount} SharedArrayBuffers`);
    const shared = memories.map((memory, index) => {
      if (isSharedMemory(memory) && sharedByteLengthOf(memory) === memoryBytes(plan, index)) return memory;
      throw invalidValue(`handle.memories[${index}] must be a SharedArrayBuffer of ${memoryBytes(plan, index)} bytes`);
    });
    native();
    return new BufferPool(Participant.attach(control, shared), currentPlace());
  }

  /** How many slots there are. */
  get count(): number {
    return this.#participant.control.plan.count;
  }

  /** Bytes of a slot. */
  get size(): number {
    return this.#participant.control.plan.sizeBytes;
  }

  /** How many slots are free at this moment: counted slot by slot, for people and tests rather than for every request. */
  get available(): number {
    return this.#participant.census().free;
  }

  /** Whether the pool was closed, here or by the thread that made it. */
  get closed(): boolean {
    return this.#participant.closed;
  }

  /**
   * What another thread attaches with. A pool that was shared and is dropped without close stays until this thread ends: the handle may be on its way.
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
    return { kind: "bun-uring.PoolHandle", control: this.#participant.control.memory, memories: [...this.#participant.memories] };
  }

  /**
   * A slot; undefined where none is free, where somebody of this thread waits, or where only one is left and another thread has waited for it through a hundred releases.
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
   * A slot, as soon as one is free, here or by a release in another thread; in the order of asking within a thread. Of several threads none is passed over for ever: after
   * some hundred releases it is the turn of the one that has waited longest. Waiting costs no CPU and keeps the process alive. Where it takes 5 seconds, a process warning (code
   * BUN_URING_ACQUIRE_WAITS) says who has the slots, once until nobody waits here any more.
   * @param options.signal - rejects the promise with its reason when it is aborted
   * @throws UringError EBADF: the pool is closed, or was while waiting
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
   * Takes over a slot, with its content, that another thread gave away with `FixedBuffer.transfer`.
   * @param token - what `transfer` returned
   * @throws TypeError: not a token, or one of another pool
   * @throws UringError ESTALE: the token was used; EBADF: this pool object was closed. Where only the thread that made the pool has closed it, a slot that was on its way
   * is received: it is out, as those that are held
   * @throws RangeError: a token with numbers that no slot has
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
    const { kind, pool, slotIndex, ticket } = token; // once: getters may say something else the next time
    checkInteger("token.slotIndex", slotIndex, 0, this.count - 1);
    checkInteger("token.ticket", ticket, 1, 2 ** 30);
    return this.#participant.receive({ kind, pool, slotIndex, ticket });
  }

  /**
   * How the pool stands.
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
   * Ends the pool: no ring can join it and no slot can be acquired any more, pending acquires reject with EBADF, in every thread. Returns immediately, but for the
   * microseconds of a clone or an attachment that is in progress in another thread. Rings that have it go on, slots that are out or on their way stay valid until they are released,
   * and the memory goes with the last of them. It stays closed, to old handles too, whatever its descriptor's number is by then. On an attached pool it ends that attachment
   * only, and the same handle's others go on. Again: nothing.
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
