/**
 * The tests of the library where it can't be used, for a machine that refuses it: with seccomp, the sysctl, an old Bun, no liburing, no io_uring at all. Run by
 * test/refused.test.ts and by the compatibility table, with BUN_URING_REFUSED saying what is refused.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { BufferPool, type PoolHandle, probe, RawRing, Ring, type UringError } from "bun-uring";
import { examined, failed } from "../support/doctor.ts";
import { thrown, uringError } from "../support/errors.ts";
import { run } from "../support/programs.ts";
import { leavingNothing } from "../support/resources.ts";
import { TestWorker } from "../support/workers.ts";
import { expected } from "./expected.ts";

const uses: Record<string, () => unknown> = {
  "new RawRing()": () => new RawRing(),
  "new RawRing() with every option": () => new RawRing({ entries: 8, cqEntries: 64, flags: 0, sqThreadIdleMs: 10 }),
  "new Ring()": () => new Ring(),
  "new Ring() with options": () => new Ring({ entries: 8, cqEntries: 64, pool: [] }),
  "new BufferPool()": () => new BufferPool({ count: 1, size: 4096 }),
  "BufferPool.create()": () => BufferPool.create({ count: 1, size: 4096 }),
};

function isRefusal(error: UringError): void {
  expect([error.name, error.code, error.errno, error.syscall]).toEqual(["UringError", expected.code, expected.errno, expected.syscall]);
  for (const part of expected.hint) expect(error.hint).toContain(part);
  expect(error.message).toContain(error.hint ?? "no hint");
  expect(error.message.startsWith(`${expected.code}: `)).toBe(true);
  expect(error.stack).toContain("/test/");
}

for (const [name, use] of Object.entries(uses)) {
  describe(name, () => {
    test("throws a UringError that says what is refused, and what to do about it", async () => isRefusal(await uringError(use)));

    test("says the same again, and as often as it is asked, and leaves nothing", () =>
      leavingNothing(async () => {
        for (let time = 0; time < 20; time++) isRefusal(await uringError(use));
      }));
  });
}

test("BufferPool.create() rejects, and does not throw", async () => {
  const promise = BufferPool.create({ count: 1, size: 4096 });
  expect(promise).toBeInstanceOf(Promise);
  isRefusal(await uringError(() => promise));
});

test("a pool is refused before its memory is allocated", async () => {
  isRefusal(await uringError(() => new BufferPool({ count: 1, size: 2 ** 30 })));
  // More than the machine has would be ENOMEM.
  isRefusal(await uringError(() => new BufferPool({ count: 2 ** 14, size: 2 ** 30 })));
});

test("bad arguments are TypeErrors and RangeErrors here as elsewhere", async () => {
  const cases: [call: () => unknown, name: string, code: string][] = [
    [() => new RawRing({ entries: 0 }), "RangeError", "ERR_OUT_OF_RANGE"],
    [() => Reflect.construct(RawRing, [{ entrys: 8 }]), "TypeError", "ERR_INVALID_ARG_VALUE"],
    [() => new BufferPool({ count: 0, size: 4096 }), "RangeError", "ERR_OUT_OF_RANGE"],
    [() => BufferPool.create({ count: 1, size: -1 }), "RangeError", "ERR_OUT_OF_RANGE"],
    [() => Reflect.construct(Ring, [{ pool: {} }]), "TypeError", "ERR_INVALID_ARG_TYPE"],
    [() => Reflect.apply(BufferPool.attach, BufferPool, [{}]), "TypeError", "ERR_INVALID_ARG_TYPE"],
  ];
  for (const [call, name, code] of cases) {
    const error = await thrown(call);
    expect([error.name, error.code]).toEqual([name, code]);
  }
});

test("attaching to what claims to be a pool's handle is refused as well", async () => {
  const handle: PoolHandle = { kind: "bun-uring.PoolHandle", control: new SharedArrayBuffer(65536), memories: [] };
  expect((await thrown(() => BufferPool.attach(handle))).name).toBe("TypeError");
});

test("probe() does not throw: it says that io_uring is not available, why, and what to do", () => {
  const found = probe();
  expect([found.available, found.reason?.code, found.kernel]).toEqual([false, expected.code, release()]);
  for (const part of expected.hint) expect(found.reason?.hint).toContain(part);
  expect(found.reason?.message).toContain(found.reason?.hint ?? "no hint");
  expect([found.features, found.opcodes, Object.values(found.clone)]).toEqual([[], [], [false, false, false, false]]);
  expect(structuredClone(found)).toEqual(found);
  expect(probe()).toEqual(found);
});

test("probe() tells the sysctl and seccomp apart, as /proc does", () => {
  const found = probe();
  expect(found.seccomp).toBe(Number(/^Seccomp:\s+(\d)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]));
  if (expected.code === "EPERM") expect(found.seccomp === 2 || (found.ioUringDisabled ?? 0) > 0).toBe(true);
});

test("a Worker is told the same, and ends", async () => {
  const worker = new TestWorker<{ code: string; hint: string }>("refused");
  const { code, hint } = await worker.answer();
  expect([code, hint]).toEqual([expected.code, expect.stringContaining(expected.hint[0])]);
  await worker.ended;
});

test("importing does nothing that is refused, and each class says so on its first use", async () => {
  const { exitCode, stdout, stderr } = await run("first-use");
  const [imported, ...lines] = stdout.trim().split("\n");
  expect([exitCode, stderr, imported, lines.length]).toEqual([0, "", "imported", 4]);
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ code: expected.code, errno: expected.errno, syscall: expected.syscall });
});

test("an error that nobody catches ends the process with what to do about it", async () => {
  const { exitCode, stdout, stderr } = await run("refused");
  expect([exitCode, stdout]).toEqual([1, ""]);
  for (const part of [expected.code, ...expected.hint]) expect(stderr).toContain(part);
});

test("a process that catches it ends by itself", async () => {
  const { exitCode, signal, stdout } = await run("refused", { args: ["catch"] });
  expect([exitCode, signal, stdout]).toEqual([0, null, `${expected.code}\nlast line\n`]);
});

test("the example says why it can't hash, and its exit status is 2", async () => {
  const program = new URL("../../examples/checksum.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, program, program], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([await child.exited, stdout]).toEqual([2, ""]);
  for (const part of [`checksum: ${expected.code}`, ...expected.hint]) expect(stderr).toContain(part);
});

test("bun-uring doctor says that it does not work, what is in the way, and what to do, and its exit status is 1", async () => {
  const report = await examined();
  expect(report.works).toBe(false);
  const { name, found, why, fix } = failed(report);
  expect([name, found]).toEqual([expected.finding, expect.stringContaining(`: ${expected.code}: `)]);
  for (const part of expected.hint) expect(why).toContain(part);
  expect(fix?.join("\n")).toContain(expected.fix);
});
