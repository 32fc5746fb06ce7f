/**
 * Builds dist/, which users get instead of lib/: a bundle of the library, a bundle of the command, the declarations of
 * the public names with their doc comments, and a stub for runtimes other than Bun. Then it replaces the repository's
 * package.json by the package's. scripts/pack.sh restores the former after npm has packed.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { BunPlugin } from "bun";
import { transform } from "esbuild";
import { prune } from "./declarations.ts";
import { stub } from "./stub.ts";

const root = join(import.meta.dir, "..");
const lib = join(root, "lib");
const dist = join(root, "dist");
const library = "bun-uring.js";

/** A plugin that leaves some files of lib out of a bundle: the bundle imports `path` instead of them. */
function external(isExternal: (file: string) => boolean, path: string): BunPlugin {
  return {
    name: path,
    setup: ({ onResolve }) =>
      void onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ path: specifier, importer }) => {
        const file = relative(lib, join(dirname(importer), specifier));
        return isExternal(file) ? { path, external: true } : undefined;
      }),
  };
}

async function bundle(entry: string, naming: string, plugin: BunPlugin): Promise<void> {
  await Bun.build({
    entrypoints: [join(root, entry)],
    outdir: dist,
    naming,
    target: "bun",
    minify: { syntax: true },
    plugins: [plugin],
    throw: true,
  });
}

/** Replaces text in a file of dist. Throws if the pattern does not match. */
function edit(file: string, pattern: RegExp, replacement: string): void {
  const path = join(dist, file);
  const text = readFileSync(path, "utf8");
  if (!pattern.test(text)) throw new Error(`${file} has no ${pattern}`);
  writeFileSync(path, text.replace(pattern, replacement));
}

/**
 * Removes indentation, and keeps lines short enough for the excerpt that an error shows. The comment `// @bun` makes
 * Bun load the file as it is.
 */
async function tighten(file: string): Promise<void> {
  const path = join(dist, file);
  const { code } = await transform(readFileSync(path, "utf8"), {
    minifyWhitespace: true,
    lineLimit: 120,
    target: "esnext",
  });
  writeFileSync(path, code.replace(/^(#!.*\n)?/, "$1// @bun\n"));
}

async function bundles(): Promise<void> {
  await bundle(
    "lib/index.ts",
    library,
    external((file) => file === "uring/shim-source.ts", "./shim-source.js"),
  );
  // Modules that only the doctor uses are bundled with it, so that programs do not load them. The other modules in this
  // pattern have no state to share, so the doctor has its own copy. Everything else it imports from the library, so
  // that has to be a public name there.
  const copied =
    /^(doctor\/.*|base\/(assert|globals|machine|timers)|errors\/(errno|hints|refusal|remedies|requirements)|uring\/memlock)\.ts$/;
  await bundle(
    "bin/bun-uring.ts",
    "cli.js",
    external((file) => !copied.test(file), `./${library}`),
  );
  // A user's bundler has to recognize this as a require() call.
  edit(library, /__require\("\.\/shim-source\.js"\)/, 'require("./shim-source.js")');
  await tighten(library);
  await tighten("cli.js");
  const source = readFileSync(join(lib, "uring/shim-source.ts"), "utf8").replaceAll("../../c/", "../c/");
  writeFileSync(
    join(dist, "shim-source.js"),
    new Bun.Transpiler({ loader: "ts", target: "bun" }).transformSync(source),
  );
}

const nodeExports = 'export * from "node:fs/promises";\n';

/** `bun-uring/promises`: in Bun beside the library's bundle, elsewhere node:fs/promises itself. */
function promises(): void {
  const source = readFileSync(join(lib, "promises.ts"), "utf8").replace('"./index.ts"', `"./${library}"`);
  writeFileSync(join(dist, "promises.js"), new Bun.Transpiler({ loader: "ts", target: "bun" }).transformSync(source));
  writeFileSync(join(dist, "promises-other.js"), `${nodeExports}export { default } from "node:fs/promises";\n`);
  writeFileSync(
    join(dist, "promises.d.ts"),
    `import * as fs from "node:fs/promises";\n${nodeExports}declare const promises: typeof fs;\nexport default promises;\n`,
  );
}

function declarations(): void {
  const { exitCode, stdout } = Bun.spawnSync(
    [process.execPath, join(root, "node_modules/.bin/tsc"), "-p", "scripts/declarations.json"],
    { cwd: root },
  );
  if (exitCode !== 0) throw new Error(stdout.toString());
  prune(dist);
}

function manifest(): void {
  const {
    scripts: _,
    devDependencies: __,
    allowScripts: ___,
    ...kept
  } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  kept.exports["."].bun = `./dist/${library}`;
  kept.exports["./promises"].bun = "./dist/promises.js";
  kept.bin["bun-uring"] = "dist/cli.js";
  kept.files = ["dist", "c"];
  mkdirSync(join(root, ".packing"), { recursive: true });
  renameSync(join(root, "package.json"), join(root, ".packing/package.json"));
  writeFileSync(join(root, "package.json"), `${JSON.stringify(kept, null, 2)}\n`);
}

rmSync(dist, { recursive: true, force: true });
await bundles();
declarations();
promises();
writeFileSync(join(dist, "index.js"), stub(await import("../lib/index.ts")));
manifest();
