import { expect, test } from "bun:test";
import { readFileSync, statSync, writeSync } from "node:fs";
import { open as openWithNode } from "node:fs/promises";
import { Readable } from "node:stream";
import { probe, Ring } from "bun-uring";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { type Loose, loose } from "./support/loose.ts";
import { pipe } from "./support/pipes.ts";
import { leavingNothing } from "./support/resources.ts";

const content = "0123456789\nabc\n";
const abc = () => Buffer.from("abcdef");
const three = () => Buffer.alloc(3);
const many = (length: number) => Array.from({ length }, (_, index) => Buffer.from([65 + (index % 26), 98]));
const ofObjects: readonly unknown[] = [
  undefined,
  null,
  {},
  { buffer: abc() },
  { toString: () => "xyz" },
  [1, 2],
  new Date(0),
  new ArrayBuffer(3),
  new SharedArrayBuffer(3),
];
const odd = [5, true, 5n, Symbol("s"), () => 1];
const positions = [null, undefined, 0, 3, -1, -5, 1.5, Number.NaN, "3", {}, true, 2 ** 53, Number.POSITIVE_INFINITY];

type Call = readonly [name: string, act: (file: Loose) => unknown];

const call = (method: string, ...values: readonly unknown[]): Call => [
  `${method}(${values.map((value) => (typeof value === "function" || typeof value === "symbol" ? String(value) : Bun.inspect(value))).join(", ")})`.slice(
    0,
    200,
  ),
  (file) => file[method]?.(...values),
];

/** Calls of one method with each of several values as its last argument. */
const each = (method: string, values: readonly unknown[], ...first: readonly unknown[]) =>
  values.map((value) => call(method, ...first, value));

const aborted = AbortSignal.abort(new Error("why"));
const parts = () => ["ab", Buffer.from("cd"), new Uint16Array([0x4142]), new ArrayBuffer(1)];

