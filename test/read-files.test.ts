import { describe, expect } from "bun:test";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { type ReadFileResult, Ring } from "bun-uring";
import { collect } from "./support/collect.ts";
import { times } from "./support/effort.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { fifo } from "./support/pipes.ts";
import { Random } from "./support/random.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsUnder, leavingNothing, ringFds } from "./support/resources.ts";

interface Sample {
  readonly path: string;
  readonly content: Buffer;
}

interface Given {
  readonly ring: Ring;
  readonly folder: Folder;
  readonly samples: readonly Sample[];
  readonly paths: readonly string[];
  /** Fails unless this is the right result for the sample of its path. */
  check(result: ReadFileResult | undefined): void;
}

/** Runs `body` with files of which most are small and some are not. No descriptor may be left. */
async function withFiles(count: number, body: (given: Given) => Promise<void>): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    const random = new Random(3);
    const samples = Array.from({ length: count }, (_, index) =>
      folder.random(`${index}`, random.below(10) === 0 ? random.below(300_000) : random.below(5000)),
    );
    const byPath = new Map(samples.map(({ path, content }) => [path, content]));
    await using ring = new Ring();
    const check = (result: ReadFileResult | undefined) => {
      expect(result?.error).toBeUndefined();
      const expected = byPath.get(String(result?.path));
      expect([result?.path, Buffer.compare(result?.bytes ?? Buffer.alloc(1), expected ?? Buffer.alloc(2))]).toEqual([
        result?.path,
        0,
      ]);
    };
    await body({ ring, folder, samples, paths: samples.map(({ path }) => path), check });
    while (ring.inFlight > 0) await ring.nop();
    expect(fdsUnder(folder.path)).toBe(0);
  });
}

/** Paths one by one, each after a turn of the event loop. */
async function* slowly<Path>(paths: Iterable<Path>): AsyncGenerator<Path> {
  for (const path of paths) {
    await new Promise(setImmediate);
    yield path;
  }
}

describe("readFiles() yields every file once", () => {
  for (const concurrency of [undefined, 1, 2, 3, 7, 64])
    test(`in the order of the paths, from arrays, generators and async generators, with concurrency ${concurrency}`, () =>
      withFiles(200, async ({ ring, paths, check }) => {
        const options = concurrency === undefined ? {} : { concurrency };
        for (const source of [paths, paths.values(), new Set(paths), slowly(paths)]) {
          const found: unknown[] = [];
          for await (const result of ring.readFiles(source, options)) {
            check(result);
            found.push(result.path);
          }
          expect(found).toEqual([...paths]);
        }
      }));

  test("with `ordered: false` as they are ready, so that a slow one does not hold up the others", () =>
    withFiles(150, async ({ ring, folder, paths, check }) => {
      const slow = fifo(`${folder.path}/slow`);
      const found: unknown[] = [];
      for await (const result of ring.readFiles([slow, ...paths], { ordered: false })) {
        found.push(result.path);
        if (result.path !== slow) check(result);
        else expect(result.bytes?.toString()).toBe("at last");
        if (found.length === paths.length) writeFileSync(slow, "at last");
      }
      expect(found.at(-1)).toBe(slow);
      expect(found.toSorted()).toEqual([...paths, slow].toSorted());
    }));

  test("with the path as it was given, also a URL, and an error for each file that cannot be read", () =>
    withFiles(3, async ({ ring, folder, paths, check }) => {
      const url = pathToFileURL(paths[0] ?? "");
      const wrong: readonly unknown[] = [
        7,
        undefined,
        null,
        "zero\0byte",
        {},
        new URL("http://localhost/"),
        Symbol("s"),
      ];
      const given: unknown[] = [url, folder.path, `${folder.path}/missing`, ...wrong, "", "x/".repeat(3000), paths[1]];
      const found: ReadFileResult[] = [];
      const results: AsyncIterable<ReadFileResult> = Reflect.apply(ring.readFiles, ring, [given]);
      for await (const result of results) {
        if (found.push(result) === given.length) check(result);
      }
      expect(found.map(({ path }): unknown => path)).toEqual(given);
      expect(found[0]?.bytes).toBeDefined();
      expect(found.slice(1, -1)).toMatchObject([
        { error: { code: "EISDIR", syscall: "read", path: folder.path } },
        { error: { code: "ENOENT", syscall: "open", path: `${folder.path}/missing` } },
        ...wrong.map(() => ({ error: expect.any(TypeError) })),
        { error: { code: "ENOENT" } },
        { error: { code: "ENAMETOOLONG" } },
      ]);
    }));

  test("and nothing of an empty iterable; the end is repeated", () =>
    withFiles(0, async ({ ring }) => {
      for (const source of [[], slowly([])]) {
        const iteration = ring.readFiles(source);
        for (let call = 0; call < 3; call++) expect(await iteration.next()).toEqual({ done: true, value: undefined });
      }
    }));
});

