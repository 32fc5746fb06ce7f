import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { BufferPool, constants, probe } from "bun-uring";
import { maySkipSignals } from "../lib/uring/kernel.ts";
import { opcodeNames } from "../lib/uring/probe.ts";
import * as uapi from "../lib/uring/uapi.ts";
import { run } from "./support/programs.ts";
import { countedKb, leavingNothing, pinnedKb } from "./support/resources.ts";

test("probe() reports what this machine has, in agreement with /proc and the kernel, and leaves nothing open", () =>
  leavingNothing(() => {
    const found = probe();
    expect(found.available).toBe(true);
    expect(found.reason).toBeUndefined();
    expect(found.kernel).toBe(release());
    expect(readFileSync("/proc/self/maps", "utf8")).toContain(found.liburing?.path ?? "no path");
    // Distributions put the version into the file's name.
    if (/\.so\.\d+\.\d+$/.test(found.liburing?.path ?? "")) expect(found.liburing?.version).toMatch(/^2\.\d+/);
    for (const opcode of ["NOP", "READ_FIXED", "WRITE_FIXED", "OPENAT", "ASYNC_CANCEL"])
      expect(found.opcodes).toContain(opcode);
    expect(found.opcodes).not.toContain("LAST");
    for (const feature of ["NODROP", "RW_CUR_POS", "EXT_ARG", "RSRC_TAGS"]) expect(found.features).toContain(feature);
    expect(structuredClone(found)).toEqual(found);
  }));

test("probe()'s names of opcodes and features match the constants", () => {
  const numbers = (names: Readonly<Record<string, number>>, prefix: string) =>
    Object.entries(names).filter(([name]) => name.startsWith(prefix));
  for (const [name, opcode] of numbers(uapi, "IORING_OP_")) expect(`IORING_OP_${opcodeNames[opcode]}`).toBe(name);
  expect(numbers(constants, "IORING_FEAT_").map(([, bit]) => bit)).toEqual(
    Array.from({ length: 18 }, (_, bit) => 1 << bit),
  );
});

test("probe() reads the process's pinned memory on every call, and finds out the rest once", () => {
  const before = probe();
  using pool = new BufferPool({ count: 16, size: 4096 });
  const pinnedBytes = probe().memlock.pinnedBytes - before.memlock.pinnedBytes;
  // Without clones, a pool registers nothing: each ring registers the pool's memory itself.
  expect(pinnedBytes).toBeGreaterThanOrEqual(
    before.clone.whole ? countedKb(pool.stats().memoryBytes / 1024) * 1024 : 0,
  );
  expect(probe().memlock.pinnedBytes).toBe(pinnedKb() * 1024);
  expect(probe().opcodes).toBe(before.opcodes);
});

test("probe() detects a seccomp filter that refuses only io_uring_enter, and does not hang", async () => {
  const { exitCode, stdout, stderr } = await run("probe", { args: ["enter"] });
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ first: "EPERM", available: false, code: "EPERM" });
});

test("a probe after a first one that lacked descriptors reports the same as any other", async () => {
  const { whole, ranges } = probe().clone;
  for (const free of [0, 1, 2, 3, 4]) {
    const program = new URL("./programs/probe.ts", import.meta.url).pathname;
    const child = Bun.spawn(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, program, String(free)], {
      stdout: "pipe",
    });
    expect([free, JSON.parse(await child.stdout.text())]).toEqual([
      free,
      expect.objectContaining({ available: true, whole, ranges }),
    ]);
  }
});

test("if io_uring cannot be used, probe() does not throw: it returns the reason and a hint", async () => {
  const { exitCode, stdout, stderr } = await run("first-use", { args: ["platform", "probe"] });
  expect([exitCode, stderr]).toEqual([0, ""]);
  const found = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  expect([found.available, found.reason.code, typeof found.reason.hint]).toEqual([false, "EOPNOTSUPP", "string"]);
});

test("maySkipSignals() is true for Linux 6.12.108 and later 6.12 releases, whoever built them, and for no others", () => {
  for (const release of ["6.12.108", "6.12.117+deb13-cloud-amd64", "6.12.200-rc1"])
    expect([release, maySkipSignals(release)]).toEqual([release, true]);
  for (const release of [
    "6.12.0",
    "6.12.107+deb13-cloud-arm64",
    "6.1.176",
    "6.13.120",
    "6.18.44-fc",
    "7.12.117",
    "unknown",
  ])
    expect([release, maySkipSignals(release)]).toEqual([release, false]);
});

test("on a kernel that may skip its signals, the ring also finds completions that were not signalled", async () => {
  expect(await run("unsignalled", { args: ["6.12.117"] })).toEqual({
    exitCode: 0,
    signal: null,
    stdout: "0 ready: 1\n",
    stderr: "",
  });
  // On other kernels the ring does not poll: it relies on the signal.
  expect(await run("unsignalled", { args: ["6.18.44"] })).toEqual({
    exitCode: 0,
    signal: null,
    stdout: "0 TimeoutError\n",
    stderr: "",
  });
});

test("results that a lack of descriptors left open are not cached: a probe with enough descriptors finds everything", async () => {
  const { exitCode, stdout, stderr } = await run("short-probe");
  expect([exitCode, stderr]).toEqual([0, ""]);
  const { codes, clone, available } = JSON.parse(stdout);
  expect(codes[0]).toBe("EMFILE");
  expect([clone, available]).toEqual([probe().clone, 1]);
});