/** Calls that Bun's FileHandle and Node's treat alike, and calls that Bun's treats differently where that is harmless. */
const calls: readonly Call[] = [
  ...each("write", [...ofObjects, ...odd, Promise.resolve("x"), new Blob(["x"]), new String("xyz")]),
  ...each("write", ["", "hex", "HEX", "latin1", "utf16le", "base64", "buffer", "nope", null, 5, {}], "abcd", 1),
  call("write", "abc", 0, "hex"),
  call("write", "zz", 0, "hex"),
  call("write", "é", 0, "latin1"),
  ...each("write", ["hex", "2", ...positions], "abcd"),
  call("write", ""),
  call("write", "", 5),
  ...each(
    "write",
    [
      {},
      null,
      { offset: 1, length: 2, position: 3 },
      { offset: 9 },
      { length: 9 },
      { length: null },
      { offset: null },
      { position: "3" },
      [],
    ],
    abc(),
  ),
  ...each("write", ["1", true, -1, 1.5, Number.NaN, 7, 6], abc()),
  ...each("write", [-1, 7, "2", "utf8", null, undefined, 2n, true, 0], abc(), 0),
  ...each("write", positions, abc(), 0, 2),
  ...each("write", [undefined, 5, "x"], Buffer.alloc(0)),
  call("write", Buffer.alloc(0), 0, 5),
  call("write", new DataView(new Uint8Array([65, 66, 67, 68]).buffer, 1), 1, 2, 0),
  call("write", new Float64Array([1.5, 2.5]), 1, 8, 0),
  call("write", new Uint16Array([0x4142, 0x4344]), 3, null, 0),
  call("write", new Uint8Array(new SharedArrayBuffer(3))),
  call("write", abc(), 0, 2, 2 ** 53 - 1),

  call("read"),
  ...each("read", [
    null,
    undefined,
    {},
    5,
    "x",
    true,
    new ArrayBuffer(3),
    [],
    () => 1,
    { buffer: 5 },
    { buffer: "x" },
    { position: 2 },
    { length: 2 },
    { offset: 2 },
  ]),
  ...each("read", [{ offset: 16385 }, { length: 16385 }, { buffer: Buffer.alloc(0) }, { buffer: three(), length: 0 }]),
  ...each(
    "read",
    [
      {},
      { position: 4 },
      { offset: 1, length: 1, position: 4 },
      null,
      [],
      "1",
      () => 1,
      true,
      1n,
      1.5,
      Number.NaN,
      -1,
      3,
      4,
    ],
    three(),
  ),
  ...each("read", [0, 4, -1, null, undefined, 1.5, Number.NaN], three(), 0),
  ...each(
    "read",
    [...positions, -1n, -5n, 3n, 2n ** 53n, 2n ** 63n, 2n ** 63n - 1n, 2n ** 63n - 4n, 2 ** 53 - 1],
    three(),
    0,
    3,
  ),
  call("read", Buffer.alloc(0)),
  ...each("read", [0, 1], Buffer.alloc(0), 0),
  call("read", three(), 0, 0, "x"),
  call("read", three(), 9, 0),
  call("read", new DataView(new ArrayBuffer(4)), 1, 2, 0),
  call("read", new Float64Array(2), 1, 8, 0),
  call("read", new Uint16Array(2), 3),
  call("read", new Uint8Array(new ArrayBuffer(4, { maxByteLength: 8 })), 0, 4, 0),

  ...["readv", "writev"].flatMap((method) => [
    ...each(method, [
      undefined,
      "x",
      {},
      three(),
      [],
      [5],
      [three(), 5],
      ["x"],
      [new ArrayBuffer(3)],
      new Set([three()]),
      new Array(2),
    ]),
    ...each(method, [
      [Buffer.alloc(0)],
      [Buffer.alloc(0), three()],
      [new DataView(new ArrayBuffer(4)), new Float64Array(1)],
      many(2000),
    ]),
    ...each(method, positions, [three(), three()]),
    call(method, [], "x"),
    call(method, many(2000), 3),
    call(method, many(1024), 1),
    call(method, many(1025)),
  ]),

  call("readFile"),
  ...each("readFile", [
    null,
    {},
    "buffer",
    "UTF8",
    "utf-8",
    "ucs2",
    "base64url",
    "binary",
    "ascii",
    "hex",
    "nope",
    "",
    () => 1,
    [],
  ]),
  ...each("readFile", [
    { encoding: "buffer" },
    { encoding: "" },
    { encoding: null },
    { encoding: 5 },
    { encoding: "nope" },
    { flag: "r" },
  ]),
  ...each("readFile", [
    { signal: 1 },
    { signal: {} },
    { signal: aborted },
    { signal: AbortSignal.abort() },
    { signal: AbortSignal.timeout(1e6) },
  ]),

  ...["writeFile", "appendFile"].flatMap((method) => [
    ...each(method, [
      undefined,
      null,
      5,
      true,
      5n,
      {},
      { toString: () => "x" },
      Promise.resolve("x"),
      new Blob(["x"]),
      new Date(0),
      () => 1,
    ]),
    ...each(method, [
      "",
      "ab",
      new String("xyz"),
      new ArrayBuffer(4),
      new SharedArrayBuffer(4),
      new DataView(new ArrayBuffer(4)),
      new Float64Array(1),
    ]),
    ...each(method, [[], parts(), [""], [5], ["a", 5], [null], [["x"]], new Map([["a", "b"]]), new Set(["a", "b"])]),
    [`${method} of an async generator`, (file: Loose) => file[method]?.((async function* () { yield* parts(); })())] as const, // biome-ignore format: one line each
    [`${method} of a stream`, (file: Loose) => file[method]?.(Readable.from(["x", "y"]))] as const,
    ...each(method, ["nope", "buffer", "", "hex", "HEX", null], "6162"),
    ...each(
      method,
      [
        { mode: 0o600, flag: "w" },
        { mode: -1 },
        { flush: true },
        { flush: false },
        { flush: null },
        { encoding: "hex" },
      ],
      "6162",
    ),
    call(method, ["6162", "63"], "hex"),
  ]),
  ...["", "x", Buffer.alloc(0), [], ["x"], 5].map((data) => call("writeFile", data, { signal: aborted })),

  ...each("writeFile", [{ signal: 1 }, { signal: {} }], "6162"),

  call("truncate"),
  ...each("truncate", [
    undefined,
    null,
    3,
    -3,
    1.5,
    Number.NaN,
    10n,
    "5",
    {},
    true,
    2 ** 53,
    -(2 ** 53),
    Number.POSITIVE_INFINITY,
  ]),
  ["stat()", async (file) => sizeOf(await file["stat"]?.())],
  ...[null, undefined, {}, { bigint: true }, { bigint: 1 }, 5, "x", true, () => 1].map(
    (value): Call => [`stat(${String(value)})`, async (file) => sizeOf(await file["stat"]?.(value))],
  ),
  ...each("chmod", [undefined, null, "644", "9", "", -1, 1.5, Number.NaN, 2 ** 32, {}, 5n, true]),
  ...each("chown", [undefined, 0, -1, "0", 1.5, 2 ** 32, -2, null], 0),
  ...each("utimes", [undefined, 2, "2.5", "2020-01-01", Number.NaN, -5, 1n, null, {}, new Date(Number.NaN)], 1),
  call("sync"),
  call("datasync"),
  ["close twice", async (file) => [await file["close"]?.(), await file["close"]?.()]],
  ["close twice at once", (file) => Promise.all([file["close"]?.(), file["close"]?.()])],
  ...(
    [
      ["read"], ["read", 5], ["read", Buffer.alloc(0)], ["write", "x"], ["write", {}], ["write", Buffer.alloc(0)], ["readv", []], ["writev", []], ["readv", [three()]],
      ["writev", [three()]], ["readFile"], ["readFile", 5], ["readFile", { signal: aborted }], ["writeFile", "x"], ["writeFile", ""], ["writeFile", []], ["writeFile", 5],
      ["appendFile", "x"], ["stat"], ["stat", { bigint: true }], ["truncate", "x"], ["sync"], ["datasync"], ["chmod", 0o600], ["chmod", {}], ["chown", 0, 0], ["utimes", 1, 1],
    ] as const // biome-ignore format: a list
  )
    .map(
      ([method, ...values]): Call => [
        `${call(method, ...values)[0]} when closed`,
        async (file) => {
          await file["close"]?.();
          return file[method]?.(...values);
        },
      ],
    ),
];

