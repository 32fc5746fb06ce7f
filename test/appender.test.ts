import { expect, test } from "bun:test";
import { appendFileSync, constants, readFileSync, rmSync, truncateSync } from "node:fs";
import { type Appender, type AppenderOptions, Ring, type RingFile, trackHandles, UringError } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { collect } from "./support/collect.ts";
import { directFlags } from "./support/direct.ts";
import { times } from "./support/effort.ts";
import { thrown, uringError } from "./support/errors.ts";
import { FaultyFiles, faultyFileBytes } from "./support/faulty-files.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { pipe } from "./support/pipes.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";

interface Place {
  readonly ring: Ring;
  readonly file: RingFile;
  readonly path: string;
  readonly appender: Appender;
}

/** Runs `body` with an appender of a file, and closes everything. Nothing may be left. */
async function withAppender(
  body: (place: Place) => Promise<void>,
  { flags = "a", content = "", ...options }: AppenderOptions & { flags?: string; content?: string } = {},
): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", content);
    {
      await using ring = new Ring();
      await using file = await ring.open(path, flags);
      await using appender = await file.appender(options);
      await body({ ring, file, path, appender });
    }
    expect(fdsUnder(folder.path)).toBe(0);
  });
}

/** How many requests `act` submits. */
async function requestsOf(ring: Ring, act: () => Promise<unknown>): Promise<number> {
  const before = ring.stats().submitted;
  await act();
  return ring.stats().submitted - before;
}

/** Resolves when the idle ring has begun a request. What is appended from then on is not part of it. */
async function begun(ring: Ring): Promise<void> {
  for (let microtask = 0; ring.inFlight === 0; microtask++) {
    if (microtask === 1000) throw new Error("nothing has begun");
    await undefined;
  }
}

async function microtasks(count: number): Promise<void> {
  for (let microtask = 0; microtask < count; microtask++) await undefined;
}

/** The codes with which the promises reject, and the values with which they resolve. */
async function outcomes(promises: readonly Promise<unknown>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((one) => (one.status === "fulfilled" ? one.value : (one.reason.code ?? one.reason)));
}

test("records that are appended in the same tick are one request, in the order of the calls", () =>
  withAppender(async ({ ring, path, appender }) => {
    const lines = Array.from({ length: 3000 }, (_, number) => `${number}\n`);
    let positions: number[] = [];
    const requests = await requestsOf(ring, async () => {
      positions = await Promise.all(lines.map((line) => appender.append(line)));
    });
    expect(requests).toBe(1);
    const content = readFileSync(path, "latin1");
    expect(content).toBe(lines.join(""));
    expect(lines.every((line, index) => content.startsWith(line, positions[index]))).toBe(true);
    expect([appender.end, appender.waitingBytes]).toEqual([content.length, 0]);
  }));

test("records that are appended while a write is in progress are the next request", () =>
  withAppender(async ({ ring, path, appender }) => {
    const requests = await requestsOf(ring, async () => {
      const first = appender.append("first ");
      await begun(ring);
      const others = ["second ", "third ", "fourth "].map((text) => appender.append(text));
      expect(await Promise.all([first, ...others])).toEqual([0, 6, 13, 19]);
    });
    expect(requests).toBe(2);
    expect(readFileSync(path, "latin1")).toBe("first second third fourth ");
  }));

test("writers that each await their record share requests, through however many async functions they append", () =>
  withAppender(async ({ ring, path, appender }) => {
    const [writers, each] = [64, 10];
    const through = async (depth: number, text: string): Promise<number> =>
      depth === 0 ? await appender.append(text) : await through(depth - 1, text);
    const requests = await requestsOf(ring, () =>
      Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          for (let record = 0; record < each; record++) await through(writer % 6, `${writer}:${record}\n`);
        }),
      ),
    );
    expect(requests).toBe(each);
    const lines = readFileSync(path, "latin1").trimEnd().split("\n");
    expect(new Set(lines).size).toBe(writers * each);
    for (let writer = 0; writer < writers; writer++)
      expect(lines.filter((line) => line.startsWith(`${writer}:`))).toEqual(
        Array.from({ length: each }, (_, record) => `${writer}:${record}`),
      );
  }));

