import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { BufferPool, constants, probe } from "bun-uring";
import { maySkipSignals } from "../lib/uring/kernel.ts";
import * as uapi from "../lib/uring/uapi.ts";
import { featureNames, opcodeNames } from "../lib/uring/uapi-names.ts";
import { run } from "./support/programs.ts";
import { countedKb, leavingNothing, pinnedKb } from "./support/resources.ts";

test("probe() says what this machine has, as /proc and the kernel say it, and leaves nothing", () =>
  leavingNothing(() => {
    const found = probe();
    expect(found.available).toBe(true);
    expect(found.reason).toBeUndefined();
    expect(found.kernel).toBe(release());
    expect(readFileSync("/proc/self/maps", "utf8")).toContain(found.liburing?.path ?? "no path");
    // Distributions name the file for its version.
    if (/\.so\.\d+\.\d+$/.test(found.liburing?.path ?? "")) expect(found.liburing?.version).toMatch(/^2\.\d+/);
    for (const opcode of ["NOP", "READ_FIXED", "WRITE_FIXED", "OPENAT", "ASYNC_CANCEL"]) expect(found.opcodes).toContain(opcode);
    expect(found.opcodes).not.toContain("LAST");
    for (const feature of ["NODROP", "RW_CUR_POS", "EXT_ARG", "RSRC_TAGS"]) expect(found.features).toContain(feature);
    expect(structuredClone(found)).toEqual(found);
  }));

test("probe()'s names are those of the constants", () => {
  const numbers = (names: Readonly<Record<string, number>>, prefix: string) => Object.entries(names).filter(([name]) => name.startsWith(prefix));
  for (const [name, opcode] of numbers(uapi, "IORING_OP_")) expect(`IORING_OP_${opcodeNames[opcode]}`).toBe(name);
  expect(Object.fromEntries(numbers(constants, "IORING_FEAT_"))).toEqual(
    Object.fromEntries(featureNames.map((name, bit) => [`IORING_FEAT_${name}`, 1 << bit])),
  );
});

test("what a process pins is asked for anew each time; the rest is found once", () => {
  const before = probe();
  using pool = new BufferPool({ count: 16, size: 4096 });
  const pinnedBytes = probe().memlock.pinnedBytes - before.memlock.pinnedBytes;
  expect(pinnedBytes).toBeGreaterThanOrEqual(before.clone.whole ? countedKb(pool.stats().memoryBytes / 1024) * 1024 : 0); // without clones the rings register
  expect(probe().memlock.pinnedBytes).toBe(pinnedKb() * 1024);
  expect(probe().opcodes).toBe(before.opcodes);
});

test("a filter that refuses io_uring_enter alone is found, and holds nobody up", async () => {
  const { exitCode, stdout, stderr } = await run("probe", { args: ["enter"] });
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ first: "EPERM", available: false, code: "EPERM" });
});

test("a want of descriptors at the first probe is not what is remembered", async () => {
  const { whole, ranges } = probe().clone;
  for (const free of [0, 1, 2, 3, 4]) {
    const program = new URL("./programs/probe.ts", import.meta.url).pathname;
    const child = Bun.spawn(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, program, String(free)], { stdout: "pipe" });
    expect([free, JSON.parse(await child.stdout.text())]).toEqual([free, expect.objectContaining({ available: true, whole, ranges })]);
  }
});

test("where io_uring can't be used probe() does not throw: it says why and what to do", async () => {
  const { exitCode, stdout, stderr } = await run("first-use", { args: ["platform", "probe"] });
  expect([exitCode, stderr]).toEqual([0, ""]);
  const found = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  expect([found.available, found.reason.code, typeof found.reason.hint]).toEqual([false, "EOPNOTSUPP", "string"]);
});

test("Linux 6.12 from 6.12.108 on is a kernel that may skip its signals, whoever built it; others are not", () => {
  for (const release of ["6.12.108", "6.12.117+deb13-cloud-amd64", "6.12.200-rc1"]) expect([release, maySkipSignals(release)]).toEqual([release, true]);
  for (const release of ["6.12.0", "6.12.107+deb13-cloud-arm64", "6.1.176", "6.13.120", "6.18.44-fc", "7.12.117", "unknown"])
    expect([release, maySkipSignals(release)]).toEqual([release, false]);
});

test("what such a kernel signals to nobody is found all the same", async () => {
  expect(await run("unsignalled", { args: ["6.12.117"] })).toEqual({ exitCode: 0, signal: null, stdout: "0 ready: 1\n", stderr: "" });
  // Elsewhere nobody looks: there is nothing but the signal.
  expect(await run("unsignalled", { args: ["6.18.44"] })).toEqual({ exitCode: 0, signal: null, stdout: "0 TimeoutError\n", stderr: "" });
});

test("what a want of descriptors kept from being found out is not remembered: a probe with enough of them finds all", async () => {
  const { exitCode, stdout, stderr } = await run("short-probe");
  expect([exitCode, stderr]).toEqual([0, ""]);
  const { codes, clone, available } = JSON.parse(stdout);
  expect(codes[0]).toBe("EMFILE");
  expect([clone, available]).toEqual([probe().clone, 1]);
});
