import { expect, test } from "bun:test";
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import node, * as nodeNames from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fs, * as names from "bun-uring/promises";
import { needsPlace } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { Folder, type Place } from "./support/files.ts";
import { execute, run } from "./support/programs.ts";
import { fc } from "./support/properties.ts";

type Module = Pick<typeof node, "readFile" | "writeFile" | "appendFile">;

test("bun-uring/promises has each name of node:fs/promises; readFile, writeFile and appendFile are its own", () => {
  const own = ["appendFile", "readFile", "writeFile"];
  for (const { mine, theirs } of [
    { mine: names, theirs: nodeNames },
    { mine: fs, theirs: node },
  ]) {
    expect(Object.keys(mine).sort()).toEqual(Object.keys(theirs).sort());
    const differing = Object.keys(mine).filter((name) => Reflect.get(mine, name) !== Reflect.get(theirs, name));
    expect(differing.filter((name) => name !== "default").sort()).toEqual(own);
  }
});

test("a bundle of a program that imports bun-uring/promises runs", async () => {
  using folder = new Folder();
  const program = new URL("./programs/bundled-promises.ts", import.meta.url).pathname;
  const { success } = await Bun.build({ entrypoints: [program], target: "bun", outdir: folder.path });
  expect(success).toBe(true);
  const { stdout, stderr } = await execute([
    process.execPath,
    join(folder.path, "bundled-promises.js"),
    join(folder.path, "file"),
  ]);
  expect({ stdout, stderr }).toEqual({ stdout: "written by a bundle 19 function\n", stderr: "" });
});

/** A value that a program passes, and how a failed test names it. */
interface Named<Value> {
  readonly name: string;
  readonly value: Value;
}

function named<Value>(values: Record<string, Value>): fc.Arbitrary<Named<Value>> {
  return fc.constantFrom(...Object.entries(values).map(([name, value]) => ({ name, value })));
}

/** Names in a folder that `furnish` has filled, and names that lead nowhere. */
const paths: fc.Arbitrary<Named<(root: string) => unknown>> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .constantFrom("file", "large", "edge", "empty", "new", "folder/new", "link", "näme \u{1f600}", "lone \ud800")
      .map((name) => ({ name, value: (root: string) => `${root}/${name}` })),
  },
  fc
    .constantFrom(
      "folder",
      "dangling",
      "loop",
      "missing/new",
      "file/new",
      "file/",
      "",
      "x".repeat(256),
      "x/".repeat(2100),
    )
    .map((name) => ({ name: name.slice(0, 20), value: (root: string) => `${root}/${name}` })),
  named<(root: string) => unknown>({
    URL: (root) => pathToFileURL(`${root}/file`),
    Buffer: (root) => Buffer.from(`${root}/file`),
    "zero byte": (root) => `${root}/a\0b`,
    "URL of the web": () => new URL("http://example.com/"),
    nothing: () => undefined,
    number: () => 123_456_789,
    object: () => ({}),
  }),
);

const encodings = [
  undefined,
  null,
  "utf8",
  "utf-8",
  "UTF8",
  "latin1",
  "hex",
  "base64",
  "base64url",
  "ucs2",
  "ascii",
  "buffer",
  "nonsense",
];

const readOptions: fc.Arbitrary<Named<unknown>> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ name: "none", value: undefined }) },
  fc.constantFrom(...encodings).map((value) => ({ name: `${value}`, value })),
  fc
    .record(
      {
        encoding: fc.constantFrom(...encodings),
        flag: fc.constantFrom(undefined, "r", "r+", "a+", "w+", "wx", "a", "nonsense", 0, 2),
        other: fc.constant(1),
      },
      { requiredKeys: [] },
    )
    .map((value) => ({ name: JSON.stringify(value), value })),
);

const writeOptions: fc.Arbitrary<Named<unknown>> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ name: "none", value: undefined }) },
  fc.constantFrom(...encodings).map((value) => ({ name: `${value}`, value })),
  fc
    .record(
      {
        encoding: fc.constantFrom(...encodings),
        flag: fc.constantFrom(undefined, "w", "w+", "a", "a+", "ax", "wx", "r+", "r", "nonsense", 1, 0o1101),
        mode: fc.constantFrom(undefined, 0o600, 0o644, 0o777),
        flush: fc.constantFrom(undefined, undefined, undefined, undefined, false, true),
      },
      { requiredKeys: [] },
    )
    .map((value) => ({ name: JSON.stringify(value), value })),
);

async function* slowly(parts: readonly string[]): AsyncGenerator<string> {
  for (const part of parts) {
    await Promise.resolve();
    yield part;
  }
}

const data: fc.Arbitrary<Named<() => unknown>> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.string({ unit: "grapheme" }).map((text) => ({ name: JSON.stringify(text), value: () => text })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(0, 1, 10, 4095, 65535, 65536, 65537, 200_000), fc.nat(255))
      .map(([length, byte]) => ({ name: `${length} × ${byte}`, value: () => Buffer.alloc(length, byte) })),
  },
  named<() => unknown>({
    "long text": () => "ä".repeat(40_000),
    "part of a buffer": () => Buffer.from("0123456789").subarray(3, 7),
    "16-bit words": () => new Uint16Array([1, 2, 3]),
    DataView: () => new DataView(new ArrayBuffer(10), 2, 5),
    "shared memory": () => new Uint8Array(new SharedArrayBuffer(5)).fill(7),
    iterable: () => ["one", "two"],
    "async iterable": () => slowly(["one", "two", "three"]),
    "empty iterable": () => [],
    number: () => 5,
    nothing: () => undefined,
    null: () => null,
    object: () => ({ toString: () => "text" }),
  }),
);

