/**
 * Runs operations on several rings, aborts a tenth of them at random moments, and posts how they settled. Then closes
 * the rings.
 */
import type { BufferPool, FixedBuffer, Ring, RingFile } from "bun-uring";
import { directFlags } from "../support/direct.ts";
import type { SettlerAnswer, SettlerJob } from "./jobs.ts";

declare const self: Worker;

const inFlightAtMost = 512;
const abortShare = 0.1;
/** The share of the aborted operations that nothing but the abort ends. */
const endlessShare = 0.3;
/** More faults than this would not help to find the cause. */
const mostFaults = 10;

/**
 * When an operation is aborted. At most of these moments it may have completed already. "completed" is only for an
 * operation that ends by itself, because it waits for that.
 */
const moments = ["before", "at once", "microtask", "immediate", "timer", "completed"] as const;
type Moment = (typeof moments)[number];

/** How often each operation's resolve or reject was called: the promise itself shows only the first call. */
let settleCalls = new Uint8Array(0);
let starting: number | undefined;
const Original = Promise;
type Settle = (value: unknown) => void;

/**
 * Wraps resolve and reject so that their calls are counted, if an operation is starting. The first promise that is made
 * during the start is the operation's own.
 */
function counted([resolve, reject]: [Settle, Settle]): [Settle, Settle] {
  const operation = starting;
  if (operation === undefined) return [resolve, reject];
  starting = undefined;
  const counting = (settle: Settle) => (value: unknown) => {
    settleCalls[operation] = (settleCalls[operation] ?? 0) + 1;
    settle(value);
  };
  return [counting(resolve), counting(reject)];
}

globalThis.Promise = new Proxy(Original, {
  construct: (_, [executor]) =>
    new Original((...settle: [Settle, Settle]) => {
      const [resolve, reject] = counted(settle);
      try {
        executor(resolve, reject);
      } catch (error) {
        reject(error);
      }
    }),
  get: (_, name) => {
    if (name !== "withResolvers") return Reflect.get(Original, name);
    return () => {
      const made = Original.withResolvers<unknown>();
      const [resolve, reject] = counted([made.resolve, made.reject]);
      return { promise: made.promise, resolve, reject };
    };
  },
});

// When the library is loaded, it takes the engine's Promise class from `Promise.prototype.constructor`. The counting
// class is put there while it loads.
Reflect.set(Original.prototype, "constructor", globalThis.Promise);
const library: typeof import("bun-uring") = require("bun-uring");
Reflect.set(Original.prototype, "constructor", Original);

/** An operation that is ready to start. */
interface Ready {
  readonly name: string;
  start(options: { readonly signal?: AbortSignal }): Promise<unknown>;
  /** Whether its value, and the content of its memory, are right. Called once it has succeeded. */
  isRight(value: unknown): boolean;
  /** Releases what the operation has, whether or not the kernel is done with it. Called once it has settled. */
  end?(): void;
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Whether `bytes` are a file's content from `position` on: in the file each 32-bit word is its own index. */
function isContent(bytes: Uint8Array, position: number): boolean {
  const found = words(bytes);
  return found[0] === position / 4 && found[found.length - 1] === position / 4 + found.length - 1;
}

const isNothing = (value: unknown) => value === undefined;
const isEndless = () => false;

/** Operations of one ring. */
class Mix {
  readonly #ring: Ring;
  readonly #pool: BufferPool;
  readonly #file: RingFile;
  readonly #direct: RingFile;
  readonly #fileBytes: number;
  readonly #silentFd: number;
  /** Memory of reads that succeeded. The kernel may still write to the memory of the others. */
  readonly #memories: Uint8Array[] = [];

  constructor(ring: Ring, pool: BufferPool, file: RingFile, direct: RingFile, job: SettlerJob) {
    this.#ring = ring;
    this.#pool = pool;
    this.#file = file;
    this.#direct = direct;
    this.#fileBytes = job.fileBytes;
    this.#silentFd = job.silentFd;
  }

