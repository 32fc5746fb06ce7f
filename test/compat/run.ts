/**
 * Runs the tests in every environment that a user may have, and prints one table. It installs and downloads what it
 * needs, and keeps downloads in a cache.
 *
 *     npm run test:compat -- [--only PATTERN] [--list] [--readme]
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { digestOf } from "./digest.ts";
import { environments } from "./environments.ts";
import { outcomeOf } from "./outcome.ts";
import { cache, Debian } from "./packages.ts";
import { writeToReadme } from "./readme.ts";
import { type Row, tableOf } from "./table.ts";

const { values } = parseArgs({
  options: { only: { type: "string" }, list: { type: "boolean" }, readme: { type: "boolean" } },
});
const wanted = new RegExp(values.only ?? "");
const all = (await environments(await Debian.open())).filter(({ name }) => wanted.test(name));
if (values.list) {
  for (const { name } of all) console.log(name);
  process.exit();
}

const scratch = mkdtempSync(join(tmpdir(), "bun-uring-compat-"));
chmodSync(scratch, 0o755);
const logs = join(cache, "logs");
mkdirSync(logs, { recursive: true });
const started = Date.now();
const rows: Row[] = new Array(all.length);
const queue = all.entries();

/** Runs one environment after the other until none is left. Several of these run at once. */
async function work(): Promise<void> {
  for (const [index, environment] of queue) {
    const began = Date.now();
    const folder = join(scratch, String(index));
    mkdirSync(folder);
    const printed = await environment.run(folder).catch((error) => `${error}`);
    rmSync(folder, { recursive: true, force: true });
    const log = join(logs, `${environment.name.replaceAll(/\W+/g, "-")}.log`);
    writeFileSync(log, printed);
    const outcome = outcomeOf(printed);
    const expected = environment.suite === "all" ? [digestOf("README.md"), digestOf(environment.bun)] : [];
    const wrong =
      JSON.stringify([...outcome.digests.values()]) === JSON.stringify(expected)
        ? []
        : ["the example's digests are not those of node:crypto"];
    rows[index] = { environment, outcome: { ...outcome, failures: [...outcome.failures, ...wrong] } };
    const { failures, passed } = rows[index].outcome;
    const seconds = Math.round((Date.now() - began) / 1000);
    console.error(
      `compat: ${environment.name}: ${passed} passed${failures.length > 0 ? `, ${failures.length} FAILED` : ""}, ${seconds} s`,
    );
    if (failures.length > 0)
      console.error(`${failures.map((failure) => `    ${failure}\n`).join("")}    full output: ${log}`);
  }
}

try {
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

const hostTotal = Math.max(
  0,
  ...rows.map(({ environment, outcome }) => (environment.suite === "all" ? outcome.total : 0)),
);
for (const { environment, outcome } of rows)
  if (environment.suite === "all" && outcome.total !== hostTotal)
    console.error(`compat: ${environment.name} has ${outcome.total} tests, but others have ${hostTotal}`);
const table = tableOf(rows, hostTotal);
console.log(`\n${table}`);
if (values.readme) writeToReadme(table);
const failed = rows.filter(
  ({ environment, outcome }) =>
    outcome.failures.length > 0 || (environment.suite === "all" && outcome.total !== hostTotal),
);
console.log(
  `${rows.length - failed.length} of ${rows.length} environments green, ${Math.round((Date.now() - started) / 1000)} s`,
);
process.exit(failed.length > 0 ? 1 : 0);