test("the bytes of a file are good until the next step, while other files are read meanwhile", () =>
  withFiles(300, async ({ ring, paths, check }) => {
    for await (const result of ring.readFiles(paths)) {
      check(result);
      await Promise.all(paths.slice(0, 5).map((path) => ring.readFile(path)));
      check(result);
    }
  }));

test("files larger than maxBytes have an error, and the others are read", () =>
  withFiles(0, async ({ ring, folder }) => {
    for (const maxBytes of [0, 10, 65_535, 65_536, 65_537, 100_000]) {
      const sizes = [maxBytes, maxBytes + 1, Math.max(0, maxBytes - 1), 5_000_000];
      const files = sizes.map((size, index) => folder.random(`${index}`, size));
      const found = [];
      for await (const { bytes, error } of ring.readFiles(
        files.map(({ path }) => path),
        { maxBytes },
      ))
        found.push(bytes?.length ?? error);
      expect([maxBytes, ...found]).toMatchObject([
        maxBytes,
        maxBytes,
        { code: "ERR_FS_FILE_TOO_LARGE" },
        Math.max(0, maxBytes - 1),
        { code: "ERR_FS_FILE_TOO_LARGE" },
      ]);
    }
  }));

describe("next() several times at once", () => {
  for (const ordered of [true, false])
    test(`gives each call a file of its own, whose bytes are right until a later step, ordered: ${ordered}`, () =>
      withFiles(300, async ({ ring, paths, check }) => {
        const random = new Random(9);
        for (const source of [paths, slowly(paths)]) {
          const iteration = ring.readFiles(source, { ordered });
          const found = new Set<unknown>();
          for (let isOver = false; !isOver; ) {
            const steps = Array.from({ length: 1 + random.below(6) }, () => iteration.next());
            const answers = await Promise.all(steps);
            // Readers that are free read something else.
            await Promise.all(paths.slice(0, 20).map((path) => ring.readFile(path)));
            for (const step of answers) {
              if (step.done === true) isOver = true;
              else {
                check(step.value);
                found.add(step.value.path);
              }
            }
          }
          expect(found).toEqual(new Set(paths));
        }
      }));

  test("after the last file, all of them resolve to the end", () =>
    withFiles(3, async ({ ring, paths }) => {
      const iteration = ring.readFiles(paths);
      const steps = await Promise.all(Array.from({ length: 8 }, () => iteration.next()));
      expect(steps.map(({ done }) => done === true)).toEqual([false, false, false, true, true, true, true, true]);
    }));

  test("from within the source's own next() is answered as well", () =>
    withFiles(20, async ({ ring, paths, check }) => {
      const rest = paths.values();
      const nested: Promise<IteratorResult<ReadFileResult, undefined>>[] = [];
      const source = {
        next: () => {
          if (nested.length < 5) nested.push(iteration.next());
          return rest.next();
        },
        [Symbol.iterator]() {
          return this;
        },
      };
      const iteration = ring.readFiles(source, { concurrency: 2 });
      let count = 0;
      for await (const result of iteration) {
        check(result);
        count++;
      }
      for (const { done } of await Promise.all(nested)) if (done !== true) count++;
      expect([nested.length, count]).toEqual([5, 20]);
    }));
});

