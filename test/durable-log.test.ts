import { expect } from "bun:test";
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { Random } from "./support/random.ts";
import { test } from "./support/real-processors.ts";

const program = new URL("../examples/durable-log.ts", import.meta.url).pathname;
const random = new Random(7);

async function log(args: readonly string[], stdin = "") {
  const child = Bun.spawn([process.execPath, program, ...args], {
    stdin: Buffer.from(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, lines: stdout.split("\n").slice(0, -1), stderr };
}

/** Appends the lines of a file until it is killed, after it has acknowledged `count`. Returns the acknowledgements. */
async function killAfter(count: number, path: string, lines: string): Promise<string[]> {
  const child = Bun.spawn([process.execPath, program, path], { stdin: Bun.file(lines), stdout: "pipe" });
  let printed = "";
  const decoder = new TextDecoder();
  for await (const piece of child.stdout) {
    printed += decoder.decode(piece, { stream: true });
    if (printed.split("\n").length > count) child.kill("SIGKILL");
  }
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  return printed.split("\n").slice(0, -1); // the last line may be incomplete
}

test("after kills amid appends every acknowledged record is in the log, at its position, once and in order", async () => {
  using folder = new Folder();
  const path = `${folder.path}/log`;
  let known: string[] = [];
  for (let turn = 0; turn < times(8); turn++) {
    const lines = Array.from({ length: 20_000 }, (_, number) => `${turn}:${number} ${"x".repeat(number % 300)}.`);
    const acknowledged = await killAfter(
      1 + Math.floor(random.fraction() * 5000),
      path,
      folder.write("lines", `${lines.join("\n")}\n`),
    );
    const { exitCode, lines: listed } = await log(["--list", path]);
    expect(exitCode).toBe(0);
    // What was in the log before, what was acknowledged, and possibly more that was not acknowledged yet.
    const expected = [...known, ...acknowledged];
    expect(expected.findIndex((line, index) => listed[index] !== line)).toBe(-1);
    const added = listed.slice(known.length).map((line) => line.slice(line.indexOf(" ") + 1));
    expect(added.findIndex((line, index) => lines[index] !== line)).toBe(-1);
    known = listed;
  }
  expect(known.length).toBeGreaterThan(times(8));
});

test("an incomplete record at the end of the log is cut off, and appending goes on after the last complete one", async () => {
  using folder = new Folder();
  const path = `${folder.path}/log`;
  expect(await log([path], "one\ntwo\nthree\n")).toEqual({
    exitCode: 0,
    lines: ["0 one", "11 two", "22 three"],
    stderr: "",
  });
  const whole = readFileSync(path);
  for (const [tail, name] of [
    [whole.subarray(22, 25), "a part of a head"],
    [whole.subarray(22, 30), "a head"],
    [whole.subarray(22, 34), "a part of a text"],
    [Buffer.concat([whole.subarray(22, 34), Buffer.from("?")]), "a wrong byte"],
    [Buffer.alloc(4096), "zeros"],
  ] as const) {
    writeFileSync(path, whole);
    appendFileSync(path, tail);
    const { lines, stderr } = await log([path], "four\n");
    expect([name, lines, stderr]).toEqual([
      name,
      ["35 four"],
      `durable-log: cut off ${tail.length} bytes of incomplete records\n`,
    ]);
    expect((await log(["--list", path])).lines).toEqual(["0 one", "11 two", "22 three", "35 four"]);
  }
  truncateSync(path, 0);
  expect(await log(["--list", path])).toMatchObject({ exitCode: 0, lines: [] });
});

test("the log prints its usage, and refuses files that it cannot sync", async () => {
  expect(await log(["--help"])).toMatchObject({ exitCode: 0, stderr: "" });
  expect(await log([])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("one FILE is needed") });
  expect(await log(["/dev/null"])).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("EINVAL") });
});
