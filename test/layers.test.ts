import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { posix } from "node:path";

/** The folders of lib are its layers, the highest first: a file imports from its own folder and from those below. index.ts is above them all. */
const folders = ["doctor", "files", "ring", "requests", "engines", "pool", "uring", "errors", "base"];

const lib = new URL("../lib/", import.meta.url).pathname;
const paths = Array.from(new Bun.Glob("**/*.ts").scanSync(lib))
  .filter((path) => !path.endsWith(".d.ts"))
  .sort();

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

/** The files of lib that a file calls so. */
function filesOf(names: readonly string[], path: string): string[] {
  return names.filter((name) => /^\.{1,2}\/.*\.ts$/.test(name)).map((name) => posix.join(posix.dirname(path), name));
}

/** What a module imports. The transpiler drops what is of types, so it is shown the module without that word, too. */
function importsOf(source: string, path: string): Imports {
  const names = specifiers(source);
  const files = filesOf(names, path);
  const all = filesOf(specifiers(source.replaceAll(/^(import|export) type (?=[{*])/gm, "$1 ")), path);
  return { packages: names.filter((name) => !name.startsWith(".")), files, typeFiles: all.filter((name) => !files.includes(name)) };
}

const imports: ReadonlyMap<string, Imports> = new Map(paths.map((path) => [path, importsOf(readFileSync(`${lib}${path}`, "utf8"), path)]));

/** 0 is the highest. */
function layerOf(path: string): number {
  return folders.indexOf(posix.dirname(path));
}

/** A round of files that import each other, or none. */
function cycleFrom(path: string, before: readonly string[], done: Set<string>): readonly string[] {
  if (before.includes(path)) return [...before.slice(before.indexOf(path)), path];
  if (done.has(path)) return [];
  const { files = [], typeFiles = [] } = imports.get(path) ?? {};
  for (const next of [...files, ...typeFiles]) {
    const cycle = cycleFrom(next, [...before, path], done);
    if (cycle.length > 0) return cycle;
  }
  done.add(path);
  return [];
}

describe("of the files in lib", () => {
  test("each is in the folder of a layer, index.ts apart", () => {
    expect(paths.filter((path) => layerOf(path) === -1)).toEqual(["index.ts"]);
    expect(folders.filter((folder) => !paths.some((path) => posix.dirname(path) === folder))).toEqual([]);
  });

  test("imports go downward, those of types as well", () => {
    const upward = Array.from(imports, ([path, { files, typeFiles }]) =>
      [...files, ...typeFiles].filter((other) => layerOf(other) < layerOf(path)).map((other) => `${path} -> ${other}`),
    );
    expect(upward.flat()).toEqual([]);
  });

  test("none imports itself by way of others, nor its types", () => {
    const done = new Set<string>();
    const cycle = paths.map((path) => cycleFrom(path, [], done)).find(({ length }) => length > 0);
    expect(cycle?.join(" -> ")).toBeUndefined();
  });

  test("native.ts alone imports bun:ffi, and none a package: Bun's and Node's own modules are all there is", () => {
    const users = Array.from(imports, ([path, { packages }]) => (packages.includes("bun:ffi") ? path : [])).flat();
    expect(users).toEqual(["uring/native.ts"]);
    const foreign = Array.from(imports, ([path, { packages }]) =>
      packages.filter((name) => !/^(node:|bun(:|$))/.test(name)).map((name) => `${path} -> ${name}`),
    );
    expect(foreign.flat()).toEqual([]);
  });

  test("importing the library loads none of Node's modules, which takes longer than to make a ring", () => {
    const loaded = new Set<string>();
    const load = (path: string) => {
      if (loaded.has(path)) return;
      loaded.add(path);
      for (const next of imports.get(path)?.files ?? []) load(next);
    };
    load("index.ts");
    expect(Array.from(loaded, (path) => imports.get(path)?.packages ?? []).flat()).toEqual(["bun:ffi"]);
    expect(loaded.size).toBeGreaterThan(40);
  });

  test("what only types are imported from is seen, also where values are not", () => {
    const source = 'import { a } from "../a.ts";\nimport type { B } from "./b.ts";\nexport type { C } from "./c.ts";\nexport const d: B = a();\n';
    expect(importsOf(source, "ring/d.ts")).toEqual({ packages: [], files: ["a.ts"], typeFiles: ["ring/b.ts", "ring/c.ts"] });
  });
});