describe("leaving the loop", () => {
  for (const kind of ["sync", "async"] as const)
    for (const how of ["break", "throw"] as const)
      test(`by ${how} ends the ${kind} source, cancels what is being read, and leaves the ring usable`, () =>
        withFiles(200, async ({ ring, folder, paths, check }) => {
          const waiting = fifo(`${folder.path}/fifo`);
          let ended = 0;
          function* source() {
            try {
              yield* paths.slice(0, 5);
              for (;;) yield waiting;
            } finally {
              ended++;
            }
          }
          const loop = async () => {
            // Fewer FIFOs than the kernel has workers: before Linux 6.18 a read of one may hold a worker.
            const files = ring.readFiles(kind === "sync" ? source() : slowly(source()), { concurrency: 12 });
            for await (const result of files) {
              check(result);
              if (result.path !== paths[2]) continue;
              if (how === "break") break;
              throw new Error("out");
            }
          };
          if (how === "break") await loop();
          else expect((await thrown(loop)).message).toBe("out");
          await collect(() => ended === 1, 50); // an async source may owe a path, for which nobody waits
          expect(ended).toBe(1);
          while (ring.inFlight > 0) await ring.nop();
          for await (const result of ring.readFiles(paths)) check(result);
        }));

  test("by return(), twice and with calls of next() pending, resolves them all to the end", () =>
    withFiles(5, async ({ ring, folder, paths }) => {
      const iteration = ring.readFiles([fifo(`${folder.path}/fifo`), ...paths]);
      const pending = [iteration.next(), iteration.next()];
      const returned = await Promise.all([iteration.return?.(), iteration.return?.()]);
      for (const step of [...returned, ...(await Promise.all(pending)), await iteration.next()])
        expect(step).toEqual({ done: true, value: undefined });
    }));

  test("does not wait for a source that owes a path, and drops that path", () =>
    withFiles(5, async ({ ring, folder, paths, check }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      let ended = false;
      const source = (async function* () {
        try {
          yield* paths;
          await promise;
          yield `${folder.path}/never`;
        } finally {
          ended = true;
        }
      })();
      let count = 0;
      for await (const result of ring.readFiles(source)) {
        check(result);
        if (++count === 5) break;
      }
      expect(ended).toBe(false);
      resolve();
      await collect(() => ended, 10);
      expect([ended, ring.inFlight]).toEqual([true, 0]);
    }));

  test("with `await using` ends the iteration", () =>
    withFiles(5, async ({ ring, paths, check }) => {
      let ended = false;
      const source = (function* () {
        try {
          for (;;) yield* paths;
        } finally {
          ended = true;
        }
      })();
      {
        await using iteration = ring.readFiles(source);
        check((await iteration.next()).value);
      }
      expect(ended).toBe(true);
    }));
});

