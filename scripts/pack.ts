/**
 * Makes dist/, what users get of lib/: one bundle, the declarations of what is public with their doc comments, and a stub for all that is not Bun.
 * Then puts the package's package.json in the place of the repository's, which scripts/pack.sh brings back when npm has packed.
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

/** Leaves out those files of lib, by their paths in it, and has the bundle import `path` in their place. */
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
  await Bun.build({ entrypoints: [join(root, entry)], outdir: dist, naming, target: "bun", minify: { syntax: true }, plugins: [plugin], throw: true });
}

/** Replaces what has to be there. */
function edit(file: string, pattern: RegExp, replacement: string): void {
  const path = join(dist, file);
  const text = readFileSync(path, "utf8");
  if (!pattern.test(text)) throw new Error(`${file} has no ${pattern}`);
  writeFileSync(path, text.replace(pattern, replacement));
}

/** Without indentation, in lines that an error's excerpt can show. Bun takes it as it is for `// @bun`. */
async function tighten(file: string): Promise<void> {
  const path = join(dist, file);
  const { code } = await transform(readFileSync(path, "utf8"), { minifyWhitespace: true, lineLimit: 120, target: "esnext" });
  writeFileSync(path, code.replace(/^(#!.*\n)?/, "$1// @bun\n"));
}

async function bundles(): Promise<void> {
  await bundle(
    "lib/index.ts",
    library,
    external((file) => file === "uring/shim-source.ts", "./shim-source.js"),
  );
  // What only the doctor looks at and says is with it: programs need not load it. Of what shares nothing it has a copy; all else it has to find among the public names.
  const copied = /^(doctor\/.*|base\/(assert|globals|machine|timers)|errors\/(errno|hints|refusal|remedies|requirements)|uring\/memlock)\.ts$/;
  await bundle(
    "bin/bun-uring.ts",
    "cli.js",
    external((file) => !copied.test(file), `./${library}`),
  );
  // The next bundler has to see that this is required.
  edit(library, /__require\("\.\/shim-source\.js"\)/, 'require("./shim-source.js")');
  await tighten(library);
  await tighten("cli.js");
  const source = readFileSync(join(lib, "uring/shim-source.ts"), "utf8").replaceAll("../../c/", "../c/");
  writeFileSync(join(dist, "shim-source.js"), new Bun.Transpiler({ loader: "ts", target: "bun" }).transformSync(source));
}

function declarations(): void {
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, join(root, "node_modules/.bin/tsc"), "-p", "scripts/declarations.json"], { cwd: root });
  if (exitCode !== 0) throw new Error(stdout.toString());
  prune(dist);
}

function manifest(): void {
  const { scripts: _, devDependencies: __, allowScripts: ___, ...kept } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  kept.exports["."].bun = `./dist/${library}`;
  kept.bin["bun-uring"] = "dist/cli.js";
  kept.files = ["dist", "c"];
  mkdirSync(join(root, ".packing"), { recursive: true });
  renameSync(join(root, "package.json"), join(root, ".packing/package.json"));
  writeFileSync(join(root, "package.json"), `${JSON.stringify(kept, null, 2)}\n`);
}

rmSync(dist, { recursive: true, force: true });
await bundles();
declarations();
writeFileSync(join(dist, "index.js"), stub(await import("../lib/index.ts")));
manifest();
