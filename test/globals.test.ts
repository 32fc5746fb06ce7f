import { describe, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { transformSync } from "esbuild";
import { needs } from "./support/capabilities.ts";
import { partsOf } from "./support/exercise.ts";
import { Folder } from "./support/files.ts";
import { run } from "./support/programs.ts";
import { globalNames, replacements } from "./support/replacements.ts";

const lib = new URL("../lib/", import.meta.url);

/** Files that may use a global, each with the reason. */
const exceptions: Readonly<Record<string, { readonly names: readonly string[]; readonly reason: string }>> = {
  "base/globals": { names: ["globalThis"], reason: "captures them when it is loaded" },
  "base/handles": { names: ["process"], reason: "captures it when it is loaded, where bundlers find it" },
  "uring/shim-source": { names: ["Buffer", "Bun", "process"], reason: "is a separate module in the package" },
};

/** The names of the global object. */
const globalObjects = ["global", "globalThis", "self"];

/** The globals that a module uses when it runs. esbuild finds them: it replaces each by a name of ours. */
function globalsOf(source: string): string[] {
  const define = Object.fromEntries([...globalNames, ...globalObjects].map((name) => [name, `replaced_${name}`]));
  const { code } = transformSync(source, { loader: "ts", target: "esnext", define });
  return Array.from(new Set(Array.from(code.matchAll(/\breplaced_(\w+)/g), ([, name = ""]) => name))).sort();
}

/** If every use of a global throws, the library cannot be loaded after the replacement. */
const loadTimes = (what: string) => (what === "errors for all" ? ["before"] : ["before", "after"]);

describe("operations complete while globals are replaced and after they are restored:", () => {
  for (const what of Object.keys(replacements))
    for (const when of loadTimes(what))
      needs(
        "a processor that is not emulated",
        ...(what === "nothing for most" && when === "after"
          ? (["node:worker_threads without MessagePort (not Bun 1.4.0)"] as const)
          : []),
      )(`${what}, with the library loaded ${when} the replacement`, async () => {
        using folder = new Folder();
        const names = Object.keys(partsOf(await import("bun-uring"), folder.path));
        const { exitCode, stdout, stderr } = await run("replaced", {
          args: [what, when, folder.path],
          env: { BUN_URING_TRACK_HANDLES: "0" },
          timeoutMs: 50_000,
        });
        const expected = ["during", "after"].flatMap((phase) => names.map((name) => `${phase}: ${name}`));
        expect({ lines: stdout.trimEnd().split("\n"), exitCode, stderr }).toEqual({
          lines: expected,
          exitCode: 0,
          stderr: "",
        });
      });
});

describe("globals in lib", () => {
  needs("a processor that is not emulated")(
    "no file uses a global that programs replace, except those listed here with a reason",
    () => {
      const files = Array.from(new Bun.Glob("**/*.ts").scanSync(lib.pathname)).filter(
        (name) => !name.endsWith(".d.ts"),
      );
      const users = files.flatMap((name) => {
        const file = name.slice(0, -".ts".length);
        const found = globalsOf(readFileSync(new URL(name, lib), "utf8")).filter(
          (global) => !exceptions[file]?.names.includes(global),
        );
        return found.map((global) => `${file}: ${global}`);
      });
      expect(users).toEqual([]);
    },
  );

  needs("a processor that is not emulated")(
    "every use of a global is found, and types and a file's own names are not mistaken for one",
    () => {
      const source =
        'import { Bun } from "./globals.ts";\nconst f = (url: URL): Promise<void> => Promise.resolve(Bun.sleep(1, url.Date));\nexport { f };\n';
      expect(globalsOf(source)).toEqual(["Promise"]);

      for (const name of globalObjects)
        for (const way of [`${name}.setTimeout(f, 1)`, `${name}["setTimeout"](f, 1)`, `const { setTimeout } = ${name}`])
          expect([way, globalsOf(`const f = () => 5;\n${way};\n`)]).toEqual([way, [name]]);
      expect(globalsOf("const f = (own: { self: typeof globalThis }) => own.self;\n")).toEqual([]);
    },
  );
});