interface Step {
  readonly name: string;
  run(module: Module, root: string): Promise<unknown>;
}

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(paths, readOptions).map(([path, options]) => ({
    name: `readFile ${path.name} ${options.name}`,
    run: (module: Module, root: string) => Reflect.apply(module.readFile, undefined, [path.value(root), options.value]),
  })),
  fc
    .tuple(fc.constantFrom("writeFile", "appendFile"), paths, data, writeOptions)
    .map(([call, path, content, options]) => ({
      name: `${call} ${path.name} ${content.name.slice(0, 40)} ${options.name}`,
      run: (module: Module, root: string) =>
        Reflect.apply(Reflect.get(module, call), undefined, [path.value(root), content.value(), options.value]),
    })),
);

/** The result, or all that an error says, with `root` for the folder's path. */
async function outcomeOf(call: () => Promise<unknown>, root: string): Promise<unknown> {
  try {
    const value = await call();
    return Buffer.isBuffer(value) ? ["Buffer", value.toString("latin1")] : value;
  } catch (error) {
    if (!(error instanceof Error)) return ["thrown", error];
    const { name, message, ...more } = { ...error, name: error.name, message: error.message };
    return JSON.parse(
      JSON.stringify({ class: error.constructor.name, name, message, ...more }).replaceAll(root, "root"),
    );
  }
}

function furnish(folder: Folder): string {
  const root = join(folder.path, "root");
  for (const made of ["", "folder"]) mkdirSync(join(root, made));
  for (const [name, length] of Object.entries({ file: 10, large: 150_000, edge: 65536, empty: 0 }))
    writeFileSync(join(root, name), Buffer.alloc(length, "content"));
  for (const [link, target] of Object.entries({ link: "file", dangling: "made by a link", loop: "loop" }))
    symlinkSync(target, join(root, link));
  return root;
}

/** Everything below a path: names, kinds, permissions and contents. */
function inventory(path: string): unknown {
  const stats = lstatSync(path);
  if (stats.isSymbolicLink()) return readlinkSync(path);
  if (!stats.isDirectory()) return [stats.mode, Bun.hash(readFileSync(path)), stats.size];
  return [
    stats.mode,
    readdirSync(path)
      .sort()
      .map((name) => [name, inventory(join(path, name))]),
  ];
}

async function outcomesOf(module: Module, root: string, program: readonly Step[]): Promise<unknown[]> {
  const outcomes: unknown[] = [];
  for (const step of program) outcomes.push([step.name, await outcomeOf(() => step.run(module, root), root)]);
  return outcomes;
}

for (const [place, name] of [
  ["disk", "a disk"],
  ["memory", "tmpfs"],
] as const) {
  needsPlace[place](
    `programs that run at the same time on ${name} have the same results, errors and files as with node:fs/promises`,
    async () => {
      const programs = fc.array(fc.array(steps, { maxLength: 8, size: "max" }), { minLength: 1, maxLength: 8 });
      const property = fc.asyncProperty(programs, async (several) => {
        await Promise.all(
          several.map(async (program) => {
            using folder = new Folder(place as Place);
            using reference = new Folder(place as Place);
            const [mine, theirs] = [furnish(folder), furnish(reference)];
            expect(await outcomesOf(fs, mine, program)).toEqual(await outcomesOf(node, theirs, program));
            expect(inventory(mine)).toEqual(inventory(theirs));
          }),
        );
      });
      await fc.assert(property, { numRuns: times(60) });
    },
  );
}

test("an aborted call rejects with node's AbortError, before it starts and while it is in flight", async () => {
  using folder = new Folder();
  const path = folder.write("file", "content");
  for (const call of [
    (module: Module, signal: AbortSignal) => module.readFile(path, { signal }),
    (module: Module, signal: AbortSignal) => module.writeFile(path, "new", { signal }),
  ])
    for (const when of ["before", "after"]) {
      const told = await Promise.all(
        [fs, node].map(async (module) => {
          const abort = new AbortController();
          if (when === "before") abort.abort(new Error("why"));
          const result = call(module, abort.signal).then(
            () => "done",
            (error) => [error.constructor.name, error.name, error.code, error.message, String(error.cause)],
          );
          abort.abort(new Error("why"));
          return await result;
        }),
      );
      expect(told[0]).toEqual(["Error", "AbortError", "ABORT_ERR", "The operation was aborted", "Error: why"]);
      // Without the cause, which node:fs leaves out now and then.
      expect(told[1]?.slice(0, 4)).toEqual(told[0]?.slice(0, 4));
    }
});

test("a getter of the program's that throws rejects the promise, as node:fs does", async () => {
  using folder = new Folder();
  const path = folder.write("file", "content");
  const why = () => {
    throw new Error("a getter");
  };
  const options = Object.defineProperty({}, "encoding", { get: why });
  const wrong = Object.defineProperty({ href: "file:///" }, "protocol", { get: why });
  const calls: readonly ((module: Module) => Promise<unknown>)[] = [
    (module) => module.readFile(path, options),
    (module) => module.writeFile(path, "new", options),
    (module) => module.appendFile(path, "new", options),
    (module) => Reflect.apply(module.readFile, module, [wrong]),
    (module) => Reflect.apply(module.writeFile, module, [new Proxy({}, { has: why }), "new"]),
  ];
  for (const call of calls) {
    const [mine, theirs] = [fs, node].map((module) => call(module).catch(String));
    expect(await mine).toBe(await theirs);
  }
});

test("when the thread's ring is broken, node:fs does what is called afterwards", async () => {
  expect(await run("broken-thread-ring")).toEqual({
    exitCode: 0,
    signal: null,
    stdout: "while it broke: EBADF\nread: content\nread: new\n",
    stderr: "",
  });
});
