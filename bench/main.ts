/** `npm run bench`: compares bun-uring with other I/O libraries and tools on this machine. */
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Presets, SingleBar } from "cli-progress";
import { chartsOf } from "./charts.ts";
import { Workplace } from "./files.ts";
import { describeMachine, machineLine, requirePrograms } from "./machine.ts";
import { type Comparison, measure, quick, thorough } from "./measure.ts";
import { outcomeTable, tableOf } from "./report.ts";
import { outcomesOf } from "./targets.ts";
import { against, allWorkloads } from "./workloads.ts";

const usage = `Usage: npm run bench -- [options]

Compares bun-uring with C on liburing, fio, node:fs, Bun.file, cp and dd. Each contender runs in its own process;
their rounds alternate. All of it takes up to 20 minutes on two processors.

      --quick         run a subset of the workloads, in less than a minute
      --rounds N      run at most N rounds of each workload (default: what each needs, up to 20)
      --only PREFIX   run only workloads whose id starts with PREFIX; may be repeated
      --against DIR   compare each program with the same program in another checkout, whose dependencies are installed
      --list          list the workloads and exit
      --folder DIR    create test files in DIR, 6 GiB (default: the system's temporary folder)
      --out DIR       write results.json, results.md and charts to DIR
                      (default: docs/bench; with --quick, --only or --against: none)
  -h, --help          print this help and exit
`;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", multiple: true },
    against: { type: "string" },
    list: { type: "boolean", default: false },
    folder: { type: "string", default: tmpdir() },
    out: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});

if (values.help) {
  process.stdout.write(usage);
  process.exit();
}

requirePrograms(["gcc", "fio", "wrk", "cp", "dd", "sync"]);
using place = new Workplace(values.folder);
const { only, against: checkout } = values;
const chosen = allWorkloads(place).filter(
  ({ id, quick: isQuick }) =>
    (!values.quick || isQuick) && (only === undefined || only.some((prefix) => id.startsWith(prefix))),
);
const workloads = checkout === undefined ? chosen : against(resolve(checkout), chosen);

if (values.list) {
  for (const { id, title } of workloads) console.log(`${id.padEnd(28)} ${title}`);
  process.exit();
}

const machine = describeMachine(values.folder);
console.log(`${machineLine(machine)}\n`);

const effort = values.quick ? quick : thorough;
const mostRounds = values.rounds === undefined ? Number.POSITIVE_INFINITY : Number(values.rounds);
if (values.rounds !== undefined && !(Number.isInteger(mostRounds) && mostRounds > 0))
  throw new Error(`--rounds must be a positive integer, not ${values.rounds}`);
const out =
  values.out ??
  (values.quick || only !== undefined || checkout !== undefined ? undefined : join(import.meta.dir, "../docs/bench"));
const comparisons = new Map<string, Comparison>();

/** Writes the results so far. Called after each workload, so that an interrupted run keeps its results. */
async function write(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const outcomes = outcomesOf(comparisons);
  const tables = [...comparisons.values()].map(tableOf).join("\n");
  const origin = `Made by \`npm run bench\` on ${machineLine(machine)}.`;
  const page = ["# Benchmarks", origin, outcomeTable(outcomes), tables].join("\n\n");
  await Bun.write(
    join(folder, "results.json"),
    `${JSON.stringify({ machine, outcomes, comparisons: Object.fromEntries(comparisons) }, undefined, 1)}\n`,
  );
  await Bun.write(join(folder, "results.md"), page);
  for (const [name, svg] of chartsOf(comparisons, machineLine(machine))) await Bun.write(join(folder, name), svg);
}

const bar = new SingleBar(
  { format: "{bar} {value}/{total} {title}", clearOnComplete: true, noTTYOutput: false },
  Presets.shades_grey,
);
for (const [index, workload] of workloads.entries()) {
  bar.start(workloads.length, index, { title: workload.title });
  const comparison = await measure(workload, effort, mostRounds, (round) =>
    bar.update(index, { title: `${workload.title}: round ${round}` }),
  );
  bar.stop();
  comparisons.set(comparison.id, comparison);
  console.log(tableOf(comparison));
  if (out !== undefined) await write(out);
}

const outcomes = outcomesOf(comparisons);
if (outcomes.length > 0) console.log(outcomeTable(outcomes));
