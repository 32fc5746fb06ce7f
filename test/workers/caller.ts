/**
 * Makes the calls of a sequence, valid and invalid ones, and checks after each call that what it did, or threw, is
 * documented.
 */
import { writeFileSync } from "node:fs";
import {
  BufferPool,
  constants,
  copyFile,
  FixedBuffer,
  hashFile,
  type PumpLane,
  probe,
  RawRing,
  Ring,
  RingFile,
  type SlotToken,
  UringError,
} from "bun-uring";
import type { Step } from "../support/calls.ts";
import type { CallerJob, CallerNews } from "./jobs.ts";

declare const self: Worker;

// Dropped streams cause warnings, and for a thread's first warning Bun opens another descriptor for standard error.
// This opens it before descriptors are counted.
process.stderr.write("");

const ownReason = new Error("the signal's own reason");
const getterError = new Error("thrown by a getter");
const longestWaitMs = 10_000;

type Kind = "raw" | "pool" | "buffer" | "ring" | "file";
type Value = (pick: number) => unknown;

/** One kind of call. */
interface Call {
  readonly name: string;
  readonly on: Kind | undefined;
  readonly arguments: readonly Value[];
  /** Codes of the UringErrors that it may fail with. EBADF is always allowed, because anything may be closed. */
  readonly codes: readonly string[];
  /** Called instead of the method `name`. */
  readonly make?: (values: readonly unknown[]) => unknown;
  /** Whether the call also works on a closed object. */
  readonly worksClosed?: boolean;
}