describe("an error of the source", () => {
  const failing: Readonly<Record<string, (paths: readonly string[]) => Iterable<string> | AsyncIterable<string>>> = {
    "thrown by a generator": function* (paths) {
      yield* paths;
      throw new Error("no more paths");
    },
    "thrown by an async generator": async function* (paths) {
      yield* slowly(paths);
      throw new Error("no more paths");
    },
    "that next() rejects with": (paths) => {
      const rest = paths.values();
      return {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            const step = rest.next();
            return step.done === true ? Promise.reject(new Error("no more paths")) : Promise.resolve(step);
          },
        }),
      };
    },
  };
  for (const [how, make] of Object.entries(failing))
    test(`${how} is thrown after the files before it, once`, () =>
      withFiles(100, async ({ ring, paths, check }) => {
        for (const ordered of [true, false]) {
          const iteration = ring.readFiles(make(paths), { ordered });
          let count = 0;
          const loop = async () => {
            for await (const result of iteration) {
              check(result);
              count++;
            }
          };
          expect([(await thrown(loop)).message, count]).toEqual(["no more paths", 100]);
          expect(await iteration.next()).toEqual({ done: true, value: undefined });
        }
      }));

  test("or steps that are no objects, are thrown as a TypeError", () =>
    withFiles(1, async ({ ring }) => {
      for (const step of [7, undefined, null, "text", Promise.resolve({})]) {
        const source = { [Symbol.iterator]: () => ({ next: () => step }) };
        const iteration: AsyncIterableIterator<ReadFileResult> = Reflect.apply(ring.readFiles, ring, [source]);
        expect(await thrown(() => iteration.next())).toBeInstanceOf(TypeError);
      }
    }));

  test("of the wrong kind, and wrong options, are refused at the call", () =>
    withFiles(1, async ({ ring, paths }) => {
      for (const wrong of ["text", 7, undefined, null, {}, () => paths])
        expect(() => Reflect.apply(ring.readFiles, ring, [wrong])).toThrow(TypeError);
      for (const options of [{ concurency: 1 }, { ordered: 1 }, { signal: {} }, { concurrency: "1" }])
        expect(() => Reflect.apply(ring.readFiles, ring, [paths, options])).toThrow(TypeError);
      for (const options of [{ concurrency: 0 }, { concurrency: 65 }, { concurrency: 1.5 }, { maxBytes: -1 }])
        expect(() => ring.readFiles(paths, options)).toThrow(RangeError);
    }));
});

describe("iterations on one ring do not wait for each other's program", () => {
  test("within each other, and with readFile() inside", () =>
    withFiles(12, async ({ ring, paths, check }) => {
      const nest = async (depth: number): Promise<number> => {
        if (depth === 0) return 1;
        let count = 0;
        for await (const result of ring.readFiles(paths.slice(0, 3))) {
          count += await nest(depth - 1);
          await ring.readFile(paths[5] ?? "");
          check(result);
        }
        return count;
      };
      expect(await nest(6)).toBe(3 ** 6);
    }));

  test("hundreds at once, each of which holds content", () =>
    withFiles(40, async ({ ring, paths, check }) => {
      const counts = await Promise.all(
        Array.from({ length: times(300) }, async () => {
          let count = 0;
          for await (const result of ring.readFiles(paths)) {
            await ring.readFile(paths[5] ?? ""); // not in vain, although the others hold content meanwhile
            check(result);
            count++;
          }
          return count;
        }),
      );
      expect(new Set(counts)).toEqual(new Set([40]));
    }));

  needs("clone of ranges (Linux 6.13)")("and those that are dropped keep no reader from others", () =>
    withFiles(80, async ({ ring, paths, check }) => {
      const drop = async (signal?: AbortSignal) => {
        const iteration = ring.readFiles(paths, { signal });
        await iteration.next();
        return new WeakRef(iteration);
      };
      const longLived = new AbortController();
      const dropped: WeakRef<object>[] = [];
      for (let index = 0; index < 100; index++)
        dropped.push(await drop(index % 2 === 0 ? longLived.signal : undefined));
      await collect(() => dropped.every((reference) => reference.deref() === undefined));
      expect(dropped.filter((reference) => reference.deref() !== undefined).length).toBeLessThan(5);
      const before = ring.stats().submissions;
      // One iteration alone gets memory that is not copied again: a reader's content has its own buffer.
      const { value } = await ring.readFiles([paths[0] ?? ""]).next();
      check(value);
      expect(value?.bytes?.buffer).toBeInstanceOf(SharedArrayBuffer);
      expect(ring.stats().submissions).toBeGreaterThan(before);
    }),
  );
});

