import { describe, expect, test } from "bun:test";
import { execute, run, start } from "./support/programs.ts";

/** What last-line.ts prints up to its last line. */
const before = "read 4096\nread 4096\nlast line\n";

/** Less than anything in flight takes, also on an emulated processor. */
const promptMs = 10_000;

describe("a program that awaits its last operation", () => {
  test("ends by itself, with its ring, pool and file still open", async () => {
    const program = start("last-line", ["nothing"]);
    await program.until("last line\n");
    const reached = performance.now();
    expect(await program.outcome()).toEqual({ exitCode: 0, signal: null, stdout: before, stderr: "" });
    expect(performance.now() - reached).toBeLessThan(promptMs);
  });
});

describe("a program with an operation in flight at its last line waits for it and runs its handlers", () => {
  for (const [what, value] of [
    ["read of a pipe", "1"],
    ["timeout", "undefined"],
    ["read by a RingFile", "100"],
    ["more reads than the ring has room for", "true"],
    ["one operation after the other", "undefined"],
    ["reads that complete at once, for several turns", "20000"],
    ["a close of a ring that keeps nothing alive", "undefined"],
    ["a slot that another thread releases", "0"],
    ["a slot that this thread releases", "0"],
    ["a pool that is being made", "4"],
  ] as const) {
    test(what, async () => {
      expect(await run("last-line", { args: [what] })).toEqual({
        exitCode: 0,
        signal: null,
        stdout: `${before}settled: ${value}\n`,
        stderr: "",
      });
    });
  }

  test("a read of a ring that has no descriptor left to wait with", async () => {
    const program = new URL("./programs/last-line.ts", import.meta.url).pathname;
    const limited = [
      "sh",
      "-c",
      'ulimit -n 64; exec "$0" "$@"',
      process.execPath,
      program,
      "a wait for which no descriptor is left",
    ];
    expect(await execute(limited, { env: { BUN_URING_TRACK_HANDLES: "0" } })).toEqual({
      exitCode: 0,
      signal: null,
      stdout: `${before}settled: 1\n`,
      stderr: "",
    });
  });

  for (const [what, value] of [
    ["read", "5"],
    ["readFixed", "5"],
    ["poll", "1"],
  ] as const) {
    test(`${what}, until another process writes`, async () => {
      const program = start("last-line", [what]);
      await program.until("last line\n");
      await Bun.sleep(200);
      expect(program.running).toBe(true);
      program.tell("hello");
      expect(await program.outcome()).toEqual({
        exitCode: 0,
        signal: null,
        stdout: `${before}settled: ${value}\n`,
        stderr: "",
      });
    });
  }

  test("a slot that nobody releases, until it is killed", async () => {
    const program = start("last-line", ["a slot that nobody releases"]);
    await program.until("last line\n");
    await Bun.sleep(300);
    expect(program.running).toBe(true);
    program.kill();
    expect(await program.outcome()).toMatchObject({ signal: "SIGTERM", stdout: before, stderr: "" });
  });
});

describe("a program ends by itself although the data it waited for never comes", () => {
  for (const [what, printed] of [
    ["a close that cancels", "the read: ECANCELED\nsettled: undefined\n"],
    ["a read that is aborted", "settled: aborted\n"],
  ] as const) {
    test(what, async () => {
      const program = start("last-line", [what]);
      expect(await program.outcome()).toEqual({ exitCode: 0, signal: null, stdout: before + printed, stderr: "" });
    });
  }
});

describe("a program with operations of every kind in flight ends at once", () => {
  for (const what of [
    "process.exit",
    "process.exit by who waits for an operation",
    "process.exit at the last line",
    "process.exit while a Worker reads",
  ]) {
    test(`by ${what}, with its exit code`, async () => {
      const program = start("last-line", [what]);
      await program.until("last line\n");
      const reached = performance.now();
      expect(await program.outcome()).toEqual({ exitCode: 7, signal: null, stdout: before, stderr: "" });
      expect(performance.now() - reached).toBeLessThan(promptMs);
    });
  }

  test("by an uncaught exception, which is reported", async () => {
    const program = start("last-line", ["an uncaught throw"]);
    expect(await program.outcome()).toMatchObject({
      exitCode: 1,
      signal: null,
      stdout: before,
      stderr: expect.stringContaining("on purpose"),
    });
  });
});
