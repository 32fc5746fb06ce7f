import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";

/**
 * The layers, the highest first: a file imports those of its own layer and of the ones below. A new file goes into the lowest layer that its imports allow.
 *
 * index, streams, file, ring, pool, slots, raw ring, sqe, wakeup, native and errors are the layers that ARCHITECTURE.md walks through.
 */
const layers: Readonly<Record<string, readonly string[]>> = {
  index: ["index"],
  command: ["doctor", "steps", "surroundings", "trial"],
  functions: ["chunks", "copy-file", "hash-file", "ring-and-pool"],
  streams: ["readable", "stream-memory", "stream-options", "writable"],
  file: ["file", "transfer-memory", "whole-file"],
  ring: [
    "descriptor",
    "file-table",
    "linking",
    "numbered-file",
    "open-file",
    "open-flags",
    "operation",
    "operations",
    "own-position",
    "request-queue",
    "ring",
    "ring-core",
    "statx",
    "threads",
    "transfers",
  ],
  pool: ["fixed-buffer", "pool", "pool-control", "pool-membership", "pool-memory"],
  slots: ["slots", "turns"],
  "raw ring": ["raw-ring", "replace"],
  sqe: ["sqe"],
  wakeup: ["wakeup"],
  native: ["kernel", "memlock", "native", "probe", "reflink", "scratch", "shim-source"],
  // Without io_uring: what a platform, an error, a check or a list is.
  base: [
    "abort",
    "arguments",
    "assert",
    "cgroup",
    "errors",
    "fifo",
    "file-arguments",
    "globals",
    "hints",
    "hold",
    "limits",
    "node-errors",
    "node-streams",
    "open-handles",
    "path",
    "proc",
    "refusal",
    "remedies",
    "requirements",
    "timers",
    "uapi",
    "uapi-names",
    "view",
    "warn",
  ],
};

/** Imports that go upward all the same, each with its reason. */
const upward: Readonly<Record<string, string>> = {
  "ring -> file": "open() makes a RingFile, and operations take one; a RingFile knows of its ring the core alone",
  "file -> readable": "readable() makes the stream, which knows of its file the interface StreamedFile alone",
  "file -> writable": "writable() makes the stream, which knows of its file the interface StreamedFile alone",
};

/** The same for `import type`, which is gone when the program runs. */
const upwardTypes: Readonly<Record<string, string>> = {
  "file -> stream-memory": "StreamedFile, what streams need of a file, is written where it is needed",
};

const lib = new URL("../lib/", import.meta.url);
const names = readdirSync(lib)
  .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
  .map((name) => name.slice(0, -".ts".length))
  .sort();
const order: readonly string[] = Object.keys(layers);
const layerByName: ReadonlyMap<string, string> = new Map(Object.entries(layers).flatMap(([layer, files]) => files.map((name) => [name, layer] as const)));

interface Imports {
  readonly packages: readonly string[];
  /** Files of lib, when the program runs; and those of which only types are imported. */
  readonly files: readonly string[];
  readonly typeFiles: readonly string[];
}

const transpiler = new Bun.Transpiler({ loader: "ts" });

function specifiers(source: string): string[] {
  return transpiler.scanImports(source).map(({ path }) => path);
}

function fileNames(paths: readonly string[]): string[] {
  return paths.flatMap((path) => /^\.\/(.+)\.ts$/.exec(path)?.[1] ?? []);
}

/** What a module imports. The transpiler drops what is of types, so it is shown the module without that word, too. */
function importsOf(source: string): Imports {
  const paths = specifiers(source);
  const files = fileNames(paths);
  const all = fileNames(specifiers(source.replaceAll(/^(import|export) type (?=[{*])/gm, "$1 ")));
  return { packages: paths.filter((path) => !path.startsWith(".")), files, typeFiles: all.filter((name) => !files.includes(name)) };
}

const imports: ReadonlyMap<string, Imports> = new Map(names.map((name) => [name, importsOf(readFileSync(new URL(`${name}.ts`, lib), "utf8"))]));

function isUpward(from: string, to: string): boolean {
  return order.indexOf(layerByName.get(to) ?? "") < order.indexOf(layerByName.get(from) ?? "");
}

function upwardOnes(kind: "files" | "typeFiles"): string[] {
  return Array.from(imports, ([from, of]) => of[kind].filter((to) => isUpward(from, to)).map((to) => `${from} -> ${to}`)).flat();
}

/** A round of files that import each other, or none. */
function cycleFrom(name: string, path: readonly string[], done: Set<string>): readonly string[] {
  if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
  if (done.has(name)) return [];
  for (const next of imports.get(name)?.files ?? []) {
    const cycle = cycleFrom(next, [...path, name], done);
    if (cycle.length > 0) return cycle;
  }
  done.add(name);
  return [];
}

describe("of the files in lib", () => {
  test("each has one layer, and each layer's files are there", () => {
    expect(Object.values(layers).flat().toSorted()).toEqual(names);
  });

  test("imports go downward, but for those that are listed with a reason", () => {
    expect(upwardOnes("files").toSorted()).toEqual(Object.keys(upward).toSorted());
  });

  test("imports of types go downward as well", () => {
    expect(upwardOnes("typeFiles").toSorted()).toEqual(Object.keys(upwardTypes).toSorted());
  });

  test("none imports itself by way of others when the program runs", () => {
    const done = new Set<string>();
    const cycle = names.map((name) => cycleFrom(name, [], done)).find(({ length }) => length > 0);
    expect(cycle?.join(" -> ")).toBeUndefined();
  });

  test("native.ts alone imports bun:ffi, and none a package: Bun's and Node's own modules are all there is", () => {
    const users = Array.from(imports, ([name, { packages }]) => (packages.includes("bun:ffi") ? name : [])).flat();
    expect(users).toEqual(["native"]);
    const foreign = Array.from(imports, ([name, { packages }]) =>
      packages.filter((path) => !/^(node:|bun(:|$))/.test(path)).map((path) => `${name} -> ${path}`),
    );
    expect(foreign.flat()).toEqual([]);
  });

  test("importing the library loads none of Node's modules, which takes longer than to make a ring", () => {
    const loaded = new Set<string>();
    const load = (name: string) => {
      if (loaded.has(name)) return;
      loaded.add(name);
      for (const next of imports.get(name)?.files ?? []) load(next);
    };
    load("index");
    expect(Array.from(loaded, (name) => imports.get(name)?.packages ?? []).flat()).toEqual(["bun:ffi"]);
    expect(loaded.size).toBeGreaterThan(40);
  });

  test("what only types are imported from is seen, also where values are not", () => {
    const source = 'import { a } from "./a.ts";\nimport type { B } from "./b.ts";\nexport type { C } from "./c.ts";\nexport const d: B = a();\n';
    expect(importsOf(source)).toEqual({ packages: [], files: ["a"], typeFiles: ["b", "c"] });
  });
});
