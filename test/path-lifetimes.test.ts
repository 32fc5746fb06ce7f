/** Whole files by path that are aborted, closed, or whose Worker ends, in every phase: nothing may be left. */
import { describe, expect } from "bun:test";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { Ring } from "bun-uring";
import { coreOf } from "../lib/ring/ring.ts";
import { times } from "./support/effort.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { fifo } from "./support/pipes.ts";
import { run } from "./support/programs.ts";
import { Random } from "./support/random.ts";
import { needs, test } from "./support/real-processors.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";

/** The descriptors of rings that this process has. */
function ringDescriptors(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[io_uring]";
    } catch {
      return false; // the descriptor of the listing itself, closed by now
    }
  });
}

/** The files in the registered table of any ring of this process. */
function registeredFiles(): string[] {
  return ringDescriptors().flatMap((fd) => {
    const text = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    const [, list = ""] = /^UserFiles:\s+\d+\n((?: .*\n)*)/m.exec(text) ?? [];
    return list.split("\n").filter((line) => /^\s*\d+: (?!<none>)/.test(line));
  });
}

interface Files {
  readonly folder: Folder;
  readonly small: { readonly path: string; readonly content: Buffer };
  readonly large: { readonly path: string; readonly content: Buffer };
  readonly silent: string;
}

function makeFiles(): Files {
  const folder = new Folder();
  return {
    folder,
    small: folder.random("small", 3000),
    large: folder.random("large", 300_000),
    silent: fifo(`${folder.path}/silent`),
  };
}

interface Outcome {
  readonly kind: string;
  readonly value: unknown;
}

/** Starts a random call. Its outcome is what it resolves to, or the error's code. */
function startRandom(ring: Ring, random: Random, files: Files, signal: AbortSignal | undefined): Promise<Outcome> {
  const { folder, small, large, silent } = files;
  const options = { signal };
  const write = (size: number) =>
    ring.writeFile(`${folder.path}/out${random.below(20)}`, Buffer.alloc(size, 1), options);
  const read = (path: string, content?: Buffer) =>
    ring.readFile(path, options).then((found) => (content === undefined || found.equals(content) ? "right" : "WRONG"));
  const readAll = async () => {
    const paths = [small.path, large.path, silent, small.path];
    let right = 0;
    for await (const { path, bytes } of ring.readFiles(paths, { ...options, ordered: false })) {
      if (path === silent || bytes === undefined) continue;
      if (!bytes.equals(path === small.path ? small.content : large.content)) return "WRONG";
      if (++right === 3) break; // the FIFO never ends
    }
    return "right";
  };
  const calls: Readonly<Record<string, () => Promise<unknown>>> = {
    small: () => read(small.path, small.content),
    large: () => read(large.path, large.content),
    silent: () => read(silent),
    missing: () => read(`${folder.path}/missing`),
    write: () => write(random.below(70_000)),
    writeLarge: () => write(300_000),
    append: () => ring.appendFile(`${folder.path}/log`, "line\n", options),
    parts: () => ring.writeFile(`${folder.path}/parts`, ["a", Buffer.alloc(1000), "b"].values(), options),
    many: readAll,
    open: async () => await (await ring.open(small.path, options)).close(),
    openSilent: async () => await (await ring.open(silent, options)).close(),
  };
  const names = Object.keys(calls);
  const kind = names[random.below(names.length)] ?? "small";
  return (calls[kind]?.() ?? Promise.resolve()).then(
    (value) => ({ kind, value }),
    (error: unknown) => ({ kind, value: error instanceof Error && "code" in error ? error.code : error }),
  );
}

const waitsForever = (kind: string) => kind === "silent" || kind === "openSilent";

