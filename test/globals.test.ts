import { describe, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { transformSync } from "esbuild";
import { needs } from "./support/capabilities.ts";
import { partsOf } from "./support/exercise.ts";
import { Folder } from "./support/files.ts";
import { run } from "./support/programs.ts";
import { globalNames, replacements } from "./support/replacements.ts";

const lib = new URL("../lib/", import.meta.url);

/** Files that ask for a global all the same, each with its reason. */
const exceptions: Readonly<Record<string, { readonly names: readonly string[]; readonly reason: string }>> = {
  "base/globals": { names: ["globalThis"], reason: "takes them, when it is loaded" },
  "base/handles": { names: ["process"], reason: "takes it when it is loaded, where a bundler sees it" },
  "uring/shim-source": { names: ["Buffer", "Bun", "process"], reason: "is a module of its own in the package" },
};

/** What has them all. */
const globalObjects = ["global", "globalThis", "self"];

/** The globals that a module asks for when it runs: esbuild puts a word of ours in the place of each. */
function globalsOf(source: string): string[] {
  const define = Object.fromEntries([...globalNames, ...globalObjects].map((name) => [name, `replaced_${name}`]));
  const { code } = transformSync(source, { loader: "ts", target: "esnext", define });
  return Array.from(new Set(Array.from(code.matchAll(/\breplaced_(\w+)/g), ([, name = ""]) => name))).sort();
}

/** Loaded when whoever asks for a global gets an error, nothing can be had. */
const whens = (what: string) => (what === "errors for all" ? ["before"] : ["before", "after"]);

describe("what waits comes to its end, while globals are replaced and when they are back:", () => {
  for (const what of Object.keys(replacements))
    for (const when of whens(what))
      needs(
        "a processor that is not emulated",
        ...(what === "nothing for most" && when === "after" ? (["node:worker_threads without MessagePort (not Bun 1.4.0)"] as const) : []),
      )(`${what}, with the library loaded ${when}`, async () => {
        using folder = new Folder();
        const names = Object.keys(partsOf(await import("bun-uring"), folder.path));
        const { exitCode, stdout, stderr } = await run("replaced", {
          args: [what, when, folder.path],
          env: { BUN_URING_TRACK_HANDLES: "0" },
          timeoutMs: 50_000,
        });
        const expected = ["during", "after"].flatMap((phase) => names.map((name) => `${phase}: ${name}`));
        expect({ lines: stdout.trimEnd().split("\n"), exitCode, stderr }).toEqual({ lines: expected, exitCode: 0, stderr: "" });
      });
});

describe("of the files in lib", () => {
  needs("a processor that is not emulated")("none asks for a global that programs replace, but for those that are listed with a reason", () => {
    const files = Array.from(new Bun.Glob("**/*.ts").scanSync(lib.pathname)).filter((name) => !name.endsWith(".d.ts"));
    const users = files.flatMap((name) => {
      const file = name.slice(0, -".ts".length);
      const found = globalsOf(readFileSync(new URL(name, lib), "utf8")).filter((global) => !exceptions[file]?.names.includes(global));
      return found.map((global) => `${file}: ${global}`);
    });
    expect(users).toEqual([]);
  });

  needs("a processor that is not emulated")("one that does is seen, and types and its own names are not", () => {
    const source = 'import { Bun } from "./globals.ts";\nconst f = (url: URL): Promise<void> => Promise.resolve(Bun.sleep(1, url.Date));\nexport { f };\n';
    expect(globalsOf(source)).toEqual(["Promise"]);

    for (const name of globalObjects)
      for (const way of [`${name}.setTimeout(f, 1)`, `${name}["setTimeout"](f, 1)`, `const { setTimeout } = ${name}`])
        expect([way, globalsOf(`const f = () => 5;\n${way};\n`)]).toEqual([way, [name]]);
    expect(globalsOf("const f = (own: { self: typeof globalThis }) => own.self;\n")).toEqual([]);
  });
});