function sizeOf(stats: unknown): unknown {
  return stats instanceof Object && "size" in stats ? [stats.size, stats.constructor.name] : stats;
}

/** A result in a form that can be compared: a view is its type and content. */
function plain(value: unknown): unknown {
  if (ArrayBuffer.isView(value))
    return [value.constructor.name, Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")];
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value)))
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
  return value;
}

/** A file's content. Of a large file, which is sparse, only the size: not every machine has the memory to read it. */
function contentOf(path: string): string {
  const { size } = statSync(path);
  return size > 2 ** 20 ? `${size} bytes` : readFileSync(path, "latin1");
}

/** The outcome of a call, and the file's content afterwards. */
async function outcome(act: Call[1], file: Loose, path: string): Promise<unknown> {
  const [result] = await Promise.allSettled([(async () => plain(await act(file)))()]);
  if (result.status === "fulfilled") return { value: result.value, holds: contentOf(path) };
  const error: unknown = result.reason;
  if (!(error instanceof Error)) throw new Error(`not an Error: ${error}`);
  const { code, syscall } = error as NodeJS.ErrnoException;
  const isSystem = syscall !== undefined; // the names of system errors differ: UringError here, others in Bun and Node
  return { name: isSystem ? "Error" : error.name, code, syscall, cause: error.cause, holds: contentOf(path) };
}

test("a RingFile accepts, ignores and refuses the same arguments as FileHandle, in every form of every method", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    for (const [name, act] of calls) {
      const [mine, theirs] = [folder.write("mine", content), folder.write("theirs", content)];
      await using file = await ring.open(mine, "r+");
      await using handle = await openWithNode(theirs, "r+");
      const expected = await outcome(act, loose(handle), theirs);
      expect([name, await outcome(act, loose(file), mine)]).toEqual([name, expected]);
    }
    expect(ring.inFlight).toBe(0);
  }));