describe("an abort", () => {
  test("before the call is thrown by it; during the iteration it rejects the pending step with the signal's reason", () =>
    withFiles(30, async ({ ring, folder, paths, check }) => {
      const reason = new Error("enough");
      const aborted = new AbortController();
      aborted.abort(reason);
      expect(() => ring.readFiles(paths, { signal: aborted.signal })).toThrow(reason);
      let ended = 0;
      for (const source of [
        (function* () {
          try {
            yield* paths;
            yield fifo(`${folder.path}/fifo`);
          } finally {
            ended++;
          }
        })(),
        (async function* () {
          try {
            yield* slowly([...paths, `${folder.path}/fifo`]);
          } finally {
            ended++;
          }
        })(),
      ]) {
        const stop = new AbortController();
        const iteration = ring.readFiles(source, { signal: stop.signal });
        for (let step = 0; step < paths.length; step++) check((await iteration.next()).value);
        const pending = iteration.next();
        stop.abort(reason);
        expect(await thrown(() => pending)).toBe(reason);
        expect(await iteration.next()).toEqual({ done: true, value: undefined });
      }
      await collect(() => ended === 2, 10);
      expect(ended).toBeLessThanOrEqual(2);
    }));

  test("between two steps rejects the next one, and an error of the source's return() is not heard of", () =>
    withFiles(5, async ({ ring, paths, check }) => {
      const stop = new AbortController();
      const rest = Array.from({ length: 100 }, () => paths)
        .flat()
        .values();
      const source = {
        [Symbol.iterator]: () => ({
          next: () => rest.next(),
          return: () => {
            throw new Error("no return");
          },
        }),
      };
      const iteration = ring.readFiles(source, { signal: stop.signal });
      check((await iteration.next()).value);
      const reason = new Error("enough");
      stop.abort(reason);
      expect(await thrown(() => iteration.next())).toBe(reason);
      expect(await iteration.next()).toEqual({ done: true, value: undefined });
    }));
});

test("closing the ring ends what is being read; each file after that has an error, and a new call is refused", () =>
  withFiles(30, async ({ folder, paths, check }) => {
    const ring = new Ring();
    const iteration = ring.readFiles([...paths, fifo(`${folder.path}/fifo`), ...paths], { concurrency: 40 });
    for (let step = 0; step < paths.length; step++) check((await iteration.next()).value);
    const pending = iteration.next();
    await ring.close();
    expect((await pending).value?.error).toMatchObject({ code: "ECANCELED" });
    const codes = new Set<unknown>();
    for await (const { bytes, error } of iteration)
      if (bytes === undefined) codes.add(error !== undefined && "code" in error ? error.code : error);
    expect([...codes].filter((code) => code !== "EBADF" && code !== "ECANCELED")).toEqual([]);
    expect(() => ring.readFiles(paths)).toThrow("the ring is closed");
  }));

test("a ring that is dropped stays open for its iteration, and no longer", () =>
  withFiles(300, async ({ paths, check }) => {
    const before = ringFds();
    const iterate = async () => {
      let count = 0;
      for await (const result of new Ring().readFiles(paths, { concurrency: 4 })) {
        check(result);
        if (++count % 50 === 0) Bun.gc(true);
      }
      return count;
    };
    expect(await iterate()).toBe(300);
    await collect(() => ringFds() === before);
  }));

test("the memory of an iteration is bounded, however many files there are and however slow the program is", () =>
  withFiles(0, async ({ ring, folder }) => {
    const { path } = folder.random("file", 60_000);
    let given = 0;
    let taken = 0;
    let most = 0;
    const endless = (function* () {
      for (;;) {
        given++;
        yield path;
      }
    })();
    for await (const { bytes } of ring.readFiles(endless)) {
      taken++;
      most = Math.max(most, given - taken);
      expect(bytes?.length).toBe(60_000);
      if (taken === 2000) break;
    }
    expect(most).toBeLessThanOrEqual(64);
  }));

test("a large file whose rest comes slowly is aborted with the iteration, and its descriptor is closed", () =>
  withFiles(1, async ({ ring, folder }) => {
    const path = fifo(`${folder.path}/fifo`);
    const iteration = ring.readFiles([path]);
    const step = iteration.next();
    const fd = openSync(path, "r+");
    for (; fdsUnder(folder.path) < 2; writeSync(fd, "x")) await ring.timeout(1);
    await iteration.return?.();
    expect(await step).toEqual({ done: true, value: undefined });
    closeSync(fd);
  }));