describe("aborts at random times", () => {
  for (const entries of [128, 1024, 2, 1])
    test(`leave no descriptor, no registered file and no operation behind, and the ring goes on, with ${entries} entries`, () =>
      leavingNothing(async () => {
        const files = makeFiles();
        using folder = files.folder;
        const random = new Random(entries);
        await using ring = new Ring({ entries });
        const reason = new Error("enough");
        for (let round = 0; round < times(40); round++) {
          const stops: AbortController[] = [];
          const outcomes = Array.from({ length: 60 }, () => {
            const stop = new AbortController();
            stops.push(stop);
            return startRandom(ring, random, files, stop.signal);
          });
          for (const stop of stops.toSorted(() => random.fraction() - 0.5)) {
            if (random.below(3) === 0) for (let step = random.below(4); step > 0; step--) await ring.nop();
            if (random.below(20) === 0) await ring.timeout(random.fraction());
            stop.abort(reason);
          }
          for (const { kind, value } of await Promise.all(outcomes)) {
            const expected: unknown[] = [
              undefined,
              "right",
              "ABORT_ERR",
              reason,
              ...(kind === "missing" ? ["ENOENT"] : []),
            ];
            expect([kind, expected.includes(value) ? "expected" : value]).toEqual([kind, "expected"]);
          }
          while (ring.inFlight > 0) await ring.timeout(0.1);
          expect([round, fdsUnder(folder.path)]).toEqual([round, 0]);
        }
        expect(registeredFiles().filter((line) => line.includes(folder.path))).toEqual([]);
        for (let index = 0; index < 300; index += 100)
          for (const content of await Promise.all(Array.from({ length: 100 }, () => ring.readFile(files.small.path))))
            expect(Buffer.compare(content, files.small.content)).toBe(0);
        await ring.writeFile(`${folder.path}/after`, "after");
        expect(await ring.readFile(`${folder.path}/after`, "utf8")).toBe("after");
      }));
});

test("a ring that is closed at any time settles every call once, and leaves nothing open", () =>
  leavingNothing(async () => {
    const files = makeFiles();
    using folder = files.folder;
    const random = new Random(7);
    for (let round = 0; round < times(100); round++) {
      const ring = new Ring({ entries: random.pick([1, 2, 16, 128, 1024]) });
      const outcomes = Array.from({ length: 5 + random.below(300) }, () => startRandom(ring, random, files, undefined));
      for (let step = random.below(6); step > 0; step--) await ring.nop();
      if (random.below(3) === 0) await ring.timeout(random.fraction() * 3);
      await ring.close();
      expect([ring.inFlight, fdsUnder(folder.path)]).toEqual([0, 0]);
      for (const { kind, value } of await Promise.all(outcomes)) {
        const fails: unknown[] = ["ECANCELED", "EBADF", ...(kind === "missing" ? ["ENOENT"] : [])];
        const expected = waitsForever(kind) ? fails : [undefined, "right", ...fails];
        expect([round, kind, expected.includes(value) ? "expected" : value]).toEqual([round, kind, "expected"]);
      }
    }
  }));

test("calls of a closed ring reject with EBADF", async () => {
  const ring = new Ring();
  await ring.close();
  for (const call of [
    ring.readFile(import.meta.path),
    ring.writeFile("/dev/null", "x"),
    ring.writeFile("/dev/null", Buffer.alloc(1e5)),
    ring.appendFile("/dev/null", "x"),
  ])
    expect(await thrown(() => call)).toMatchObject({ code: "EBADF", message: expect.stringContaining("closed") });
});

test("closing a ring does not wait for a program that owes writeFile() the next part", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { promise, resolve } = Promise.withResolvers<void>();
    const owing = Promise.withResolvers<void>();
    let ended = 0;
    async function* parts() {
      try {
        yield "one";
        owing.resolve();
        await promise;
        yield "two";
      } finally {
        ended++;
      }
    }
    const ring = new Ring();
    const writing = thrown(() => ring.writeFile(`${folder.path}/file`, parts()));
    await owing.promise;
    await ring.close();
    expect(await writing).toMatchObject({ code: "ECANCELED", path: `${folder.path}/file` });
    expect([fdsUnder(folder.path), readFileSync(`${folder.path}/file`, "utf8")]).toEqual([0, "one"]);
    resolve();
    await new Promise(setImmediate);
    expect(ended).toBe(1);
  }));

test("a task that begins to wait for the program when its ring is already closing is told so at once", () =>
  leavingNothing(async () => {
    const ring = new Ring();
    const { requests } = coreOf(ring);
    const told: string[] = [];
    requests.onClosing(() => told.push("before"));
    const closed = ring.close();
    requests.onClosing(() => told.push("after"));
    expect(told).toEqual(["before", "after"]);
    await closed;
  }));

