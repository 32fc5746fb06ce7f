import { expect, spyOn, test } from "bun:test";
import { BufferPool, type FixedBuffer, Ring, type RingFile, UringError } from "bun-uring";
import { Uring } from "../lib/uring/uring.ts";
import { times } from "./support/effort.ts";
import { uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { fc } from "./support/properties.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";

const slotBytes = 4096;
const slotCount = 8;

interface Place {
  readonly ring: Ring;
  readonly pool: BufferPool;
  readonly file: RingFile;
  readonly buffer: FixedBuffer;
  readonly path: string;
}

class Poison extends Error {}

/** What a getter, or a method that a program has replaced, may do in the middle of a call. */
const deeds: Record<string, (place: Place, value: unknown) => unknown> = {
  throws: () => {
    throw new Poison("poison");
  },
  "throws undefined": () => {
    throw undefined;
  },
  "starts an operation": ({ ring }, value) => {
    ring.nop().catch(() => undefined);
    return value;
  },
  "starts a chain": ({ ring }, value) => {
    try {
      for (const one of ring.chain([() => ring.nop(), () => ring.nop()])) one.catch(() => undefined);
    } catch {
      // The call is part of a chain, where this is refused.
    }
    return value;
  },
  "releases the slot": ({ buffer }, value) => {
    buffer[Symbol.dispose]();
    return value;
  },
  "closes the file": ({ file }, value) => {
    try {
      file.close().catch(() => undefined);
    } catch {
      // The call is part of a chain, where this is refused.
    }
    return value;
  },
  "closes the ring": ({ ring }, value) => {
    ring.close().catch(() => undefined);
    return value;
  },
  "is another type": () => 5n,
  "is a fraction": () => 1.5,
  "is an object": () => ({ valueOf: () => 1 }),
};

/** A copy of the options in which one has a getter. */
function poisoned(options: Record<string, unknown>, key: string, deed: () => unknown): Record<string, unknown> {
  return Object.defineProperty({ ...options }, key, { get: deed, enumerable: true, configurable: true });
}

/** A real signal with one property replaced. */
function oddSignal(key: string, deed: () => unknown): AbortController {
  const controller = new AbortController();
  const isMethod = typeof Reflect.get(controller.signal, key) === "function";
  Object.defineProperty(controller.signal, key, isMethod ? { value: deed } : { get: deed });
  return controller;
}

/** A view with one property replaced. */
function oddView(key: string, deed: () => unknown): Uint8Array {
  return Object.defineProperty(shared(64), key, { get: deed });
}

type Start = (place: Place, options: Record<string, unknown>) => Promise<unknown>;

// Calls with values of any type, as a program in JavaScript can make them.
const untyped = (call: unknown, self: object, ...values: unknown[]) =>
  Promise.resolve(Reflect.apply(call as (...values: unknown[]) => unknown, self, values));

/** Operations, and the options that they read. */
const operations: Record<string, { readonly start: Start; readonly options: Record<string, unknown> }> = {
  readFixed: {
    start: ({ ring, file, buffer }, options) => untyped(ring.readFixed, ring, file, buffer, options),
    options: { position: 0, offset: 1, length: 10, noWait: false },
  },
  writeFixed: {
    start: ({ ring, file, buffer }, options) => untyped(ring.writeFixed, ring, file, buffer, options),
    options: { offset: 1, length: 10, dsync: false, append: false },
  },
  readvFixed: {
    start: ({ ring, file, buffer }, options) => untyped(ring.readvFixed, ring, file, [buffer], options),
    options: { position: 0 },
  },
  "a part of readvFixed": {
    start: ({ ring, file, buffer }, part) =>
      untyped(ring.readvFixed, ring, file, [Object.defineProperty(part, "buffer", { value: buffer })]),
    options: { offset: 0, length: 5 },
  },
  read: {
    start: ({ ring, file }, options) => untyped(ring.read, ring, file, shared(10), options),
    options: { position: 0 },
  },
  write: {
    start: ({ ring, file }, options) => untyped(ring.write, ring, file, shared(10), options),
    options: { position: undefined },
  },
  writev: {
    start: ({ ring, file }, options) => untyped(ring.writev, ring, file, [shared(10), shared(5)], options),
    options: { position: 3n },
  },
  "RingFile.read": {
    start: ({ file }, options) => {
      Reflect.deleteProperty(options, "signal");
      return untyped(file.read, file, options);
    },
    options: { buffer: Buffer.alloc(5), offset: 0, length: 5, position: null },
  },
  fsync: { start: ({ ring, file }, options) => untyped(ring.fsync, ring, file, options), options: {} },
  statx: {
    start: ({ ring, file }, options) => untyped(ring.statx, ring, file, options),
    options: { mask: 1, flags: 0 },
  },
  fallocate: {
    start: ({ ring, file }, options) => untyped(ring.fallocate, ring, file, 10, options),
    options: { position: 0, mode: 0 },
  },
  open: {
    start: ({ ring, path }, options) => untyped(ring.open, ring, path, "r", 0, options).then((file) => file),
    options: { direct: false },
  },
  nop: { start: ({ ring }, options) => untyped(ring.nop, ring, options), options: {} },
  timeout: { start: ({ ring }, options) => untyped(ring.timeout, ring, 1, options), options: {} },
};

const names = Object.keys(operations);
const signalKeys = ["aborted", "reason", "throwIfAborted", "addEventListener", "removeEventListener", "onabort"];
const viewKeys = ["length", "byteLength", "byteOffset", "buffer", "subarray", "constructor"];

/**
 * One call. `how` says where the hostile getter or method is: in an option, in the signal, in the memory, or nowhere.
 */
const calls = fc.record({
  name: fc.constantFrom(...names),
  how: fc.constantFrom("option", "signal", "view", "nothing"),
  key: fc.nat({ max: 5 }),
  deed: fc.constantFrom(...Object.keys(deeds)),
  aborts: fc.constantFrom("never", "at once", "later"),
  linked: fc.boolean(),
});

test("a getter or method that throws, closes things or returns another type fails only its own operation: every promise settles, nothing stays in flight, and close() resolves", async () => {
  using folder = new Folder();
  const path = folder.write("file", Buffer.alloc(10_000, "x"));
  await leavingNothing(async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(calls, { minLength: 1, maxLength: 12 }), async (steps) => {
        using pool = new BufferPool({ count: slotCount, size: slotBytes });
        const ring = new Ring({ pool, entries: 2, cqEntries: 4 }); // most operations wait for room
        const file = await ring.open(path, "r+");
        const buffer = await pool.acquire();
        const place = { ring, pool, file, buffer, path };
        const outcomes: Promise<unknown>[] = [];
        const aborts: AbortController[] = [];
        const start = ({ name, how, key, deed, aborts: when }: (typeof steps)[number]): Promise<unknown> => {
          const { start, options } = operations[name] ?? { start: () => ring.nop(), options: {} };
          const keys = [...Object.keys(options), "signal"];
          const wanted = keys[key % keys.length] ?? "signal";
          const act = () => deeds[deed]?.(place, options[wanted]);
          const controller = how === "signal" ? oddSignal(signalKeys[key] ?? "aborted", act) : new AbortController();
          if (when === "at once") controller.abort(new Poison("aborted"));
          if (when === "later") aborts.push(controller);
          if (how === "view")
            return untyped(ring.read, ring, file, oddView(viewKeys[key] ?? "length", act), { position: 0 });
          return start(
            place,
            how === "option" ? poisoned({ ...options }, wanted, act) : { ...options, signal: controller.signal },
          );
        };
        for (const step of steps) {
          try {
            if (step.linked) outcomes.push(...ring.chain([() => start(step), () => ring.nop()]));
            else outcomes.push(start(step));
          } catch (error) {
            // Only a chain that cannot be started throws synchronously.
            if (!step.linked) throw error;
          }
        }
        for (const controller of aborts) controller.abort(new Poison("aborted later"));
        await Promise.allSettled(outcomes);
        // The kernel may not be done with aborted requests. When it is, a method of a signal may still close the ring.
        while (!ring.closed && ring.inFlight > 0)
          await ring.nop().catch((error: unknown) => expect(error).toMatchObject({ code: "ECANCELED" }));
        if (!ring.closed) expect(ring.stats()).toMatchObject({ inFlight: 0, waiting: 0 });
        await ring.close();
        expect(ring.stats()).toMatchObject({ inFlight: 0, waiting: 0 });
        buffer[Symbol.dispose]();
        expect(pool.available).toBe(slotCount);
      }),
      { numRuns: times(300) },
    );
  });
  expect(fdsUnder(folder.path)).toBe(0);
});

test("a ring that broke gives its slots back when it has closed", async () => {
  using pool = new BufferPool({ count: 2, size: 4096 });
  using ends = pipe();
  const ring = new Ring({ pool });
  const buffer = await pool.acquire();
  const read = uringError(() => ring.readFixed(ends.readFd, buffer));
  await ring.nop();
  {
    using _submit = spyOn(Uring.prototype, "submit").mockImplementation(() => {
      throw new UringError("EINVAL", "io_uring_submit");
    });
    expect((await uringError(() => ring.nop())).code).toBe("EINVAL");
  }
  expect((await read).code).toBe("EINVAL");
  buffer.release();
  expect(pool.available).toBe(1); // the kernel may still write to the other
  await ring.close();
  expect([pool.available, ring.inFlight]).toEqual([2, 0]);
});