test("where Bun's FileHandle differs from Node's documentation, a RingFile does what is documented", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const path = folder.write("file", content);
    await using file = await ring.open(path, "r+");
    const refused: readonly (readonly [act: () => unknown, code: string])[] = [
      [() => loose(file)["write"]?.(abc(), 0, Number.NaN), "ERR_OUT_OF_RANGE"],
      [() => loose(file)["write"]?.(abc(), 0, 1.5), "ERR_OUT_OF_RANGE"],
      [() => loose(file)["write"]?.(abc(), 1n), "ERR_INVALID_ARG_TYPE"],
      [() => loose(file)["write"]?.(abc(), () => 1), "ERR_INVALID_ARG_TYPE"],
      [() => loose(file)["readFile"]?.(5), "ERR_INVALID_ARG_TYPE"],
      [() => loose(file)["readFile"]?.({ signal: null }), "ERR_INVALID_ARG_TYPE"],
      [() => loose(file)["writeFile"]?.("x", 5), "ERR_INVALID_ARG_TYPE"],
      [() => loose(file)["writeFile"]?.("x", { flush: 1 }), "ERR_INVALID_ARG_TYPE"],
      [() => loose(file)["appendFile"]?.("x", { signal: aborted }), "ABORT_ERR"],
      [() => loose(file)["appendFile"]?.("", { signal: aborted }), "ABORT_ERR"],
    ];
    for (const [act, code] of refused)
      expect([act.toString(), (await thrown(act)).code]).toEqual([act.toString(), code]);
    // A file in memory may be this long. Before Linux 6.9 the ring uses Bun's node:fs to truncate, which accepts only
    // lengths below 2^52.
    const outcome = await file.truncate(2 ** 53 - 1).then(
      () => "done",
      ({ code }: { code: string }) => code,
    );
    expect(probe().opcodes.includes("FTRUNCATE") ? ["EFBIG", "done"] : ["ERR_OUT_OF_RANGE"]).toContain(outcome);
    if (outcome === "done") await file.truncate(content.length);
    expect(readFileSync(path, "latin1")).toBe(content);
  }));

test("errors for invalid arguments have the same messages as Node's", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  await using file = await ring.open(folder.write("file", content), "r+");
  const words: readonly (readonly [act: () => unknown, message: string])[] = [
    [
      () => loose(file)["write"]?.({}),
      'The "buffer" argument must be of type string or an instance of Buffer, TypedArray, or DataView. Received an instance of Object',
    ],
    [
      () => loose(file)["write"]?.("abc", 0, "hex"),
      "The argument 'encoding' is invalid for data of length 3. Received 'hex'",
    ],
    [
      () => loose(file)["write"]?.(abc(), "1"),
      "The \"offset\" argument must be of type number. Received type string ('1')",
    ],
    [() => loose(file)["write"]?.(abc(), 7), 'The value of "offset" is out of range. It must be <= 6. Received 7'],
    [
      () => loose(file)["read"]?.(three(), -1),
      'The value of "offset" is out of range. It must be >= 0 && <= 9007199254740991. Received -1',
    ],
    [
      () => loose(file)["read"]?.(three(), 0, 3, 1.5),
      'The value of "position" is out of range. It must be an integer. Received 1.5',
    ],
    [() => loose(file)["read"]?.(true), 'The "options" argument must be of type object. Received type boolean (true)'],
    [
      () => loose(file)["readv"]?.([5]),
      'The "buffers" argument must be an ArrayBufferView[]. Received an instance of Array',
    ],
    [() => loose(file)["truncate"]?.(null), 'The "len" argument must be of type number. Received null'],
    [() => loose(file)["readFile"]?.("nope"), "The argument 'encoding' is invalid encoding. Received 'nope'"],
    [
      () => loose(file)["writeFile"]?.("x", { flush: 1 }),
      'The "options.flush" property must be of type boolean. Received type number (1)',
    ],
    [() => loose(file)["readFile"]?.({ signal: aborted }), "The operation was aborted"],
  ];
  for (const [act, message] of words) expect((await thrown(act)).message).toBe(message);
});