test("text and memory of every kind are appended as they are at the call", () =>
  withAppender(async ({ path, appender }) => {
    const bytes = Buffer.from("abcdef");
    const shared = new SharedArrayBuffer(2);
    new Uint8Array(shared).set(Buffer.from("gh"));
    const appended = [
      appender.append("ä€\ud800"),
      appender.append(bytes.subarray(1, 3)),
      appender.append(new DataView(bytes.buffer, bytes.byteOffset + 3, 2)),
      appender.append(new Uint16Array([0x3231])),
      appender.append(new Uint8Array(bytes).buffer),
      appender.append(shared),
      appender.append(""),
    ];
    bytes.fill(0);
    new Uint8Array(shared).fill(0);
    expect(await Promise.all(appended)).toEqual([0, 8, 10, 12, 14, 20, 22]);
    expect(readFileSync(path, "utf8")).toBe("ä€\ufffdbcde12abcdefgh");
  }));

for (const [flags, content] of [
  ["a", "head "],
  ["a+", "head "],
  ["r+", "head "],
  ["w", ""],
  ["w+", ""],
] as const)
  test(`an appender of a file opened with "${flags}" begins at the file's end and does not move other files' content`, () =>
    withAppender(
      async ({ path, appender }) => {
        expect(appender.end).toBe(content.length);
        expect(await appender.append("one ")).toBe(content.length);
        expect(await Promise.all(["two ", "three"].map((text) => appender.append(text)))).toEqual([
          content.length + 4,
          content.length + 8,
        ]);
        expect(readFileSync(path, "latin1")).toBe(`${content}one two three`);
      },
      { flags, content },
    ));

for (const flags of ["a", "a+"])
  test(`positions are right while others append to a file opened with "${flags}" too`, () =>
    withAppender(
      async ({ path, appender }) => {
        for (let turn = 0; turn < 20; turn++) {
          appendFileSync(path, `other ${turn}\n`);
          const text = `mine ${turn}\n`;
          const position = await appender.append(text);
          expect(readFileSync(path, "latin1").slice(position)).toBe(text);
        }
      },
      { flags },
    ));

test("a record of any size is written completely, and memory that grew for it does not reach the next ones", () =>
  withAppender(
    async ({ path, appender }) => {
      const large = Buffer.alloc(5 * 2 ** 20 + 1, "large ");
      const positions = await Promise.all([appender.append("before"), appender.append("between")]);
      expect(await appender.append(large)).toBe(13);
      expect(await appender.append("after")).toBe(13 + large.length);
      expect(positions).toEqual([0, 6]);
      expect(readFileSync(path, "latin1")).toBe(`beforebetween${large.toString("latin1")}after`);
    },
    { maxWaitingBytes: 100 },
  ));

test("a record that would exceed maxWaitingBytes is refused, takes nothing, and the next one that fits is taken", () =>
  withAppender(
    async ({ path, appender }) => {
      const first = appender.append("123456");
      const error = await uringError(() => appender.append("78901"));
      expect(error).toMatchObject({ code: "ENOBUFS", syscall: "append", path });
      expect(error.message).toContain("6 bytes wait already, and 5 more would exceed maxWaitingBytes, 10");
      const last = appender.append("7890");
      expect(appender.waitingBytes).toBe(10);
      expect(await Promise.all([first, last])).toEqual([0, 6]);
      expect([appender.waitingBytes, readFileSync(path, "latin1")]).toEqual([0, "1234567890"]);
    },
    { maxWaitingBytes: 10 },
  ));

test("flush() resolves once all records given before it are durable, and makes no request if nothing waits", () =>
  withAppender(async ({ ring, appender }) => {
    const order: string[] = [];
    void appender.append("one").then(() => order.push("one"));
    await begun(ring);
    void appender.append("two").then(() => order.push("two"));
    await appender.flush();
    expect(order).toEqual(["one", "two"]);
    expect(await requestsOf(ring, () => appender.flush())).toBe(0);
  }));