function isThenable(value: unknown): value is Promise<unknown> {
  return value instanceof Promise;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

/** Everything that one sequence has made, and what is known about these objects. */
class World {
  readonly #job: CallerJob;
  readonly #things: Record<Kind, unknown[]> = { raw: [], pool: [], buffer: [], ring: [], file: [] };
  readonly #closed = new Set<unknown>();
  readonly #handles: unknown[] = [];
  readonly #tokens: unknown[] = [];
  readonly #controllers: AbortController[] = [];
  /**
   * For each slot, how many calls have named it, and how many calls in flight use it. A slot that no other call has
   * named since a read began, and that nothing else uses, has a known content after the read.
   */
  readonly #named = new Map<unknown, number>();
  readonly #users = new Map<unknown, number>();
  readonly #slotsPool = new Map<unknown, unknown>();
  readonly #pending = new Map<Promise<void>, string>();
  readonly #calls: readonly Call[];
  readonly #shared = new SharedArrayBuffer(65536);
  /** Raw rings with a read in flight that never completes: a request with IOSQE_IO_DRAIN after it would never start. */
  readonly #endless = new Set<unknown>();
  /**
   * Raw rings that have used IOSQE_IO_DRAIN. On Linux 6.18 later requests may wait for all earlier ones, too, so an
   * endless read would block them.
   */
  readonly #drained = new Set<unknown>();
  #current: unknown;
  readonly outcomes: Record<string, number> = {};
  readonly faults: string[] = [];
  /** The calls so far, for finding the cause of a fault. */
  readonly trace: string[] = [];
  calls = 0;

  constructor(job: CallerJob) {
    this.#job = job;
    this.#handles.push(...job.pools);
    this.#calls = this.#table();
    const pools = job.pools.map((handle) => BufferPool.attach(handle));
    const raw = new RawRing({ entries: 8 });
    raw.registerBuffers([new Uint8Array(this.#shared, 0, 16384), this.#shared]);
    this.#things.pool.push(...pools);
    this.#things.raw.push(raw);
    this.#things.ring.push(
      new Ring({ pool: pools, entries: 8 }),
      new Ring({ pool: pools.slice(0, 1), entries: 8, cqEntries: 16 }),
    );
  }

  /** Takes a handle or a token from another Worker, for later calls to use. */
  give(news: { readonly handle: unknown } | { readonly token: unknown }): void {
    if ("handle" in news) this.#handles.push(news.handle);
    else this.#tokens.push(news.token);
  }

  step({ call: number, picks, wild, yields }: Step): void {
    const call = this.#calls[number % this.#calls.length];
    if (call === undefined) return;
    const [first = 0, ...rest] = picks;
    const target = call.on === undefined ? undefined : this.#any(call.on)(first);
    if (call.on !== undefined && target === undefined) return;
    this.#current = target;
    const values = call.arguments.map((value, index) => {
      const pick = rest[index % rest.length] ?? 0;
      return ((wild >> index) & 1) === 1 ? this.#wildValue(pick) : value(pick);
    });
    while (values.length > 0 && values.at(-1) === undefined) values.pop();
    const wasClosed = call.worksClosed !== true && this.#closed.has(target);
    this.calls++;
    const shown = values.map((value) => Bun.inspect(value, { depth: 1 }).replaceAll(/\s+/g, " ").slice(0, 100));
    const on = call.on === undefined ? "" : `#${this.#things[call.on].indexOf(target)} `;
    this.trace.push(`${on}${call.name}(${shown.join(", ")})${["", " await", " turn"][yields]}`);
    try {
      const result =
        call.make !== undefined
          ? call.make(values)
          : Reflect.apply(Reflect.get(Object(target), call.name.split(".")[1] ?? ""), target, values);
      if (isThenable(result)) this.#follow(call, result, values, target, wasClosed);
      else this.#succeeded(call, result, target, wasClosed);
    } catch (error) {
      this.#failed(call, error, values);
    }
    this.#check(call.name);
  }

  /** Aborts, closes and releases everything. After that nothing may be in flight. */
  async end(): Promise<void> {
    for (const controller of this.#controllers) controller.abort(ownReason);
    for (const ring of this.#things.ring) if (ring instanceof Ring) this.#track("Ring.close at the end", ring.close());
    for (const pool of this.#things.pool) if (pool instanceof BufferPool) pool.close();
    for (const raw of this.#things.raw) if (raw instanceof RawRing) raw.close();
    this.#releaseAll();
    const deadline = performance.now() + longestWaitMs;
    while (this.#pending.size > 0 && performance.now() < deadline)
      await Promise.race([...this.#pending.keys(), Bun.sleep(1000)]);
    if (this.#pending.size > 0) {
      this.#fault(`never settled: ${[...this.#pending.values()].join(", ")}`);
      return;
    }
    // Calls that were in flight may have made more objects.
    for (const ring of this.#things.ring) if (ring instanceof Ring) await ring.close().catch(() => undefined);
    for (const pool of this.#things.pool) if (pool instanceof BufferPool) pool.close();
    this.#releaseAll();
    for (const ring of this.#things.ring)
      if (ring instanceof Ring && (ring.inFlight !== 0 || !ring.closed))
        this.#fault(`a closed ring has ${ring.inFlight} operations in flight`);
    for (const file of this.#things.file)
      if (file instanceof RingFile && (file.fd !== -1 || !file.closed)) this.#fault("a file of a closed ring is open");
    // A stream that reads ahead is notified of the ring's close, and gives its slots back, some microtasks after the
    // close.
    while (
      this.#things.pool.some((pool) => pool instanceof BufferPool && pool.stats().held !== 0) &&
      performance.now() < deadline
    )
      await Bun.sleep(1);
    for (const pool of this.#things.pool)
      if (pool instanceof BufferPool && pool.stats().held !== 0)
        this.#fault(`a pool has ${pool.stats().held} slots held, though all were released`);
  }

  #releaseAll(): void {
    for (const buffer of this.#things.buffer) {
      this.#name(buffer);
      if (buffer instanceof FixedBuffer) buffer[Symbol.dispose]();
    }
  }

  #any(kind: Kind): Value {
    return (pick) => this.#things[kind][pick % Math.max(1, this.#things[kind].length)];
  }

  #wildValue(pick: number): unknown {
    const wild: (() => unknown)[] = [
      () => undefined,
      () => null,
      () => -1,
      () => -5n,
      () => 1.5,
      () => Number.NaN,
      () => Number.POSITIVE_INFINITY,
      () => 2 ** 31,
      () => 2 ** 53,
      () => 2n ** 70n,
      () => "/no such folder/thing",
      () => "",
      () => "a\0b",
      () => true,
      () => ({}),
      () => [],
      () => [null, undefined, {}],
      () => Symbol("wild"),
      () => () => undefined,
      () => new Uint8Array(4096),
      () => new ArrayBuffer(64),
      () => new SharedArrayBuffer(0),
      () => new Uint8Array(new SharedArrayBuffer(4096)),
      () => ({ unknown: 1 }),
      () => ({ signal: "none", position: -1, entries: 0, count: -1, offset: Number.NaN }),
      () => this.#any("raw")(pick >> 5),
      () => this.#any("pool")(pick >> 5),
      () => this.#any("buffer")(pick >> 5),
      () => this.#any("ring")(pick >> 5),
      () => this.#any("file")(pick >> 5),
      () => this.#trap(pick >> 5),
      () => this.#trap(pick >> 5),
    ];
    return wild[pick % wild.length]?.();
  }

  /** Options with a getter that closes something when it is read. */
  #trap(pick: number): unknown {
    const act = () => this.#disrupt(pick);
    const names = [
      "position",
      "offset",
      "length",
      "signal",
      "entries",
      "count",
      "size",
      "pool",
      "replace",
      "flags",
      "mode",
      "depth",
    ];
    const name = names[pick % names.length] ?? "";
    return Object.defineProperty({}, name, {
      enumerable: true,
      get: () => {
        act();
        if (pick % 5 === 0) throw getterError;
        return name === "signal" || name === "pool" ? undefined : name === "replace" ? false : 1;
      },
    });
  }

  #disrupt(pick: number): void {
    const target =
      pick % 2 === 0 && this.#current !== undefined
        ? this.#current
        : this.#any((["raw", "pool", "buffer", "ring", "file"] as const)[pick % 5] ?? "raw")(pick >> 3);
    if (target instanceof FixedBuffer) {
      this.#name(target);
      target[Symbol.dispose]();
    } else if (target instanceof Ring || target instanceof RingFile) {
      this.#track("close by a getter", target.close());
      this.#closed.add(target);
    } else if (target instanceof RawRing || target instanceof BufferPool) {
      target.close();
      this.#closed.add(target);
    }
  }

  #name(buffer: unknown): number {
    const named = (this.#named.get(buffer) ?? 0) + 1;
    this.#named.set(buffer, named);
    return named;
  }

  #follow(
    call: Call,
    promise: Promise<unknown>,
    values: readonly unknown[],
    target: unknown,
    wasClosed: boolean,
  ): void {
    const named = values.flat().map((value) => (value instanceof FixedBuffer ? value : Object(value).buffer));
    const slots = named.filter((value) => value instanceof FixedBuffer);
    const [buffer] = slots;
    const isAlone = !this.#users.has(buffer);
    for (const slot of slots) this.#users.set(slot, (this.#users.get(slot) ?? 0) + 1);
    const times = slots.map((slot) => this.#name(slot))[0];
    const ended = () => {
      for (const slot of slots) {
        const others = (this.#users.get(slot) ?? 0) - 1;
        if (others === 0) this.#users.delete(slot);
        else this.#users.set(slot, others);
      }
    };
    this.#track(
      call.name,
      promise.then(
        (result) => {
          ended();
          this.#succeeded(call, result, target, wasClosed);
          if (call.name === "Ring.readFixed" && isAlone && this.#named.get(buffer) === times)
            this.#checkContent(result, values);
        },
        (error) => {
          if (error !== ownReason) ended(); // an aborted read may still write to its slot
          this.#failed(call, error, values);
        },
      ),
    );
  }

  #track(name: string, promise: Promise<unknown>): void {
    const settled: Promise<void> = promise.then(
      () => void this.#pending.delete(settled),
      (error) => {
        this.#pending.delete(settled);
        this.#fault(`${name}: ${Bun.inspect(error)}`);
      },
    );
    this.#pending.set(settled, name);
  }

  /** Checks a read of the known file into a slot that nothing else used meanwhile. */
  #checkContent(result: unknown, [file, buffer, options]: readonly unknown[]): void {
    if (
      file !== this.#job.knownFd ||
      !(buffer instanceof FixedBuffer) ||
      typeof options !== "object" ||
      options === null
    )
      return;
    const { position: given, offset, length: wanted } = { position: -1, offset: 0, length: undefined, ...options };
    const position = Number(given);
    const length = wanted ?? buffer.bytes.length - offset;
    if (position < 0 || position % 4 !== 0 || offset % 4 !== 0) return;
    const expected = Math.max(0, Math.min(length, this.#job.knownBytes - position));
    if (result !== expected)
      this.#fault(`readFixed of ${length} bytes at ${position} brought ${result}, not ${expected}`);
    const words = new Uint32Array(buffer.bytes.buffer, buffer.bytes.byteOffset + offset, Math.floor(expected / 4));
    if (words.some((word, index) => word !== position / 4 + index))
      this.#fault("readFixed brought other bytes than the file's");
  }

  #count(call: Call, outcome: string): void {
    const key = `${call.name} ${outcome}`;
    this.outcomes[key] = (this.outcomes[key] ?? 0) + 1;
  }

  #succeeded(call: Call, result: unknown, target: unknown, wasClosed: boolean): void {
    this.#count(call, "ok");
    if (wasClosed) this.#fault(`${call.name} of what was closed succeeded, with ${Bun.inspect(result)}`);
    if (result instanceof RawRing) this.#things.raw.push(result);
    if (result instanceof BufferPool) this.#things.pool.push(result);
    if (result instanceof Ring) this.#things.ring.push(result);
    if (result instanceof RingFile) this.#things.file.push(result);
    if (result instanceof FixedBuffer) {
      this.#things.buffer.push(result);
      this.#slotsPool.set(result, target);
    }
    if (call.name === "BufferPool.share") self.postMessage({ handle: result });
    if (call.name === "FixedBuffer.handOver") {
      this.#tokens.push(result);
      self.postMessage({ token: result });
    }
    if (call.name.endsWith(".close")) this.#closed.add(target);
    if (call.name === "FixedBuffer.release" || call.name === "FixedBuffer.handOver") this.#name(target);
  }

  #failed(call: Call, error: unknown, values: readonly unknown[]): void {
    this.#count(call, String(codeOf(error) ?? (error instanceof Error ? error.name : error)));
    if (error === ownReason || error === getterError || (error instanceof DOMException && error.name === "AbortError"))
      return;
    if (error instanceof UringError) {
      if (error.code === "EBADF" || call.codes.includes(error.code)) return;
    } else if (error instanceof TypeError || error instanceof RangeError) {
      if (typeof codeOf(error) === "string") return;
    } else if (
      call.codes.includes("node:fs") &&
      error instanceof Error &&
      "syscall" in error &&
      typeof codeOf(error) === "string"
    ) {
      return;
    }
    this.#fault(
      `${call.name}(${values.map((value) => Bun.inspect(value, { depth: 0 }).slice(0, 60)).join(", ")}): ${Bun.inspect(error)}`,
    );
  }

  #fault(text: string): void {
    if (this.faults.length < 5) this.faults.push(text);
  }

  /** Checks what has to hold after every call. */
  #check(name: string): void {
    for (const thing of this.#closed) {
      if (
        (thing instanceof RawRing ||
          thing instanceof Ring ||
          thing instanceof RingFile ||
          thing instanceof BufferPool) &&
        !thing.closed
      )
        this.#fault(`after ${name} what was closed is open`);
    }
    for (const ring of this.#things.ring)
      if (ring instanceof Ring && !(Number.isInteger(ring.inFlight) && ring.inFlight >= 0))
        this.#fault(`after ${name} ${ring.inFlight} are in flight`);
    for (const pool of this.#things.pool) {
      if (!(pool instanceof BufferPool)) continue;
      const { count, available, held, inTransit } = pool.stats();
      const live = this.#things.buffer.filter(
        (buffer) => this.#slotsPool.get(buffer) === pool && this.#isLive(buffer),
      ).length;
      if (held < live || (available + held + inTransit > count && this.#job.pools.length === 0))
        this.#fault(`after ${name} a pool has ${held} slots held, and ${live} are`);
    }
  }

  #isLive(buffer: unknown): boolean {
    try {
      return buffer instanceof FixedBuffer && buffer.bytes.length > 0;
    } catch {
      return false;
    }
  }

  #table(): Call[] {
    const { knownFd, knownPath, silentFd, folder, knownBytes } = this.#job;
    const one =
      (...choices: readonly unknown[]): Value =>
      (pick) =>
        choices[pick % choices.length];
    const to =
      (limit: number): Value =>
      (pick) =>
        pick % limit;
    const maybe =
      (value: Value): Value =>
      (pick) =>
        pick % 3 === 0 ? undefined : value(pick >> 2);
    const options =
      (known: Readonly<Record<string, Value>>): Value =>
      (pick) =>
        Object.fromEntries(
          Object.entries(known).flatMap(([name, value], index) =>
            ((pick >> (index % 8)) & 1) === 0 ? [] : [[name, value((pick >> 3) + 7 * index)]],
          ),
        );
    const signal: Value = (pick) => {
      const controller = new AbortController();
      this.#controllers.push(controller);
      if (pick % 4 === 0) controller.abort(ownReason);
      if (pick % 4 === 1) setImmediate(() => controller.abort(ownReason));
      return controller.signal;
    };
    const view: Value = (pick) => new Uint8Array(this.#shared, 4 * (pick % 4096), 4 * (1 + (pick % 1024)));
    const buffers: Value = (pick) =>
      Array.from({ length: 1 + (pick % 3) }, (_, index) => (index === 2 ? null : view(pick + index)));
    const plain: Value = (pick) => Buffer.alloc(pick % 8192);
    const list =
      (value: Value): Value =>
      (pick) =>
        Array.from({ length: 1 + (pick % 4) }, (_, index) => value((pick >> 2) + index));
    const tags: Value = (pick) => Array.from({ length: 1 + (pick % 3) }, (_, index) => (index === 2 ? 0 : pick));
    const path = one(
      `${folder}/a`,
      `${folder}/b`,
      `${folder}/c`,
      knownPath,
      `${folder}/none/x`,
      folder,
      new URL(`file://${folder}/a`),
    );
    const ownPath = one(`${folder}/a`, `${folder}/b`, `${folder}/c`, `${folder}/none/x`, folder);
    const flags = one("r", "r+", "w", "w+", "a", "wx", "a+", 0, 2);
    const ownFile: Value = (pick) => (pick % 8 === 0 ? silentFd : this.#any("file")(pick >> 3));
    const readable: Value = (pick) => (pick % 2 === 0 ? knownFd : ownFile(pick >> 1));
    const position = one(0, 4, 4096, 16384n, knownBytes, 2 ** 40);
    const buffer = this.#any("buffer");
    const pool = this.#any("pool");
    const transfer = { position, signal };
    // These lengths fit in any slot of the shared pools.
    const fixed = { position, offset: one(0, 4, 128), length: one(0, 4, 1024, 3000), noWait: one(true, false), signal };
    const rawFlags = one(
      0,
      constants.IORING_SETUP_SINGLE_ISSUER,
      constants.IORING_SETUP_SINGLE_ISSUER | constants.IORING_SETUP_DEFER_TASKRUN,
      constants.IORING_SETUP_CQE32,
      constants.IORING_SETUP_SQE128,
    );
    const rawFd: Value = (pick) => {
      if (pick % 8 !== 0 || this.#drained.has(this.#current)) return knownFd;
      this.#endless.add(this.#current);
      return silentFd;
    };
    const sqeFlags: Value = (pick) => {
      if (this.#endless.has(this.#current)) return 0;
      const flags = one(
        0,
        0,
        constants.IOSQE_IO_LINK,
        constants.IOSQE_ASYNC,
        constants.IOSQE_IO_DRAIN,
        constants.IOSQE_FIXED_FILE,
      )(pick);
      if (flags === constants.IOSQE_IO_DRAIN) this.#drained.add(this.#current);
      return flags;
    };
    const inTable: Value = (pick) => new Uint8Array(this.#shared, 4 * (pick % 1024), 4 * (pick % 1024));

    /** Errors that the kernel may return for a request on a file. */
    const onFile = [
      "EINVAL",
      "ESPIPE",
      "EISDIR",
      "ESTALE",
      "EXDEV",
      "ECANCELED",
      "EAGAIN",
      "EOPNOTSUPP",
      "ENOTCONN",
      "EFBIG",
      "ENODEV",
      "ENOTSOCK",
    ];
    const onPath = ["ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "EINVAL", "ECANCELED", "ENOTEMPTY", "ENXIO"];
    const making = ["EINVAL", "ENOMEM", "EMFILE"];
    const rawPrep = ["EBUSY", "EOPNOTSUPP"];
    const raw = (name: string, args: readonly Value[], ...codes: string[]): Call => ({
      name: `RawRing.${name}`,
      on: "raw",
      arguments: args,
      codes,
    });
    const ring = (name: string, args: readonly Value[], codes = onFile): Call => ({
      name: `Ring.${name}`,
      on: "ring",
      arguments: args,
      codes,
    });
    const file = (name: string, args: readonly Value[], ...codes: string[]): Call => ({
      name: `RingFile.${name}`,
      on: "file",
      arguments: args,
      codes: [...onFile, "EIO", ...codes],
    });
    const made = (
      name: string,
      args: readonly Value[],
      codes: readonly string[],
      make: NonNullable<Call["make"]>,
    ): Call => ({
      name,
      on: undefined,
      arguments: args,
      codes,
      make,
    });
    const call = (target: object, name: string) => (values: readonly unknown[]) =>
      Reflect.apply(Reflect.get(target, name), target, values);
    const acquired: Call = { name: "BufferPool.tryAcquire", on: "pool", arguments: [], codes: [] };
    const readFixed = ring("readFixed", [readable, buffer, options(fixed)]);

    return [
      made(
        "new RawRing",
        [options({ entries: one(1, 4, 32), cqEntries: one(32, 64), flags: rawFlags, sqThreadIdleMs: to(10) })],
        making,
        (values) => Reflect.construct(RawRing, values),
      ),
      raw("registerBuffers", [buffers, maybe(tags)], "EBUSY", "ENOMEM", "EFAULT", "EINVAL"),
      raw("registerSparseBuffers", [to(20)], "EBUSY", "EINVAL", "ENOMEM"),
      raw("updateBuffers", [to(4), buffers, maybe(tags)], "ENXIO", "EINVAL", "EFAULT", "ENOMEM"),
      raw("unregisterBuffers", [], "ENXIO"),
      raw(
        "cloneBuffers",
        [
          this.#any("raw"),
          options({ destinationOffset: to(3), sourceOffset: to(3), count: to(3), replace: one(true, false) }),
        ],
        "EBUSY",
        "ENXIO",
        "EINVAL",
        "EOVERFLOW",
        "EEXIST",
        "EOPNOTSUPP",
        "EMFILE",
        "ENOMEM",
      ),
      raw("registerFiles", [list(one(knownFd, -1, silentFd)), maybe(tags)], "EBUSY", "EMFILE", "EINVAL"),
      raw("registerSparseFiles", [to(20)], "EBUSY", "EMFILE", "EINVAL"),
      raw("updateFiles", [to(4), list(one(knownFd, -1)), maybe(tags)], "ENXIO", "EINVAL"),
      raw("unregisterFiles", [], "ENXIO"),
      raw("registerRingFd", [], "EEXIST", "EINVAL", "EBUSY"),
      raw("unregisterRingFd", [], "EINVAL"),
      raw("prepNop", [to(100), sqeFlags], ...rawPrep),
      raw("prepReadFixed", [rawFd, inTable, one(0, 4096n, -1), to(2), to(100), sqeFlags], ...rawPrep),
      raw("prepReadFixed", [rawFd, inTable, one(0, 4096n, -1), to(2), to(100), sqeFlags], ...rawPrep),
      raw("prepWriteFixed", [one(knownFd), inTable, one(0, 4096n, -1), to(2), to(100), sqeFlags], ...rawPrep),
      raw("prepReadvFixed", [one(knownFd), list(inTable), to(4096), to(2), to(100), sqeFlags], ...rawPrep),
      raw("prepWritevFixed", [one(knownFd), list(inTable), to(4096), to(2), to(100), sqeFlags], ...rawPrep),
      raw("submit", [], "EAGAIN", "EBUSY", "ENOMEM"),
      raw("submit", [], "EAGAIN", "EBUSY", "ENOMEM"),
      {
        ...raw("submitAndWait", [to(3)], "EAGAIN", "EBUSY", "ENOMEM"),
        // Prepares as many requests that complete as the call waits for, so that the wait ends.
        make: ([count]) => {
          const target = this.#current;
          if (!(target instanceof RawRing)) return undefined;
          if (typeof count === "number" && count > 0 && count < 3 && !target.closed) {
            target.submit();
            for (let nop = 0; nop < Math.min(count, target.sqEntries); nop++) target.prepNop(0);
            if (count > target.sqEntries) {
              target.submit();
              target.prepNop(0);
            }
          }
          return Reflect.apply(target.submitAndWait, target, [count]);
        },
      },
      {
        ...raw("forEachCompletion", [one(undefined, "close", "throw")]),
        codes: ["EAGAIN", "EBUSY"],
        make: ([what]) => {
          const target = this.#current;
          if (!(target instanceof RawRing)) return undefined;
          if (what !== undefined && what !== "close" && what !== "throw")
            return Reflect.apply(target.forEachCompletion, target, [what]);
          return target.forEachCompletion(() => {
            if (what === "close") {
              target.close();
              this.#closed.add(target);
            }
            if (what === "throw") throw getterError;
          });
        },
      },
      { ...raw("close", []), worksClosed: true },
      made(
        "new BufferPool",
        [options({ count: one(1, 4), size: one(4096, 5000), hugePages: one(true, false), zero: one(true, false) })],
        making,
        (values) => Reflect.construct(BufferPool, values),
      ),
      made(
        "BufferPool.create",
        [options({ count: one(1, 4), size: one(4096, 5000), zero: one(true, false) })],
        making,
        call(BufferPool, "create"),
      ),
      made(
        "BufferPool.attach",
        [(pick) => this.#handles[pick % this.#handles.length]],
        ["EMFILE", "EUSERS"],
        call(BufferPool, "attach"),
      ),
      { name: "BufferPool.share", on: "pool", arguments: [], codes: [] },
      acquired,
      acquired,
      acquired,
      { name: "BufferPool.acquire", on: "pool", arguments: [options({ signal })], codes: [] },
      {
        name: "BufferPool.receive",
        on: "pool",
        arguments: [(pick) => this.#tokens[pick % Math.max(1, this.#tokens.length)]],
        codes: ["ESTALE"],
        worksClosed: false,
      },
      { name: "BufferPool.stats", on: "pool", arguments: [], codes: [], worksClosed: true },
      { name: "BufferPool.close", on: "pool", arguments: [], codes: [], worksClosed: true },
      { name: "FixedBuffer.handOver", on: "buffer", arguments: [], codes: ["ESTALE", "EBUSY"] },
      { name: "FixedBuffer.release", on: "buffer", arguments: [], codes: ["ESTALE"] },
      { name: "FixedBuffer.release", on: "buffer", arguments: [], codes: ["ESTALE"] },
      made(
        "new Ring",
        [
          options({
            entries: one(1, 8),
            cqEntries: one(16, 64),
            pool: (pick) => (pick % 2 === 0 ? pool(pick >> 1) : list(pool)(pick >> 1)),
          }),
        ],
        [...making, "EBUSY", "EOVERFLOW"],
        (values) => Reflect.construct(Ring, values),
      ),
      ring(
        "open",
        [ownPath, flags, maybe(one(0o644, 0o600)), maybe(options({ direct: one(true, false), signal }))],
        onPath,
      ),
      ring("open", [one(knownPath), one("r", 0, undefined)], onPath),
      readFixed,
      readFixed,
      readFixed,
      ring(
        "writeFixed",
        [ownFile, buffer, options({ ...fixed, dsync: one(true, false), append: one(true, false) })],
        [...onFile, "EPIPE"],
      ),
      ring("readvFixed", [
        readable,
        list((pick) =>
          pick % 2 === 0 ? buffer(pick >> 1) : { buffer: buffer(pick >> 1), offset: 4, length: pick % 1000 },
        ),
        maybe(options(transfer)),
      ]),
      ring("writevFixed", [ownFile, list(buffer), maybe(options(transfer))], [...onFile, "EPIPE"]),
      ring("read", [readable, view, maybe(options(transfer))]),
      ring("write", [ownFile, view, maybe(options(transfer))], [...onFile, "EPIPE"]),
      ring("readv", [readable, list(view), maybe(options(transfer))]),
      ring("writev", [ownFile, list(view), maybe(options(transfer))], [...onFile, "EPIPE"]),
      ring("fdatasync", [this.#any("file"), maybe(options({ signal }))]),
      ring(
        "statx",
        [
          (pick) => (pick % 2 === 0 ? path(pick >> 1) : readable(pick >> 1)),
          maybe(options({ signal, mask: one(0, 0x7ff), flags: one(0, 0x100) })),
        ],
        [...onFile, ...onPath],
      ),
      ring("ftruncate", [this.#any("file"), to(10_000), maybe(options({ signal }))]),
      ring("fallocate", [
        this.#any("file"),
        to(10_000),
        maybe(options({ position: to(10_000), mode: one(0, 1), signal })),
      ]),
      ring("fadvise", [
        readable,
        one("normal", "random", "willneed"),
        maybe(options({ position: to(10_000), length: to(10_000), signal })),
      ]),
      ring("unlink", [ownPath, maybe(options({ signal }))], onPath),
      ring("rename", [ownPath, ownPath, maybe(options({ flags: one(0, 1), signal }))], [...onPath, "EBUSY"]),
      ring("mkdir", [ownPath, maybe(one(0o755)), maybe(options({ signal }))], onPath),
      ring("splice", [
        readable,
        ownFile,
        one(0, 100),
        maybe(options({ fromPosition: position, toPosition: position, signal })),
      ]),
      ring("poll", [readable, one(1, 4, 5), maybe(options({ signal }))]),
      ring("timeout", [one(0, 0.5, 1), maybe(options({ signal }))]),
      ring("nop", [maybe(options({ signal }))]),
      {
        ...ring("chain", [list((pick) => [pick, pick >> 1])]),
        // Each operation of the chain is tracked separately.
        make: ([parts]) => {
          const target = this.#current;
          if (!(target instanceof Ring)) return undefined;
          if (!Array.isArray(parts)) return Reflect.apply(target.chain, target, [parts]);
          const reads = parts.map((part) => {
            const [pick = 0] = Array.isArray(part) ? part : [];
            return pick % 2 === 0 ? [] : [knownFd, buffer(pick), { position: 0, length: 64 }];
          });
          const starts = reads.map(
            (read) => () => (read.length === 0 ? target.nop() : Reflect.apply(target.readFixed, target, read)),
          );
          for (const [index, started] of target.chain(starts).entries())
            this.#follow(readFixed, started, reads[index] ?? [], target, this.#closed.has(target));
          return undefined;
        },
      },
      {
        ...ring("pump", [
          readable,
          list(buffer),
          maybe(options({ depth: one(1, 4), errors: one("throw", "result"), signal })),
        ]),
        make: ([source, buffers, given]) => {
          const target = this.#current;
          if (!(target instanceof Ring)) return undefined;
          const slots = Array.isArray(buffers) ? buffers : [];
          let left = 20;
          const callback = (lane: PumpLane) => {
            left--;
            if (left > 0) Reflect.apply(lane.readFixed, lane, [source, slots[left % slots.length], 64 * left, 0, 64]);
          };
          return Reflect.apply(target.pump, target, [callback, given]);
        },
      },
      {
        ...ring("batch", [readable, list(buffer), this.#any("file"), maybe(options({ signal }))]),
        make: ([source, buffers, synced, given]) => {
          const target = this.#current;
          if (!(target instanceof Ring)) return undefined;
          const batch = target.batch();
          for (const [index, slot] of (Array.isArray(buffers) ? buffers : []).entries())
            Reflect.apply(batch.readFixed, batch, [source, slot, 64 * index, 0, 64]);
          Reflect.apply(batch.fsync, batch, [synced]);
          return Reflect.apply(batch.submit, batch, [given]);
        },
      },
      { ...ring("stats", []), worksClosed: true },
      { ...ring("ref", []), worksClosed: true },
      { ...ring("unref", []), worksClosed: true },
      { ...ring("close", []), worksClosed: true },
      file("read", [plain, maybe(to(100)), maybe(to(100)), maybe(position)]),
      file("write", [plain, maybe(to(100)), maybe(to(100)), maybe(to(10_000))]),
      file("readv", [list(plain), maybe(position)]),
      file("writev", [list(plain), maybe(to(10_000))]),
      file("readFixed", [buffer, options(fixed)]),
      file("writeFixed", [buffer, options({ ...fixed, append: one(true, false) })]),
      file("writeDurably", [plain, maybe(to(100)), maybe(to(100)), maybe(to(10_000))]),
      file("truncate", [to(10_000)], "node:fs"),
      file("chmod", [one(0o644, 0o600)], "node:fs"),
      file("utimes", [to(10_000), to(10_000)], "node:fs"),
      file("datasync", []),
      file("stat", [maybe(options({ bigint: one(true, false) }))], "node:fs"),
      file("readFile", [maybe(one("utf8", null, { encoding: "hex" }))]),
      file("writeFile", [one("text", Buffer.alloc(5000), ["a", "b"])]),
      {
        ...file("readable", [
          options({
            pool,
            position,
            length: to(10_000),
            depth: one(1, 4),
            zeroCopy: one(true, false),
            autoClose: one(true, false),
            signal,
          }),
        ]),
        make: ([given]) => {
          const target = this.#current;
          if (!(target instanceof RingFile)) return undefined;
          const stream = Reflect.apply(target.readable, target, [given]);
          return (async () => {
            let chunks = 0;
            for await (const chunk of stream) if (chunk.length === 0 || ++chunks === 3) break;
          })();
        },
      },
      {
        ...file("writable", [
          options({
            pool,
            position: to(10_000),
            depth: one(1, 4),
            durable: one(true, false),
            autoClose: one(true, false),
            signal,
          }),
        ]),
        make: ([given]) => {
          const target = this.#current;
          if (!(target instanceof RingFile)) return undefined;
          const stream = Reflect.apply(target.writable, target, [given]);
          return (async () => {
            const writer = stream.getWriter();
            writer.closed.catch(() => undefined); // write() and close() report the same error
            await writer.write("some text");
            await writer.write(new Uint8Array(10_000));
            await writer.close();
          })();
        },
      },
      { ...file("close", []), worksClosed: true },
      made(
        "copyFile",
        [path, ownPath, maybe(options({ pool, depth: one(1, 4), durable: one(false), signal }))],
        [...onPath, ...onFile, ...making],
        (values) => Reflect.apply(copyFile, undefined, values),
      ),
      made(
        "hashFile",
        [
          path,
          maybe(
            options({
              pool,
              ring: this.#any("ring"),
              algorithm: one("sha256", "md5", "none"),
              depth: one(1, 4),
              signal,
            }),
          ),
        ],
        [...onPath, ...onFile, ...making],
        (values) => Reflect.apply(hashFile, undefined, values),
      ),
      made("probe", [], [], probe),
    ];
  }
}

let world: World | undefined;
/** Warnings about dropped objects. There must be none: everything is closed, or the library has to close it. */
const dropped: string[] = [];
process.on("warning", (warning) => {
  if ("code" in warning && warning.code === "BUN_URING_DROPPED") dropped.push(warning.message);
});

async function run(job: CallerJob): Promise<void> {
  for (const name of ["a", "b"]) writeFileSync(`${job.folder}/${name}`, new Uint8Array(9000));
  await hashFile(`${job.folder}/a`); // makes the thread's ring, which stays open
  world = new World(job);
  for (const step of job.steps) {
    world.step(step);
    if (step.yields === 1) await Promise.resolve();
    if (step.yields === 2) await new Promise(setImmediate);
  }
  await world.end();
  const { calls, outcomes, trace } = world;
  const faults = [...world.faults, ...dropped.splice(0)];
  world = undefined;
  self.postMessage({ calls, outcomes, faults, trace: faults.length > 0 ? trace : [] } satisfies CallerNews);
}

self.addEventListener(
  "message",
  ({ data }: MessageEvent<CallerJob | { readonly token: SlotToken } | { readonly handle: unknown }>) => {
    if ("steps" in data) void run(data);
    else world?.give(data);
  },
);
