import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { posix } from "node:path";

/** The folders of lib are its layers, highest first. A file imports from its own and lower ones. index.ts and promises.ts are on top. */
const folders = ["doctor", "files", "ring", "requests", "engines", "pool", "uring", "errors", "base"];

const lib = new URL("../lib/", import.meta.url).pathname;
const paths = Array.from(new Bun.Glob("**/*.ts").scanSync(lib))
  .filter((path) => !path.endsWith(".d.ts"))
  .sort();

interface Imports {
  readonly packages: readonly string[];
  /** Files of lib that are imported when the program runs. */
  readonly files: readonly string[];
  /** Files of lib from which only types are imported. */
  readonly typeFiles: readonly string[];
}

const transpiler = new Bun.Transpiler({ loader: "ts" });

function specifiers(source: string): string[] {
  return transpiler.scanImports(source).map(({ path }) => path);
}

/** The files of lib among the imported names, resolved from the file `path`. */
function filesOf(names: readonly string[], path: string): string[] {
  return names.filter((name) => /^\.{1,2}\/.*\.ts$/.test(name)).map((name) => posix.join(posix.dirname(path), name));
}

/** What a module imports. The transpiler drops imports of types, so it scans the module without the word `type`. */
function importsOf(source: string, path: string): Imports {
  const names = specifiers(source);
  const files = filesOf(names, path);
  const all = filesOf(specifiers(source.replaceAll(/^(import|export) type (?=[{*])/gm, "$1 ")), path);
  return {
    packages: names.filter((name) => !name.startsWith(".")),
    files,
    typeFiles: all.filter((name) => !files.includes(name)),
  };
}

const imports: ReadonlyMap<string, Imports> = new Map(
  paths.map((path) => [path, importsOf(readFileSync(`${lib}${path}`, "utf8"), path)]),
);

/** The index of a file's layer: 0 is the highest, and -1 means none. */
function layerOf(path: string): number {
  return folders.indexOf(posix.dirname(path));
}

/** An import cycle that can be reached from `path`, or an empty array. */
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

describe("imports in lib", () => {
  test("every file except those of public names is in the folder of a layer", () => {
    expect(paths.filter((path) => layerOf(path) === -1)).toEqual(["index.ts", "promises.ts"]);
    expect(folders.filter((folder) => !paths.some((path) => posix.dirname(path) === folder))).toEqual([]);
  });

  test("imports go downward only, including imports of types", () => {
    const upward = Array.from(imports, ([path, { files, typeFiles }]) =>
      [...files, ...typeFiles].filter((other) => layerOf(other) < layerOf(path)).map((other) => `${path} -> ${other}`),
    );
    expect(upward.flat()).toEqual([]);
  });

  test("there are no import cycles, including imports of types", () => {
    const done = new Set<string>();
    const cycle = paths.map((path) => cycleFrom(path, [], done)).find(({ length }) => length > 0);
    expect(cycle?.join(" -> ")).toBeUndefined();
  });

  test("only native.ts imports bun:ffi, and no file imports a package, only built-in modules of Bun and Node", () => {
    const users = Array.from(imports, ([path, { packages }]) => (packages.includes("bun:ffi") ? path : [])).flat();
    expect(users).toEqual(["uring/native.ts"]);
    const foreign = Array.from(imports, ([path, { packages }]) =>
      packages.filter((name) => !/^(node:|bun(:|$))/.test(name)).map((name) => `${path} -> ${name}`),
    );
    expect(foreign.flat()).toEqual([]);
  });

  test("importing the library loads none of Node's modules, which would make the import slow", () => {
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

  test("a file from which only types are imported is found, too", () => {
    const source =
      'import { a } from "../a.ts";\nimport type { B } from "./b.ts";\nexport type { C } from "./c.ts";\nexport const d: B = a();\n';
    expect(importsOf(source, "ring/d.ts")).toEqual({
      packages: [],
      files: ["a.ts"],
      typeFiles: ["ring/b.ts", "ring/c.ts"],
    });
  });
});