test("close() waits for all records, refuses new ones with EBADF, leaves the file open, and can be repeated", () =>
  withAppender(async ({ ring, file, path, appender }) => {
    const settled: string[] = [];
    void appender.append("one ").then(() => settled.push("one"));
    await begun(ring);
    void appender.append("two ").then(() => settled.push("two"));
    const closing = appender.close();
    expect([appender.closed, appender.close() === closing]).toEqual([true, true]);
    expect((await uringError(() => appender.append("three"))).code).toBe("EBADF");
    await closing;
    expect(settled).toEqual(["one", "two"]);
    expect([readFileSync(path, "latin1"), file.closed]).toEqual(["one two ", false]);
    {
      await using again = await file.appender();
      expect(await again.append("four")).toBe(8);
    }
    expect(readFileSync(path, "latin1")).toBe("one two four");
  }));

test("a record whose signal has aborted is not written, nor one whose signal aborts while it waits", () =>
  withAppender(async ({ ring, path, appender }) => {
    const reason = new Error("enough");
    const aborted = appender.append("never", { signal: AbortSignal.abort(reason) });
    expect(await outcomes([aborted])).toEqual([reason]);
    const controller = new AbortController();
    const { signal } = controller;
    const first = appender.append("first ");
    await begun(ring);
    const waiting = ["second ", "never", "third ", "never either"].map((text) =>
      appender.append(text, text.startsWith("never") ? { signal } : {}),
    );
    controller.abort(reason);
    expect(await outcomes([first, ...waiting])).toEqual([0, 6, reason, 13, reason]);
    expect([readFileSync(path, "latin1"), appender.end, appender.waitingBytes]).toEqual(["first second third ", 19, 0]);
  }));

test("a record whose signal aborts while it is written rejects, and those around it keep their places", () =>
  withAppender(async ({ ring, path, appender }) => {
    const reason = new Error("enough");
    const controller = new AbortController();
    const records = [
      appender.append("one "),
      appender.append("two ", { signal: controller.signal }),
      appender.append("three "),
    ];
    await begun(ring);
    controller.abort(reason);
    expect(await outcomes(records)).toEqual([0, reason, 8]);
    expect(await appender.append("four")).toBe(14);
    expect([readFileSync(path, "latin1"), appender.end, appender.waitingBytes]).toEqual(["one two three four", 18, 0]);
  }));

test("a signal's own methods may append, abort and close", () =>
  withAppender(async ({ path, appender }) => {
    const more: Promise<unknown>[] = [];
    class Signal extends EventTarget {
      aborted = false;
      reason = new Error("its own");
      override addEventListener(type: string, listener: () => void): void {
        super.addEventListener(type, listener);
        more.push(appender.append("added "));
      }
      override removeEventListener(type: string, listener: () => void): void {
        super.removeEventListener(type, listener);
        more.push(appender.append("removed "));
        more.push(appender.close());
      }
    }
    const signal: object = new Signal();
    const record: Promise<unknown> = Reflect.apply(appender.append, appender, ["record ", { signal }]);
    expect(await outcomes([record, ...more])).toEqual([6, 0]);
    expect(await outcomes(more.slice(1))).toEqual([13, undefined]);
    expect(readFileSync(path, "latin1")).toBe("added record removed ");

    const aborting = new Signal();
    aborting.addEventListener = () => {
      aborting.aborted = true;
      throw aborting.reason;
    };
    const refused: Promise<unknown> = Reflect.apply(appender.append, appender, ["never", { signal: aborting }]);
    expect(await outcomes([refused])).toEqual([aborting.reason]);
  }));

test("when the file is closed, the records that are being written become durable, and those that wait reject", () =>
  withAppender(async ({ ring, file, path, appender }) => {
    const writing = appender.append("written ");
    await begun(ring);
    const waiting = appender.append("never");
    const closing = file.close();
    expect(await outcomes([writing, waiting, closing])).toEqual([0, "EBADF", undefined]);
    expect((await uringError(() => appender.append("never"))).code).toBe("ECANCELED");
    expect([readFileSync(path, "latin1"), appender.end, appender.waitingBytes]).toEqual(["written ", 8, 0]);
  }));