test("a signal whose methods are the program's own may close the ring or start other calls, at any time", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 100);
    for (const act of ["close", "start", "throw"] as const)
      for (const method of ["addEventListener", "removeEventListener"] as const) {
        const ring = new Ring();
        const started: Promise<unknown>[] = [];
        const signal = Object.assign(new EventTarget(), { aborted: false, reason: undefined });
        const original = signal[method];
        Object.assign(signal, {
          [method]: (...given: Parameters<typeof original>) => {
            if (act === "close") started.push(ring.close());
            else if (act === "start") started.push(ring.readFile(path), ring.writeFile(`${path}-new`, "x"));
            else throw new Error("the program's own");
            Reflect.apply(original, signal, given);
          },
        });
        const options = { signal };
        const outcomes = await Promise.allSettled([
          Reflect.apply(ring.readFile, ring, [path, options]),
          Reflect.apply(ring.writeFile, ring, [`${path}-other`, "x", options]),
          Reflect.apply(ring.appendFile, ring, ["/dev/null", "x", options]),
          ring.readFile(path),
        ]);
        await Promise.all(started);
        const [, , , own] = outcomes;
        if (act !== "close") expect(own).toMatchObject({ status: "fulfilled" });
        if (own?.status === "fulfilled") expect(own.value).toEqual(content);
        await ring.close();
        expect([ring.inFlight, fdsUnder(folder.path)]).toEqual([0, 0]);
      }
  }));

test("a ring that is dropped carries out what was started, however many requests that takes", () =>
  leavingNothing(async () => {
    const files = makeFiles();
    using folder = files.folder;
    const before = ringDescriptors().length;
    const drop = () => {
      const ring = new Ring({ entries: 8 });
      return Array.from({ length: 200 }, (_, index) =>
        index % 3 === 0 ? ring.writeFile(`${folder.path}/${index}`, `${index}`) : ring.readFile(files.large.path),
      );
    };
    const dropped = drop();
    Bun.gc(true);
    for (const [index, outcome] of (await Promise.all(dropped)).entries()) {
      if (index % 3 === 0) expect(readFileSync(`${folder.path}/${index}`, "utf8")).toBe(`${index}`);
      else expect(outcome).toEqual(files.large.content);
    }
    dropped.length = 0;
    for (let turn = 0; turn < 500 && ringDescriptors().length > before; turn++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
  }));

const acts = ["readFile", "readLarge", "writeFile", "appendFile", "readFiles", "silent", "mixed"] as const;

// On an emulated processor, where starting a Worker takes a second, one of them has to do.
for (const act of acts)
  (act === "mixed" ? test : needs("a processor that is not emulated"))(
    `Workers that are terminated amid ${act} leave no descriptor and no ring, and close no other thread's file`,
    () =>
      leavingNothing(async () => {
        const files = makeFiles();
        using folder = files.folder;
        const random = new Random(13);
        const mine = Array.from({ length: 32 }, () => openSync(files.small.path, "r"));
        for (let round = 0; round < times(8); round++) {
          const workers = [1, 2].map(
            (seed) =>
              new TestWorker<string>("path-user", {
                act,
                folder: folder.path,
                seed: round * 10 + seed,
                silent: files.silent,
              }),
          );
          await Promise.all(workers.map((worker) => worker.answer()));
          await Bun.sleep(random.fraction() * 5); // the moment is what is random
          await Promise.all(workers.map((worker) => worker.terminate()));
          expect([act, round, fdsUnder(folder.path)]).toEqual([act, round, 32]);
        }
        for (const fd of mine) closeSync(fd);
      }),
  );

// Not 1: while it waits, a ring needs a descriptor itself.
for (const left of [0, 2, 5])
  needs("clone of ranges (Linux 6.13)")(
    `with ${left} free descriptors small files are still read by path; what needs a descriptor fails with EMFILE, and succeeds later`,
    async () => {
      using folder = new Folder();
      folder.random("small", 1000);
      folder.random("large", 300_000);
      writeFileSync(`${folder.path}/old`, "old");
      const { exitCode, stdout, stderr } = await run("few-descriptors-paths", { args: [folder.path, String(left)] });
      const short = left === 0 ? "EMFILE open" : "done";
      expect([exitCode, stderr, JSON.parse(stdout)]).toEqual([
        0,
        "",
        {
          few: { small: "done", many: "done", large: short, writeFile: short, appendFile: short, open: short },
          later: { small: "done", many: "done", large: "done", writeFile: "done", appendFile: "done", open: "done" },
        },
      ]);
    },
  );
