/**
 * Generates the pages of docs/api from the doc comments. Fails if those are incomplete or their examples do not work.
 *
 *     npm run docs              generates the pages
 *     npm run docs -- --check   fails if the existing pages are not up to date
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Folder } from "../support/files.ts";
import { execute } from "../support/programs.ts";
import { checkExamples, examplesOf } from "./examples.ts";
import { lackingIn } from "./lacking.ts";
import { brokenLinksOf, differencesOf, filesOf } from "./pages.ts";
import { type Reflection, symbolsOf } from "./symbols.ts";

const { values } = parseArgs({ options: { check: { type: "boolean" } } });

const docs = new URL("../../docs/", import.meta.url).pathname;
const api = join(docs, "api");

using folder = new Folder();
const made = join(folder.path, "api");
const json = join(folder.path, "api.json");
const typedoc = join(docs, "node_modules/typedoc/bin/typedoc");
const { exitCode, stdout, stderr } = await execute([
  process.execPath,
  typedoc,
  "--options",
  join(docs, "typedoc.json"),
  "--out",
  made,
  "--json",
  json,
]);
if (exitCode !== 0) fail("TypeDoc failed", [stdout, stderr]);

const project: Reflection = await Bun.file(json).json();
const symbols = symbolsOf(project);
const examples = examplesOf(symbols);
fail("documentation is missing", lackingIn(symbols));
const { wrong, skipped } = await checkExamples(examples);
fail("examples do not work", wrong);
fail("links are broken", brokenLinksOf(made));

if (values.check) {
  fail("docs/api is out of date: run `npm run docs`", differencesOf(made, api));
} else {
  rmSync(api, { recursive: true, force: true });
  cpSync(made, api, { recursive: true });
}
const newerNeeded = skipped === 0 ? "" : `, of which ${skipped} were not run because this kernel is too old`;
console.log(
  `docs: ${filesOf(made).length} pages${values.check ? " are up to date" : ""}, ${symbols.length} symbols, ${examples.length} examples${newerNeeded}`,
);

/** Ends the program with exit code 1 if anything is wrong. */
function fail(what: string, wrong: readonly string[]): void {
  if (wrong.length === 0) return;
  console.error(`docs: ${what}:\n${wrong.map((line) => `  ${line}`).join("\n")}`);
  process.exitCode = 1;
  folder[Symbol.dispose]();
  process.exit();
}