test("when the ring is closed, every record settles, and each that resolved is in the file", async () => {
  for (let turn = 0; turn < times(30); turn++)
    await withAppender(async ({ ring, path, appender }) => {
      const records = Array.from({ length: 40 }, async (_, number) => {
        await microtasks(number * 5);
        return await appender.append(`${number};`);
      });
      const settling = outcomes(records);
      await microtasks(turn * 8);
      await ring.close();
      const settled = await settling;
      const content = readFileSync(path, "latin1");
      for (const [number, outcome] of settled.entries()) {
        if (typeof outcome === "number") expect(content.startsWith(`${number};`, outcome)).toBe(true);
        else expect(["EBADF", "ECANCELED"]).toContain(String(outcome));
      }
      expect(content.slice(0, appender.end)).toBe(content);
    });
});

test("an appender that is dropped finishes its records, and its file is closed when both are collected", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const settled: number[] = [];
    const paths = Array.from({ length: 10 }, (_, index) => folder.write(`${index}`, ""));
    trackHandles(false); // or the files are reported
    using _tracking = { [Symbol.dispose]: () => trackHandles(true) };
    for (const path of paths)
      await (async () => {
        const file = await ring.open(path, "a");
        const appender = await file.appender();
        void appender.append("one ").then((position) => settled.push(position));
        await begun(ring);
        void appender.append("two ").then((position) => settled.push(position));
      })();
    // The collector may take the last one's remains on the stack for references.
    await collect(() => settled.length === 20 && fdsUnder(folder.path) < 3);
    expect(settled.toSorted()).toEqual([...Array(10).fill(0), ...Array(10).fill(4)]);
    expect(paths.map((path) => readFileSync(path, "latin1"))).toEqual(Array(10).fill("one two "));
    expect(fdsUnder(folder.path)).toBeLessThan(3);
  }));

test("a file has one appender at a time", () =>
  withAppender(async ({ file, path }) => {
    expect(await uringError(() => file.appender())).toMatchObject({ code: "EBUSY", syscall: "appender", path });
  }));

test("appender() refuses files that cannot be appended to durably, and starts nothing in a chain", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "content");
    using ends = pipe();
    await using ring = new Ring();
    for (const [name, flags, code] of [
      [path, "r", "EBADF"],
      [`/proc/self/fd/${ends.writeFd}`, "w", "ESPIPE"],
      ["/dev/null", "a", "EINVAL"],
      ["/proc/self/comm", "r+", "EINVAL"],
    ] as const) {
      await using file = await ring.open(name, flags);
      for (const _ of "twice") expect([name, (await uringError(() => file.appender())).code]).toEqual([name, code]);
    }
    await using file = await ring.open(path, "a");
    for (const options of [{ maxWaitingBytes: 0 }, { maxWaitingBytes: 1.5 }, { maxWaitingBytes: 2 ** 31 }])
      expect(await thrown(() => file.appender(options))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
    for (const options of [{ maxWaiting: 1 }, { maxWaitingBytes: "1" }, 7, null] as unknown[])
      expect(String((await thrown(() => Reflect.apply(file.appender, file, [options]))).code)).toMatch(
        /^ERR_INVALID_ARG_(TYPE|VALUE)$/,
      );
    expect(await thrown(() => ring.chain([() => file.appender()]))).toMatchObject({ code: "ERR_INVALID_ARG_VALUE" });
    await using appender = await file.appender();
    for (const [data, options] of [
      [7],
      [undefined],
      [{}],
      [["text"]],
      ["text", 7],
      ["text", { signal: 7 }],
      ["", { a: 1 }],
    ])
      expect(String((await thrown(() => Reflect.apply(appender.append, appender, [data, options]))).code)).toMatch(
        /^ERR_INVALID_ARG_(TYPE|VALUE)$/,
      );
    expect(await thrown(() => ring.chain([() => appender.append("text")]))).toMatchObject({
      code: "ERR_INVALID_ARG_VALUE",
    });
    expect([appender.waitingBytes, readFileSync(path, "latin1")]).toEqual([0, "content"]);
    await appender.close();
    await file.close();
    expect((await uringError(() => file.appender())).code).toBe("EBADF");
  }));

