import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { probe, Ring } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { numbered } from "./support/content.ts";
import { times } from "./support/effort.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { run } from "./support/programs.ts";
import { Random } from "./support/random.ts";
import { fdsUnder, leavingNothing, openFds } from "./support/resources.ts";

const { O_APPEND, O_CREAT, O_DIRECT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;

/** Around the sizes at which files go another way. */
const sizes = [0, 1, 4096, 65_535, 65_536, 65_537, 131_072, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 5_000_003] as const;

const encodings = [
  "utf8",
  "utf-8",
  "utf16le",
  "ucs2",
  "latin1",
  "binary",
  "ascii",
  "base64",
  "base64url",
  "hex",
] as const;

/** Runs `body` with a ring and a folder, of which no descriptor may be left. */
async function withFolder(body: (ring: Ring, folder: Folder) => Promise<void>, folder = new Folder()): Promise<void> {
  await leavingNothing(async () => {
    using _folder = folder;
    await using ring = new Ring();
    await body(ring, folder);
    expect([fdsUnder(folder.path), ring.inFlight]).toEqual([0, 0]);
  });
}

describe("hundreds of whole files at once", () => {
  test("readFile() returns each file's own content, in memory of its own", () =>
    withFolder(async (ring, folder) => {
      const random = new Random(1);
      const files = Array.from({ length: 300 }, (_, index) =>
        folder.random(`${index}`, random.below(4) === 0 ? random.pick(sizes) : random.below(70_000)),
      );
      const before = openFds();
      const contents = await Promise.all(files.map(({ path }) => ring.readFile(path)));
      for (const [index, { content }] of files.entries())
        expect([index, Buffer.compare(contents[index] ?? Buffer.alloc(1), content)]).toEqual([index, 0]);
      expect(new Set(contents.map(({ buffer }) => buffer)).size).toBe(300);
      expect(contents.every(({ buffer }) => buffer instanceof ArrayBuffer)).toBe(true);
      expect(openFds()).toBeLessThanOrEqual(before + 1); // the ring's eventfd
    }));

  test("writeFile() replaces each file's content, whether that was longer, shorter, or there was no file", () =>
    withFolder(async (ring, folder) => {
      const random = new Random(2);
      const size = () => (random.below(4) === 0 ? random.pick(sizes) : random.below(70_000));
      for (let round = 0; round < times(3); round++) {
        const written = Array.from({ length: 300 }, (_, index) => {
          if (random.below(3) > 0) folder.random(`${index}`, size());
          const content = Buffer.alloc(size(), `${round} ${index} `);
          return { path: `${folder.path}/${index}`, content };
        });
        await Promise.all(written.map(({ path, content }) => ring.writeFile(path, content)));
        for (const { path, content } of written)
          expect([path, Buffer.compare(readFileSync(path), content)]).toEqual([path, 0]);
      }
    }));

  test("appendFile() of one file loses and interleaves nothing", () =>
    withFolder(async (ring, folder) => {
      const path = `${folder.path}/log`;
      const lines = Array.from({ length: 500 }, (_, index) => `${index} `.repeat(1 + (index % 300)).concat("\n"));
      await Promise.all(lines.map((line) => ring.appendFile(path, line)));
      expect(readFileSync(path, "latin1").split("\n").slice(0, -1).toSorted()).toEqual(
        lines.map((line) => line.slice(0, -1)).toSorted(),
      );
    }));
});

for (const size of sizes)
  test(`a file of ${size} bytes is written, appended to and read as by node:fs/promises, in every form of data`, () =>
    withFolder(async (ring, folder) => {
      const { content } = folder.random("original", size);
      const text = content.toString("latin1");
      const shared = new SharedArrayBuffer(size);
      new Uint8Array(shared).set(content);
      const odd = new Uint8Array(size + 3);
      odd.set(content, 3);
      const forms = {
        text,
        content,
        view: odd.subarray(3),
        dataView: new DataView(odd.buffer, 3),
        arrayBuffer: new Uint8Array(content).buffer,
        shared,
        parts: [text.slice(0, 10), content.subarray(10, 70_000), "", content.subarray(70_000)],
        stream: new Blob([content]).stream(),
        generator: (async function* () {
          yield content.subarray(0, 3);
          await Bun.sleep(0);
          yield new DataView(content.buffer, content.byteOffset + Math.min(3, size));
        })(),
      };
      for (const [form, data] of Object.entries(forms)) {
        const path = `${folder.path}/${form}`;
        const encoding = "latin1";
        await ring.writeFile(path, data, encoding);
        expect([form, Buffer.compare(readFileSync(path), content)]).toEqual([form, 0]);
        if (form !== "stream" && form !== "generator") {
          await ring.appendFile(path, data, { encoding });
          expect([form, Buffer.compare(await ring.readFile(path), Buffer.concat([content, content]))]).toEqual([
            form,
            0,
          ]);
        }
      }
    }));

test("every encoding reads and writes what node:fs/promises reads and writes", () =>
  withFolder(async (ring, folder) => {
    for (const size of [0, 11, 65_537, 200_000])
      for (const encoding of encodings) {
        const { path } = folder.random("file", size);
        const text = await readFile(path, encoding);
        expect(await ring.readFile(path, encoding)).toBe(text);
        expect(await ring.readFile(path, { encoding })).toBe(text);
        await ring.writeFile(`${path}-mine`, text, encoding);
        await writeFile(`${path}-theirs`, text, encoding);
        expect(Buffer.compare(readFileSync(`${path}-mine`), readFileSync(`${path}-theirs`))).toBe(0);
      }
    for (const options of [undefined, null, "buffer", { encoding: null }, { encoding: "buffer" }] as const)
      expect(await ring.readFile(folder.write("text", "\ufeffn\u00e4me"), options)).toEqual(
        Buffer.from("\ufeffn\u00e4me"),
      );
  }));

test("options mean what they mean to node:fs/promises: flag, mode with the umask, and flush", () =>
  withFolder(async (ring, folder) => {
    const umask = process.umask(0o027);
    try {
      for (const [index, mode] of [undefined, 0o600, 0o777, "640", 0o100644, 0o4755, 0].entries())
        for (const size of [10, 100_000]) {
          const options = mode === undefined ? {} : { mode };
          const path = `${folder.path}/${index}-${size}`;
          await ring.writeFile(path, Buffer.alloc(size), options);
          await writeFile(`${path}-theirs`, Buffer.alloc(size), options);
          await ring.appendFile(`${path}-appended`, Buffer.alloc(size), options);
          const expected = statSync(`${path}-theirs`).mode;
          expect([mode, statSync(path).mode, statSync(`${path}-appended`).mode]).toEqual([mode, expected, expected]);
        }
    } finally {
      process.umask(umask);
    }
    const path = folder.write("file", "0123456789");
    await ring.writeFile(path, "ab", { flag: "r+" });
    expect(await ring.readFile(path, "utf8")).toBe("ab23456789");
    await ring.writeFile(path, "cd", { flag: "a+" });
    expect(await ring.readFile(path, { encoding: "utf8", flag: "a+" })).toBe("ab23456789cd");
    await ring.writeFile(path, "ef", { flag: O_WRONLY | O_CREAT });
    expect(await ring.readFile(path, { encoding: "utf8", flag: O_RDWR })).toBe("ef23456789cd");
    await ring.writeFile(path, "gh", { flag: O_WRONLY | O_CREAT | O_TRUNC | O_APPEND });
    expect(await ring.readFile(path, { encoding: "utf8", flag: "r" })).toBe("gh");
    expect(await thrown(() => ring.writeFile(path, "x", { flag: "wx" }))).toMatchObject({ code: "EEXIST" });
    expect(await thrown(() => ring.writeFile(path, "x", { flag: O_WRONLY | O_CREAT | O_EXCL }))).toMatchObject({
      code: "EEXIST",
    });
    expect(await thrown(() => ring.writeFile(path, "x", { flag: O_RDONLY | O_CREAT }))).toMatchObject({
      code: "EBADF",
    });
    expect(await ring.readFile(path, { encoding: "utf8", flag: "w+" })).toBe("");
    expect(await ring.readFile(`${folder.path}/new`, { encoding: "utf8", flag: "wx+" })).toBe("");
    await ring.writeFile(path, "flushed", { flush: true });
    await ring.appendFile(path, " twice", { flush: true });
    expect(readFileSync(path, "utf8")).toBe("flushed twice");
  }));

needs("a file system with O_DIRECT")("readFile() reads a file whole with the flag O_DIRECT", () =>
  withFolder(async (ring, folder) => {
    for (const size of [0, 1, 4096, 100_001]) {
      const { path, content } = folder.random("file", size);
      expect(Buffer.compare(await ring.readFile(path, { flag: O_DIRECT }), content)).toBe(0);
    }
  }),
);

test("an error has the code, the syscall and the path that node:fs/promises gives it", () =>
  withFolder(async (ring, folder) => {
    const at = (name: string) => `${folder.path}/${name}`;
    folder.write("file", "content");
    mkdirSync(at("folder"));
    symlinkSync("loop", at("loop"));
    symlinkSync("missing/target", at("dangling"));
    const long = 70_000;
    const paths = [
      ...[
        "missing",
        "missing/file",
        "file/",
        "file/x",
        "folder",
        "folder/",
        "loop",
        "loop/x",
        "dangling",
        "x".repeat(256),
      ],
      ...["n\u00e4me \u{1f600}", "lone \ud800", ""],
    ];
    const parts = (error: Error & { code?: unknown; syscall?: unknown; path?: unknown }) => [
      error.code,
      error.syscall,
      // Only this library names the path of a file that is open already.
      error.syscall === "open" ? String(error.path ?? "").toWellFormed() : undefined,
    ];
    const outcome = (call: Promise<unknown>) => call.then(() => "done", parts);
    for (const name of paths) {
      const path = name === "" ? "" : at(name);
      expect([name, await outcome(ring.readFile(path))]).toEqual([name, await outcome(readFile(path))]);
      for (const content of ["x", "x".repeat(long)]) {
        if (!/^(n|lone)/.test(name)) {
          expect([name, await outcome(ring.writeFile(path, content))]).toEqual([
            name,
            await outcome(writeFile(path, content)),
          ]);
          expect([name, await outcome(ring.appendFile(path, content))]).toEqual([
            name,
            await outcome(appendFile(path, content)),
          ]);
        }
      }
    }
    const tooLong = at("x/".repeat(2100));
    for (const call of [
      ring.readFile(tooLong),
      ring.writeFile(tooLong, "x"),
      ring.appendFile(tooLong, "x".repeat(long)),
    ])
      expect(await outcome(call)).toEqual(["ENAMETOOLONG", "open", tooLong]); // as Node.js: Bun names no syscall
    for (const wrong of ["zero\0byte", "\0", 7, null, undefined, {}, new URL("http://localhost/"), Symbol("path")])
      for (const call of [
        () => Reflect.apply(ring.readFile, ring, [wrong]),
        () => Reflect.apply(ring.writeFile, ring, [wrong, "x"]),
        () => Reflect.apply(ring.appendFile, ring, [wrong, "x"]),
      ]) {
        const promise: unknown = call();
        expect(promise).toBeInstanceOf(Promise);
        expect(await thrown(() => promise)).toBeInstanceOf(TypeError);
      }
    for (const options of [{ encodin: "utf8" }, { encoding: "utf7" }, { flag: "q" }, { flag: -1 }, { signal: {} }, 7]) {
      const calls = [
        () => Reflect.apply(ring.readFile, ring, [at("file"), options]),
        () => Reflect.apply(ring.writeFile, ring, [at("file"), "x", options]),
      ];
      for (const call of calls) expect((await thrown(call)).name).toMatch(/^(Type|Range)Error$/);
    }
    for (const data of [undefined, null, 7, {}, true])
      expect(await thrown(() => Reflect.apply(ring.writeFile, ring, [at("file"), data]))).toMatchObject({
        code: "ERR_INVALID_ARG_TYPE",
      });
    expect(readFileSync(at("file"), "utf8")).toBe("content");
    expect((await thrown(() => Promise.all(ring.chain([() => ring.readFile(at("file"))])))).message).toContain("chain");
    expect((await thrown(() => Promise.all(ring.chain([() => ring.writeFile(at("file"), "")])))).message).toContain(
      "chain",
    );
    expect(readFileSync(at("file"), "utf8")).toBe("content");
  }));

test("a path is never cut: one that is too long by a part of a character is ENAMETOOLONG, the longest is used", () =>
  withFolder(async (ring, folder) => {
    const path = folder.write("file", "content");
    for (const end of ["", "\u00e4", "\u20ac", "\u{1f600}"]) {
      for (let bytes = 4088; bytes < 4104; bytes++) {
        const slashes = bytes - Buffer.byteLength(path) - Buffer.byteLength(end);
        const long = `${"/".repeat(slashes)}${path}${end}`;
        const expected = bytes > 4095 ? "ENAMETOOLONG" : end === "" ? "content" : "ENOENT";
        const found = await ring.readFile(long, "utf8").catch(({ code }) => code);
        expect([bytes, end, found]).toEqual([bytes, end, expected]);
        if (expected !== "ENAMETOOLONG") continue;
        expect(await thrown(() => ring.writeFile(long, "wrong file"))).toMatchObject({ code: expected });
      }
    }
    expect(readFileSync(path, "utf8")).toBe("content");
  }));

test("relative paths are relative to the current folder, URLs are decoded, and odd names are found", () =>
  withFolder(async (ring, folder) => {
    const before = process.cwd();
    mkdirSync(`${folder.path}/below`);
    try {
      process.chdir(folder.path);
      await ring.writeFile("relative", "one");
      process.chdir("below");
      await ring.appendFile("../relative", " two");
      expect(await ring.readFile("./../relative", "utf8")).toBe("one two");
    } finally {
      process.chdir(before);
    }
    for (const name of ["%66ile", "n\u00e4me \u{1f600}", "a b#c?d", "lone \ud800", "line\nbreak", "x".repeat(255)]) {
      const path = `${folder.path}/${name}`;
      await ring.writeFile(path, name);
      expect(await readFile(path, "utf8")).toBe(Buffer.from(name).toString());
      expect(await ring.readFile(pathToFileURL(path), "utf8")).toBe(Buffer.from(name).toString());
    }
  }));

test("writeFile() and appendFile() set a file's times as node:fs/promises does, also if there is nothing to write", () =>
  withFolder(async (ring, folder) => {
    const old = new Date(1_000_000_000_000);
    for (const content of ["", "x", "longer than before"])
      for (const before of ["", "before"])
        for (const [mine, theirs] of [
          [ring.writeFile.bind(ring), writeFile],
          [ring.appendFile.bind(ring), appendFile],
        ] as const)
          for (const large of [false, true]) {
            const tail = large ? Buffer.alloc(100_000) : "";
            const outcomes = [];
            for (const write of [mine, theirs]) {
              const path = folder.write("file", before);
              utimesSync(path, old, old);
              const text = content === "" ? "" : `${content}${tail}`;
              await write(path, text);
              const { size, mtimeMs } = statSync(path);
              outcomes.push({ size, touched: mtimeMs !== old.getTime() });
            }
            expect([content, before, outcomes[0]]).toEqual([content, before, outcomes[1]]);
          }
  }));

needs("root, to become another user")(
  "a file that can only be written is written, and one that can only be read is read; another user's error is EACCES",
  async () => {
    using folder = new Folder();
    chmodSync(folder.path, 0o777);
    const { stdout, stderr } = await run("path-rights", { args: [folder.path] });
    expect([stderr, JSON.parse(stdout)]).toEqual([
      "",
      {
        "read 0200": "EACCES open",
        "read 0400": "content",
        "write 0200": "done",
        "write 0400": "EACCES open",
        "append 0200": "done",
        "append 0400": "EACCES open",
        "read below 0600": "EACCES open",
        "write below 0600": "EACCES open",
        "write new in 0500": "EACCES open",
        "write old in 0500": "done",
      },
    ]);
  },
);

needs("root")(
  "another user's file is opened with O_CREAT, as node:fs does, for fs.protected_regular to refuse it",
  () =>
    withFolder(async (ring, folder) => {
      for (const length of [10, 100_000]) {
        const [own, others] = [folder.write("own", "old"), folder.write("others", "old")];
        chownSync(others, 1000, 1000);
        const requests = async (path: string) => {
          const before = ring.stats().submitted;
          await ring.writeFile(path, "x".repeat(length));
          expect(readFileSync(path, "utf8")).toBe("x".repeat(length));
          return ring.stats().submitted - before;
        };
        const forOwn = await requests(own);
        expect([length, await requests(others)]).toEqual([length, forOwn + 2]); // a close, and a second open
      }
    }),
);

needs("root")(
  "another user's FIFO is opened with O_CREAT, for fs.protected_fifos to refuse it, and its reader sees no end in between",
  () =>
    withFolder(async (ring, folder) => {
      for (const { options, opens } of [
        // Where there are writers, a writer's open, and one more without O_CREAT.
        { options: { flush: false }, opens: probe().opcodes.includes("FTRUNCATE") ? 2 : 1 },
        { options: { flush: true }, opens: 1 },
      ]) {
        const own = `${folder.path}/own-${options.flush}`;
        const others = `${folder.path}/others-${options.flush}`;
        expect(Bun.spawnSync(["mkfifo", own, others]).exitCode).toBe(0);
        chownSync(others, 1000, 1000);
        const requests = async (path: string) => {
          const reader = openSync(path, O_RDONLY | constants.O_NONBLOCK);
          const before = ring.stats().submitted;
          await ring.writeFile(path, "content", options);
          const after = ring.stats().submitted;
          expect(readFileSync(reader, "utf8")).toBe("content");
          closeSync(reader);
          return after - before;
        };
        const forOwn = await requests(own);
        expect([options, await requests(others)]).toEqual([options, forOwn + 2 * opens]);
        const reading = Bun.spawn(["cat", others], { stdout: "pipe" }).stdout.text();
        await ring.writeFile(others, "content", options);
        expect(await reading).toBe("content");
      }
    }),
);

test("a file that grows or shrinks while it is read gives what was there at some time, in order", () =>
  withFolder(async (ring, folder) => {
    const random = new Random(5);
    for (let round = 0; round < times(100); round++) {
      const { path, content } = folder.random("file", 60_000 + random.below(200_000));
      const shorter = random.below(content.length);
      const reading = ring.readFile(path);
      for (let step = random.below(8); step > 0; step--) await ring.nop();
      const grows = round % 2 === 0;
      if (grows) writeFileSync(path, "more", { flag: "a" });
      else truncateSync(path, shorter);
      const found = await reading;
      const whole = Buffer.concat([content, Buffer.from("more")]);
      expect(Buffer.compare(found, whole.subarray(0, found.length))).toBe(0);
      expect(found.length).toBeGreaterThanOrEqual(grows ? content.length : shorter);
    }
  }));

test("data is taken as it was at the call or fails: memory that is detached or shrinks is never left out silently", () =>
  withFolder(async (ring, folder) => {
    const change: Readonly<Record<string, (memory: ArrayBuffer) => void>> = {
      detached: (memory) => void memory.transfer(),
      shrunk: (memory) => memory.resize(10),
    };
    for (const [how, act] of Object.entries(change))
      for (const size of [1000, 65_536, 65_537, 3_000_000])
        for (const busy of [0, 100]) {
          const others = Array.from({ length: busy }, (_, index) =>
            ring.writeFile(`${folder.path}/o${index}`, "other"),
          );
          const memory = new ArrayBuffer(size, { maxByteLength: size });
          const data = new Uint8Array(memory).fill(7);
          const path = `${folder.path}/file`;
          const outcome = ring.writeFile(path, data).then(
            () => "done",
            (error: unknown) => error,
          );
          act(memory);
          const found = await outcome;
          if (found === "done")
            expect([how, size, readFileSync(path).equals(Buffer.alloc(size, 7))]).toEqual([how, size, true]);
          else expect([how, size, found]).toMatchObject([how, size, { code: "ERR_INVALID_STATE" }]);
          await Promise.all(others);
        }
  }));

test("a write that fails on the way leaves no mixture of new content and old", () =>
  withFolder(async (ring, folder) => {
    const path = folder.write("file", "0123456789");
    const failing = (function* () {
      yield "ab";
      yield "cd";
      throw new Error("no more");
    })();
    expect((await thrown(() => ring.writeFile(path, failing))).message).toBe("no more");
    expect(readFileSync(path, "utf8")).toBe("abcd");
    const wrong = folder.write("wrong", "0123456789");
    expect(await thrown(() => Reflect.apply(ring.writeFile, ring, [wrong, ["ab", 7]]))).toMatchObject({
      code: "ERR_INVALID_ARG_TYPE",
    });
    expect(readFileSync(wrong, "utf8")).toBe("ab");
    // As `for await`, it ends the iterator.
    const ended: string[] = [];
    const stop = new AbortController();
    const endless = (async function* () {
      try {
        for (;;) {
          yield "x";
          stop.abort(new Error("enough"));
        }
      } finally {
        ended.push("ended");
      }
    })();
    expect(await thrown(() => ring.writeFile(path, endless, { signal: stop.signal }))).toMatchObject({
      code: "ABORT_ERR",
      cause: new Error("enough"),
    });
    expect([readFileSync(path, "utf8"), ended]).toEqual(["x", ["ended"]]);
  }));

needs("mounts of tmpfs")("on a full disk writes fail with ENOSPC, or have written everything in its place", () =>
  leavingNothing(async () => {
    using mount = new Mount("tmpfs", smallest.tmpfs);
    await using ring = new Ring();
    const path = `${mount.path}/file`;
    const free = () => {
      const { bavail, bsize } = statfsSync(mount.path);
      return bavail * bsize;
    };
    writeFileSync(path, Buffer.alloc(20_480, "old"));
    writeFileSync(`${mount.path}/filler`, Buffer.alloc(free() - 8192));
    for (const flag of ["w", O_WRONLY | O_CREAT, "r+", "a"] as const)
      for (const size of [60_000, 100_000]) {
        writeFileSync(path, Buffer.alloc(20_480, "old"));
        const content = Buffer.from(numbered(size, 1));
        expect(await thrown(() => ring.writeFile(path, content, { flag }))).toMatchObject({
          code: "ENOSPC",
          syscall: "write",
        });
        const found = readFileSync(path);
        const start = flag === "a" ? 20_480 : 0;
        expect([flag, size, Buffer.compare(found.subarray(start), content.subarray(0, found.length - start))]).toEqual([
          flag,
          size,
          0,
        ]);
        truncateSync(path, 20_480);
      }
    expect(fdsUnder(mount.path)).toBe(0);
  }),
);
