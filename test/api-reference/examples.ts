/** Runs the examples of doc comments as programs: tsc checks all of them together, then each one runs. */
import { mkdirSync, symlinkSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { isBefore } from "../../lib/errors/requirements.ts";
import { Folder } from "../support/files.ts";
import { execute } from "../support/programs.ts";
import { sinceOf } from "./lacking.ts";
import type { PublicSymbol } from "./symbols.ts";

const root = new URL("../../", import.meta.url).pathname;
const dependencies = join(root, "node_modules");

interface Example {
  /** "Ring.readFixed"; a symbol's second example is "Ring.readFixed-2". */
  readonly name: string;
  readonly program: string;
  /** The oldest Linux that can run it, or undefined if every supported one can. */
  readonly since: string | undefined;
}

/** The programs in the code fences of doc comments, unchanged. */
export function examplesOf(symbols: readonly PublicSymbol[]): Example[] {
  const seen = new Set<string>();
  return symbols.flatMap((symbol) => {
    if (seen.has(symbol.name)) return []; // overloads share one doc comment
    seen.add(symbol.name);
    const programs = symbol.examples.flatMap((example) =>
      Array.from(example.matchAll(/^```ts\n(.*?)^```$/gms), ([, program = ""]) => program),
    );
    return programs.map((program, index) => ({
      name: `${symbol.name}${index === 0 ? "" : `-${index + 1}`}`,
      program,
      since: sinceOf(symbol),
    }));
  });
}

/** Makes a folder in which programs find the library and the files that examples read. */
function folderOfExamples(): Folder {
  const folder = new Folder();
  folder.write("package.json", '{ "type": "module" }');
  folder.write("notes.txt", "one\ntwo\nthree\n");
  folder.random("disk.img", 2 ** 20);
  for (const name of ["node_modules", "public", "src"]) mkdirSync(join(folder.path, name));
  folder.write("public/index.html", "");
  folder.write("src/index.ts", "");
  symlinkSync(root, join(folder.path, "node_modules/bun-uring"));
  return folder;
}

/** The errors that tsc reports for the examples, one per line. */
async function typeErrorsOf(examples: readonly Example[]): Promise<string[]> {
  using folder = new Folder();
  for (const { name, program } of examples) folder.write(`${name}.ts`, program);
  folder.write(
    "tsconfig.json",
    JSON.stringify({
      extends: join(root, "tsconfig.json"),
      compilerOptions: {
        noUnusedLocals: false,
        paths: { "bun-uring": [join(root, "lib/index.ts")] },
        typeRoots: [dependencies, join(dependencies, "@types")],
      },
      include: [".", join(root, "lib/uring/*.d.ts")],
    }),
  );
  const { exitCode, stdout, stderr } = await execute([
    process.execPath,
    join(dependencies, ".bin/tsc"),
    "--project",
    folder.path,
  ]);
  return exitCode === 0 ? [] : `${stdout}${stderr}`.trim().split("\n");
}

/**
 * Runs an example and returns why it failed, if it did. An example must exit with code 0. Unless it is a test, it must
 * also print nothing to stderr.
 */
async function failuresOf({ name, program }: Example): Promise<string[]> {
  using folder = folderOfExamples();
  const path = folder.write(program.includes("bun:test") ? "example.test.ts" : "example.ts", program);
  const command = [process.execPath, ...(program.includes("bun:test") ? ["test"] : []), path];
  const child = Bun.spawn(command, {
    cwd: folder.path,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 30_000,
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  const isSilent = program.includes("bun:test") || stderr === "";
  return child.exitCode === 0 && isSilent
    ? []
    : [`${name} ended with ${child.exitCode ?? child.signalCode}:\n${stdout}${stderr}`];
}

/** Checks the examples. Returns what is wrong with them, and how many were skipped because this kernel is too old. */
export async function checkExamples(examples: readonly Example[]): Promise<{ wrong: string[]; skipped: number }> {
  const wrong = await typeErrorsOf(examples);
  let skipped = 0;
  for (const example of examples) {
    if (!/from "bun-uring"/.test(example.program)) wrong.push(`${example.name} does not import bun-uring`);
    else if (example.since !== undefined && isBefore(release(), example.since)) skipped++;
    else wrong.push(...(await failuresOf(example)));
  }
  return { wrong, skipped };
}