needs("a file system with O_DIRECT")("appender() refuses a file opened with O_DIRECT, with a hint", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const path = folder.write("file", "");
    expect(directFlags(path) & constants.O_DIRECT).not.toBe(0);
    await using ring = new Ring();
    await using file = await ring.open(path, "a", undefined, { direct: true });
    expect(await uringError(() => file.appender())).toMatchObject({
      code: "EINVAL",
      hint: "Open the file without `direct`.",
    });
  }),
);

needs("mounts of tmpfs")(
  "on a full file system, what has become durable resolves, the rest rejects, and after a truncate to `end` it goes on",
  () =>
    leavingNothing(async () => {
      using mount = new Mount("tmpfs", smallest.tmpfs);
      const path = `${mount.path}/file`;
      await using ring = new Ring();
      for (const flags of ["a", "r+"]) {
        await Bun.write(path, "");
        await using file = await ring.open(path, flags);
        const appender = await file.appender();
        const records = Array.from({ length: 12 }, (_, number) => Buffer.alloc(100_000, `record ${number} `));
        const writing = records.map((record) => appender.append(record));
        await begun(ring);
        const waiting = appender.append("never");
        const settled = await outcomes([...writing, waiting]);
        expect(settled).toEqual([
          ...Array.from({ length: 10 }, (_, n) => n * 100_000),
          "ENOSPC",
          "ENOSPC",
          "ECANCELED",
        ]);
        const error = await uringError(() => appender.append("never"));
        expect([error.code, error.cause instanceof UringError && error.cause.code]).toEqual(["ECANCELED", "ENOSPC"]);
        expect([appender.end, appender.waitingBytes]).toEqual([1_000_000, 0]);
        const whole = Buffer.concat(records);
        const found = readFileSync(path);
        expect([found.length, Buffer.compare(found, whole.subarray(0, found.length))]).toEqual([2 ** 20, 0]);
        await appender.close();
        truncateSync(path, appender.end);
        await using again = await file.appender();
        expect(await again.append("more")).toBe(1_000_000);
        expect(
          Buffer.compare(readFileSync(path), Buffer.concat([whole.subarray(0, 1_000_000), Buffer.from("more")])),
        ).toBe(0);
        rmSync(path);
      }
    }),
);

needs("mounts of FUSE")(
  "on a FUSE file system records are written and synced; after an error of either nothing more is written",
  () =>
    leavingNothing(async () => {
      await using files = await FaultyFiles.mount();
      {
        await using ring = new Ring();
        for (const flags of ["a", "r+"]) {
          await using file = await ring.open(files.of(`good${flags}`), flags);
          await using appender = await file.appender();
          const positions = await Promise.all(["one ", "two ", "three "].map((text) => appender.append(text)));
          expect(positions).toEqual([0, 4, 8].map((offset) => faultyFileBytes + offset));
          expect(readFileSync(files.of(`good${flags}`), "latin1").slice(faultyFileBytes)).toBe("one two three ");
        }
        for (const operation of ["write", "fsync"]) {
          const name = files.of(`${operation}-EIO-${faultyFileBytes + 4}`);
          await using file = await ring.open(name, "r+");
          await using appender = await file.appender();
          // An fsync fails as soon as the file has four bytes more, a write at the fourth byte.
          const first = appender.append(operation === "write" ? "1234" : "123");
          await begun(ring);
          const records = [first, ...["5678", "9"].map((text) => appender.append(text))];
          expect(await outcomes(records)).toEqual([faultyFileBytes, "EIO", "EIO"]);
          expect([(await uringError(() => appender.append("never"))).code, appender.end]).toEqual([
            "ECANCELED",
            faultyFileBytes + (operation === "write" ? 4 : 3),
          ]);
        }
        await using file = await ring.open(files.of("fsync-EIO"), "r+");
        expect((await uringError(() => file.appender())).code).toBe("EIO");
        await using held = await ring.open(files.of("fsync-held"), "r+");
        const making = held.appender();
        await files.held("fsync-held");
        files.release();
        expect(await (await making).append("text")).toBe(faultyFileBytes);
      }
    }),
);
