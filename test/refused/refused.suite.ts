/**
 * Tests of the library on a machine where it cannot be used: because of seccomp, the sysctl, an old Bun, a missing
 * liburing, or a kernel without io_uring. test/refused.test.ts and the compatibility table run them, and set
 * BUN_URING_REFUSED to the code of the error that is expected.
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
  expect([error.name, error.code, error.errno, error.syscall]).toEqual([
    "UringError",
    expected.code,
    expected.errno,
    expected.syscall,
  ]);
  for (const part of expected.hint) expect(error.hint).toContain(part);
  expect(error.message).toContain(error.hint ?? "no hint");
  expect(error.message.startsWith(`${expected.code}: `)).toBe(true);
  expect(error.stack).toContain("/test/");
}

for (const [name, use] of Object.entries(uses)) {
  describe(name, () => {
    test("throws a UringError that says what is refused and what to do about it", async () =>
      isRefusal(await uringError(use)));

    test("reports the same each time, and leaves nothing", () =>
      leavingNothing(async () => {
        for (let time = 0; time < 20; time++) isRefusal(await uringError(use));
      }));
  });
}

test("BufferPool.create() rejects instead of throwing", async () => {
  const promise = BufferPool.create({ count: 1, size: 4096 });
  expect(promise).toBeInstanceOf(Promise);
  isRefusal(await uringError(() => promise));
});

test("a pool is refused before its memory is allocated", async () => {
  isRefusal(await uringError(() => new BufferPool({ count: 1, size: 2 ** 30 })));
  // If this were allocated, it would be more than the machine has: ENOMEM.
  isRefusal(await uringError(() => new BufferPool({ count: 2 ** 14, size: 2 ** 30 })));
});

test("invalid arguments cause a TypeError or a RangeError, as on other machines", async () => {
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

test("attach() refuses an object that only claims to be a pool's handle", async () => {
  const handle: PoolHandle = { kind: "bun-uring.PoolHandle", control: new SharedArrayBuffer(65536), memories: [] };
  expect((await thrown(() => BufferPool.attach(handle))).name).toBe("TypeError");
});

test("probe() does not throw: it reports that io_uring is not available, why, and what to do", () => {
  const found = probe();
  expect([found.available, found.reason?.code, found.kernel]).toEqual([false, expected.code, release()]);
  for (const part of expected.hint) expect(found.reason?.hint).toContain(part);
  expect(found.reason?.message).toContain(found.reason?.hint ?? "no hint");
  expect([found.features, found.opcodes, Object.values(found.clone)]).toEqual([[], [], [false, false, false, false]]);
  expect(structuredClone(found)).toEqual(found);
  expect(probe()).toEqual(found);
});

test("probe() distinguishes the sysctl from seccomp, as /proc does", () => {
  const found = probe();
  expect(found.seccomp).toBe(Number(/^Seccomp:\s+(\d)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]));
  if (expected.code === "EPERM") expect(found.seccomp === 2 || (found.ioUringDisabled ?? 0) > 0).toBe(true);
});

test("a Worker gets the same error, and ends", async () => {
  const worker = new TestWorker<{ code: string; hint: string }>("refused");
  const { code, hint } = await worker.answer();
  expect([code, hint]).toEqual([expected.code, expect.stringContaining(expected.hint[0])]);
  await worker.ended;
});

test("importing does nothing that can be refused, and each class throws on its first use", async () => {
  const { exitCode, stdout, stderr } = await run("first-use");
  const [imported, ...lines] = stdout.trim().split("\n");
  expect([exitCode, stderr, imported, lines.length]).toEqual([0, "", "imported", 4]);
  for (const line of lines)
    expect(JSON.parse(line)).toMatchObject({ code: expected.code, errno: expected.errno, syscall: expected.syscall });
});

test("an uncaught error ends the process and prints what to do about it", async () => {
  const { exitCode, stdout, stderr } = await run("refused");
  expect([exitCode, stdout]).toEqual([1, ""]);
  for (const part of [expected.code, ...expected.hint]) expect(stderr).toContain(part);
});

test("a process that catches the error ends by itself", async () => {
  const { exitCode, signal, stdout } = await run("refused", { args: ["catch"] });
  expect([exitCode, signal, stdout]).toEqual([0, null, `${expected.code}\nlast line\n`]);
});

test("the example prints why it cannot hash, and exits with 2", async () => {
  const program = new URL("../../examples/checksum.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, program, program], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([await child.exited, stdout]).toEqual([2, ""]);
  for (const part of [`checksum: ${expected.code}`, ...expected.hint]) expect(stderr).toContain(part);
});

test("bun-uring doctor prints that the library does not work, why, and what to do, and exits with 1", async () => {
  const report = await examined();
  expect(report.works).toBe(false);
  const { name, found, why, fix } = failed(report);
  expect([name, found]).toEqual([expected.finding, expect.stringContaining(`: ${expected.code}: `)]);
  for (const part of expected.hint) expect(why).toContain(part);
  expect(fix?.join("\n")).toContain(expected.fix);
});