  /** A random operation that ends by itself. */
  ending(): Ready | Promise<Ready> {
    const ring = this.#ring;
    const pick = random(10_000);
    if (pick < 3)
      return { name: "fdatasync", start: (options) => ring.fdatasync(this.#file, options), isRight: isNothing };
    if (pick < 100)
      return { name: "timeout", start: (options) => ring.timeout(Math.random() * 2, options), isRight: isNothing };
    if (pick < 2000) return { name: "nop", start: (options) => ring.nop(options), isRight: isNothing };
    if (pick < 2200) return this.#readFixed(this.#direct, 4096 * random(this.#fileBytes / 4096), 4096);
    if (pick < 5000) return this.#writeFixed();
    if (pick < 7000) return this.#read();
    const length = 4 * (1 + random(256));
    return this.#readFixed(this.#file, this.#position(length), length);
  }

  /** A random operation that only an abort ends. */
  async endless(): Promise<Ready> {
    const ring = this.#ring;
    const pick = random(3);
    if (pick === 0)
      return { name: "endless poll", start: (options) => ring.poll(this.#silentFd, 1, options), isRight: isEndless };
    const memory = new Uint8Array(new SharedArrayBuffer(64));
    if (pick === 1)
      return {
        name: "endless read",
        start: (options) => ring.read(this.#silentFd, memory, options),
        isRight: isEndless,
      };
    const buffer = await this.#acquire();
    const start: Ready["start"] = (options) => ring.readFixed(this.#silentFd, buffer, options);
    return { name: "endless readFixed", start, isRight: isEndless, end: () => buffer.release() };
  }

  #acquire(): FixedBuffer | Promise<FixedBuffer> {
    return this.#pool.tryAcquire() ?? this.#pool.acquire();
  }

  #position(length: number): number {
    return 4 * random((this.#fileBytes - length) / 4);
  }

  async #readFixed(file: RingFile, position: number, length: number): Promise<Ready> {
    const buffer = await this.#acquire();
    buffer.bytes.fill(0xff, 0, length);
    return {
      name: "readFixed",
      start: (options) => this.#ring.readFixed(file, buffer, { position, length, ...options }),
      isRight: (value) => value === length && isContent(buffer.bytes.subarray(0, length), position),
      end: () => buffer.release(),
    };
  }

  async #writeFixed(): Promise<Ready> {
    const length = 4 * (1 + random(256));
    const position = this.#position(length);
    const buffer = await this.#acquire();
    const content = words(buffer.bytes.subarray(0, length));
    for (const word of content.keys()) content[word] = position / 4 + word;
    const start: Ready["start"] = (options) => {
      const written = this.#ring.writeFixed(this.#file, buffer, { position, length, ...options });
      buffer.release(); // the slot now belongs to the operation; a write by another holder would show up in the file
      return written;
    };
    return { name: "writeFixed", start, isRight: (value) => value === length };
  }

  #read(): Ready {
    const length = 4 * (1 + random(256));
    const position = this.#position(length);
    const memory = this.#memories.pop() ?? new Uint8Array(new SharedArrayBuffer(1024));
    const bytes = memory.subarray(0, length).fill(0xff);
    const isRight = (value: unknown) => {
      this.#memories.push(memory);
      return value === length && isContent(bytes, position);
    };
    return { name: "read", start: (options) => this.#ring.read(this.#file, bytes, { position, ...options }), isRight };
  }
}

function abortAt(moment: Moment, controller: AbortController, reason: unknown, promise: Promise<unknown>): void {
  const abort = () => controller.abort(reason);
  if (moment === "at once") abort();
  else if (moment === "microtask") queueMicrotask(abort);
  else if (moment === "immediate") setImmediate(abort);
  else if (moment === "timer") setTimeout(abort, random(3));
  else if (moment === "completed") promise.then(abort, abort);
}

class Tally {
  /** How often each operation has settled. */
  readonly settled: Uint8Array;
  readonly faults: string[] = [];
  rejections = 0;
  #next = 0;

  constructor(operations: number) {
    this.settled = new Uint8Array(operations);
    settleCalls = new Uint8Array(operations);
  }

  /** Starts one operation after the other, until all have been started. */
  async lane(mix: Mix): Promise<void> {
    for (let operation = this.#next++; operation < this.settled.length; operation = this.#next++)
      await this.#operate(operation, mix);
  }

  async #operate(operation: number, mix: Mix): Promise<void> {
    const isAborted = Math.random() < abortShare;
    const ends = !isAborted || Math.random() >= endlessShare;
    const { name, start, isRight, end } = await (ends ? mix.ending() : mix.endless());
    const moment = isAborted ? moments[random(ends ? moments.length : moments.length - 1)] : undefined;
    const controller = new AbortController();
    const reason = { operation };
    if (moment === "before") controller.abort(reason);
    starting = operation;
    const promise = start(isAborted ? { signal: controller.signal } : {});
    starting = undefined;
    const settles = promise.then(
      (value) => {
        this.#settled(operation);
        if (moment === "before" || moment === "at once") this.#fault(`${name}, aborted ${moment}, succeeded`);
        else if (!isRight(value))
          this.#fault(`${name}, aborted ${moment}, brought ${value}, or what memory holds is not the file's content`);
      },
      (error) => {
        this.#settled(operation);
        this.rejections++;
        if (moment === undefined || moment === "completed" || error !== reason)
          this.#fault(`${name}, aborted ${moment}, failed with ${Bun.inspect(error)}`);
      },
    );
    if (moment !== undefined) abortAt(moment, controller, reason, promise);
    await settles;
    end?.();
  }

  #settled(operation: number): void {
    this.settled[operation] = (this.settled[operation] ?? 0) + 1;
  }

  #fault(text: string): void {
    if (this.faults.length < mostFaults) this.faults.push(text);
  }
}

async function work(job: SettlerJob): Promise<{ answer: SettlerAnswer; close(): Promise<void> }> {
  const pool = library.BufferPool.attach(job.pool);
  const tally = new Tally(job.operations);
  const rings = job.paths.map(() => new library.Ring({ pool }));
  const mixes = await Promise.all(
    rings.map(async (ring, index) => {
      const file = await ring.open(job.paths[index] ?? "", "r+");
      return new Mix(ring, pool, file, await ring.open(job.directPath, directFlags(job.directPath)), job);
    }),
  );
  await Promise.all(mixes.flatMap((mix) => Array.from({ length: inFlightAtMost }, () => tally.lane(mix))));
  // All promises have settled, but the kernel may not be done with aborted requests.
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline && rings.some((ring) => ring.inFlight > 0)) await Bun.sleep(1);
  const { settled, faults, rejections } = tally;
  const answer = {
    settledOnce: settled.reduce(
      (sum, times, operation) => sum + (times === 1 && settleCalls[operation] === 1 ? 1 : 0),
      0,
    ),
    faults,
    rejections,
    inFlight: rings.map((ring) => ring.inFlight),
  };
  const close = async () => {
    for (const ring of rings) await ring.close();
    pool.close();
  };
  return { answer, close };
}

self.addEventListener(
  "message",
  async ({ data }: MessageEvent<SettlerJob>) => {
    const { answer, close } = await work(data);
    self.postMessage(answer);
    self.addEventListener("message", async () => {
      await close();
      process.exit();
    });
  },
  { once: true },
);
