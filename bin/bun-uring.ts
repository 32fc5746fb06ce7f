#!/usr/bin/env bun
/** The command line: `bun-uring doctor`. */
import { parseArgs, styleText } from "node:util";
import { diagnose, type Finding, works } from "../lib/doctor/doctor.ts";
import { examine } from "../lib/doctor/surroundings.ts";

const usage = `Usage: bun-uring doctor [options]

Checks which parts of io_uring work here. For each that does not, prints why, and how to fix it.
Exit status: 0 if io_uring and bun-uring work, 1 if they do not, 2 if the command line is wrong.

      --json   print one JSON object: { works, findings: [{ name, state, found, why, fix }] }
  -h, --help   print this`;

const marks = { ok: ["✓", "green"], limited: ["!", "yellow"], failed: ["✗", "red"] } as const;

function fail(message: string): never {
  console.error(`bun-uring: ${message}\n\n${usage}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { json: { type: "boolean", default: false }, help: { type: "boolean", short: "h", default: false } },
    });
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}

const colored = process.stdout.isTTY === true && !process.env["NO_COLOR"];

function paint(format: Parameters<typeof styleText>[0], text: string): string {
  return colored ? styleText(format, text, { validateStream: false }) : text;
}

const indent = "  ";

function wrapped(text: string): string {
  const columns = process.stdout.columns || 120; // serial consoles report 0
  return Bun.wrapAnsi(text, Math.max(40, Math.min(columns, 120) - indent.length)).replaceAll(/^/gm, indent);
}

function print(findings: readonly Finding[]): void {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const shown = new Map<string, string>();
  for (const { name, state, found, why, fix = [] } of findings) {
    const [mark, color] = marks[state];
    console.log(`${paint(color, mark)} ${paint("bold", name.padEnd(width))}  ${found}`);
    if (why !== undefined) console.log(wrapped(why));
    if (fix.length === 0) continue;
    const lines = fix
      .map((line) => (line === "" ? "" : `${indent}${indent}${paint(line.startsWith("#") ? "dim" : "cyan", line)}`))
      .join("\n");
    const before = shown.get(lines);
    console.log(before === undefined ? `\n${lines}\n` : `${indent}What to do: as for ${before}.`);
    shown.set(lines, before ?? name);
  }
  const verdict = works(findings)
    ? paint("green", "io_uring and bun-uring work here.")
    : paint("red", "bun-uring does not work here.");
  console.log(`\n${verdict}`);
}

const { values, positionals } = parse();
const [command, ...more] = positionals;
if (values.help || (command === undefined && !values.json)) {
  console.log(usage);
  process.exit(0);
}
if (command !== "doctor")
  fail(command === undefined ? "a command is needed" : `unknown command ${JSON.stringify(command)}`);
if (more.length > 0) fail(`unexpected argument ${JSON.stringify(more[0])}`);
const { probe, surroundings } = await examine();
const findings = diagnose(probe, surroundings);
if (values.json) console.log(JSON.stringify({ works: works(findings), findings }));
else print(findings);
process.exitCode = works(findings) ? 0 : 1;