test("a position may be a bigint in every method, even in write, readv and writev, where FileHandle ignores one", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  const path = folder.write("file", content);
  await using file = await ring.open(path, "r+");
  await file.write(Buffer.from("A"), 0, 1, 3n);
  await file.write(Buffer.from("B"), { position: 4n });
  await file.writev([Buffer.from("C"), Buffer.from("D")], 5n);
  expect(readFileSync(path, "latin1")).toBe("012ABCD789\nabc\n");
  const into = three();
  await file.readv([into], 3n);
  expect(into.toString()).toBe("ABC");
  for (const act of [
    () => file.write("x", (2n ** 63n) as unknown as number),
    () => file.writev([three()], 2n ** 63n),
    () => file.readv([three()], -2n),
  ])
    expect((await thrown(act)).code).toBe("ERR_OUT_OF_RANGE");
  expect(readFileSync(path, "latin1")).toBe("012ABCD789\nabc\n");
});

test("every method with options refuses a misspelled one", async () => {
  using folder = new Folder();
  await using ring = new Ring();
  await using file = await ring.open(folder.write("file", content), "r+");
  const misspelt = { lenght: 1 };
  for (const act of [
    () => loose(file)["read"]?.(misspelt),
    () => loose(file)["read"]?.(three(), misspelt),
    () => loose(file)["write"]?.(three(), misspelt),
    () => loose(file)["readFile"]?.(misspelt),
    () => loose(file)["writeFile"]?.("x", misspelt),
    () => loose(file)["appendFile"]?.("x", misspelt),
    () => loose(file)["stat"]?.(misspelt),
    () => loose(file)["createReadStream"]?.(misspelt),
    () => loose(file)["createWriteStream"]?.(misspelt),
    () => loose(file)["readableWebStream"]?.(misspelt),
    () => loose(file)["readLines"]?.(misspelt),
  ])
    expect(await thrown(act)).toMatchObject({
      code: "ERR_INVALID_ARG_VALUE",
      message: expect.stringContaining("lenght"),
    });
});

test("more than 1024 buffers take several requests, and a short request is the last", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const path = folder.write("file", Buffer.from(Array.from({ length: 3000 }, (_, index) => index % 251)));
    await using file = await ring.open(path, "r+");
    await file.read(Buffer.alloc(7));
    const buffers = Array.from({ length: 4000 }, () => Buffer.alloc(1, 255));
    expect((await file.readv(buffers)).bytesRead).toBe(2993);
    expect(buffers.map((buffer) => buffer[0])).toEqual(
      Array.from({ length: 4000 }, (_, index) => (index < 2993 ? (index + 7) % 251 : 255)),
    );
    expect((await file.writev(many(1500), 1)).bytesWritten).toBe(3000);
    expect(Buffer.compare(readFileSync(path).subarray(1), Buffer.concat(many(1500)))).toBe(0);
    expect(() => ring.chain([() => file.writev(many(1500))])).toThrow("operations[0] must start one request");
    expect(ring.inFlight).toBe(0);
  }));

test("readv into more than 1024 buffers resolves with what a pipe holds, and leaves later data in it", () =>
  leavingNothing(async () => {
    using ends = pipe();
    await using ring = new Ring();
    await using file = await ring.open(`/proc/self/fd/${ends.readFd}`);
    writeSync(ends.writeFd, "0123456789");
    const buffers = Array.from({ length: 1025 }, () => Buffer.alloc(1, "-"));
    const reading = file.readv(buffers);
    const timeout = Bun.sleep(5000).then(() => ({ bytesRead: "it waits for more" }));
    const { bytesRead } = await Promise.race([reading, timeout]);
    writeSync(ends.writeFd, "later");
    await reading;
    expect([bytesRead, Buffer.concat(buffers).toString()]).toEqual([10, `0123456789${"-".repeat(1015)}`]);
    expect((await file.read(Buffer.alloc(9))).bytesRead).toBe(5);
  }));
