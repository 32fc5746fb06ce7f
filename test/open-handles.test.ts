import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { assertNoOpenHandles, BufferPool, type OpenHandle, openHandles, RawRing, Ring, trackHandles } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { Folder } from "./support/files.ts";
import { execute, run } from "./support/programs.ts";

const program = new URL("programs/forgotten.ts", import.meta.url).pathname;
const whereMade = readFileSync(program, "utf8")
  .split("\n")
  .flatMap((line, index) => {
    const kind = / \/\/ (Ring|RawRing|RingFile|BufferPool|FixedBuffer)$/.exec(line)?.[1];
    return kind === undefined ? [] : [`${kind}:${index + 1}`];
  });

const tracked = { BUN_URING_TRACK_HANDLES: "1" };

/** The reported handles: kind, and line of the topmost stack frame outside this library. */
function reportsIn(stderr: string): string[] {
  return Array.from(
    stderr.matchAll(/\[BUN_URING_DROPPED\] BunUringWarning: (\w+) [^\n]*\n[^\n]*forgotten\.ts:(\d+)/g),
    ([, kind, line]) => `${kind}:${line}`,
  );
}

test("handles dropped without close are reclaimed and reported once, with the line that created them", async () => {
  const { exitCode, stdout, stderr } = await run("forgotten", { args: ["everything"], env: tracked });
  expect([exitCode, stdout]).toEqual([0, "0 rings, 0 files, 1 free, open: Ring,BufferPool\n"]);
  expect(reportsIn(stderr).sort()).toEqual(whereMade.slice(0, 7).sort());
  expect(stderr.match(/BUN_URING_DROPPED/g)?.length).toBe(7);
});

test("in production dropped handles are reclaimed, and reported only if BUN_URING_TRACK_HANDLES is set", async () => {
  const production = { NODE_ENV: "production", BUN_URING_TRACK_HANDLES: undefined };
  expect(await run("forgotten", { args: ["everything"], env: production })).toMatchObject({
    exitCode: 0,
    stdout: "0 rings, 0 files, 1 free, open: \n",
    stderr: "",
  });
  const { stderr } = await run("forgotten", { args: ["everything"], env: { ...production, ...tracked } });
  expect(reportsIn(stderr).length).toBe(7);
});

needs("a processor that is not emulated")(
  "a bundled program follows NODE_ENV at run time, not at build time",
  async () => {
    for (const minify of [false, true]) {
      using folder = new Folder();
      await Bun.build({ entrypoints: [program], outdir: folder.path, target: "bun", minify, throw: true });
      const bundle = [process.execPath, `${folder.path}/forgotten.js`, "a list"];
      const listed = async (NODE_ENV: string | undefined) =>
        (await execute(bundle, { env: { NODE_ENV, BUN_URING_TRACK_HANDLES: undefined } })).stdout;
      expect([await listed("production"), await listed("development"), await listed(undefined)]).toEqual([
        "0 open\n",
        "1 open\n",
        "1 open\n",
      ]);
    }
  },
);

test("closed handles are neither reported nor listed as open, however they were closed", async () => {
  expect(await run("forgotten", { args: ["nothing"], env: tracked })).toMatchObject({
    exitCode: 0,
    stdout: "1 free, 1 open\n",
    stderr: "",
  });
});

test("a program whose Error.prepareStackTrace returns no string keeps running and gets its dropped slots back", async () => {
  const { exitCode, stdout } = await run("forgotten", { args: ["stacks of its own"], env: tracked });
  expect([exitCode, stdout]).toEqual([0, "11 open, 10 free\n"]);
});

test("a dropped slot is not reclaimed while its bytes are still referenced", async () => {
  expect((await run("forgotten", { args: ["kept bytes"] })).stdout).toBe("0 free, 4096 bytes kept\n");
});

test("a slot of a dropped stream is not reclaimed while a chunk of it is still referenced", async () => {
  expect((await run("forgotten", { args: ["a kept chunk"] })).stdout).toBe("1 free, 1 byte kept\n2 free\n");
});

test("a dropped slot is not reclaimed while a raw ring may write to it", async () => {
  expect((await run("forgotten", { args: ["a slot that a raw ring has"] })).stdout).toBe("0 free, then 1\n");
});

test("a slot dropped with a read in flight is reclaimed when the read completes", async () => {
  expect((await run("forgotten", { args: ["a slot in flight"] })).stdout).toBe("0 free\n1 read, 1 free\n");
});

test("a file dropped while it is being read is read to its end and then closed", async () => {
  expect((await run("forgotten", { args: ["a file in use"] })).stdout).toBe("true, 0 files\n");
});

test("a dropped pool still serves pending acquires", async () => {
  expect((await run("forgotten", { args: ["a pool that is waited for"] })).stdout).toBe("slot 0\n");
});

test("a shared pool can still be attached after its creator has dropped it", async () => {
  expect((await run("forgotten", { args: ["a shared pool"] })).stdout).toBe("1 free\n");
});

test("a dropped ring stays open while one of its files is referenced, and is reclaimed after that file is closed", async () => {
  const { stdout, stderr } = await run("forgotten", { args: ["a file kept, its ring not"], env: tracked });
  expect(stdout).toBe("true\n0 rings\n");
  expect(reportsIn(stderr)).toEqual(whereMade.slice(7));
});

test("openHandles() lists this thread's open handles, oldest first, with the place that created each", async () => {
  trackHandles(true);
  const before = openHandles();
  using pool = new BufferPool({ count: 3, size: 4096 });
  await using ring = new Ring({ pool });
  const file = await ring.open(import.meta.path);
  const buffer = await pool.acquire();
  const raw = new RawRing();
  const found = openHandles().slice(before.length);
  expect(found.map(({ kind, label }) => `${kind} ${label}`)).toEqual([
    "BufferPool of 3 slots of 4096 bytes",
    expect.stringContaining("Ring of descriptor"),
    `RingFile '${import.meta.path}'`,
    `FixedBuffer of slot ${buffer.slotIndex} in a pool of 3 slots of 4096 bytes`,
    `RawRing of descriptor ${raw.fd}`,
  ]);
  for (const { madeAt } of found) expect(madeAt.split("\n")[0]).toContain(import.meta.path);
  // Looks only for the handles of this test: other test files in this process may have dropped some meanwhile.
  const named = (except: readonly OpenHandle[]) => {
    try {
      assertNoOpenHandles(except);
      return [];
    } catch (error) {
      return found
        .filter(({ kind, label }) => String(error).includes(`${kind} ${label} (open), made\n`))
        .map(({ kind }) => kind);
    }
  };
  expect(named([...before, ...found.slice(1)])).toEqual(["BufferPool"]);
  expect(named(before)).toEqual(["Ring", "RingFile", "FixedBuffer", "RawRing"]);
  expect(named(before)).toEqual([]); // handles that were named once do not fail the next test
  raw.close();
  buffer.release();
  await file.close();
  await ring.close();
  pool.close();
  expect(openHandles()).toEqual(before);
});

test("handles created while tracking is off are not listed, and assertNoOpenHandles() throws, asking to turn it on", () => {
  trackHandles(false);
  try {
    const before = openHandles();
    using _pool = new BufferPool({ count: 1, size: 4096 });
    expect(openHandles()).toEqual(before);
    expect(assertNoOpenHandles).toThrow("trackHandles(true)");
  } finally {
    trackHandles(true);
  }
});

test("assertNoOpenHandles() names handles dropped and collected before the call, once", async () => {
  const { stdout } = await run("forgotten", { args: ["dropped before the assertion"], env: tracked });
  expect(stdout).toBe("2 not closed: Ring, RingFile (dropped without close)\nnothing\n");
});

test("a long-lived signal does not keep dropped streams alive", async () => {
  const { stdout, stderr } = await run("forgotten", { args: ["streams with a signal"], env: tracked });
  expect(stdout).toBe("8 free\nthe file's end: 1 chunk, then Error: enough\n");
  const streams = Array.from(readFileSync(program, "utf8").split("\n").entries(), ([index, line]) =>
    line.includes("// a stream") ? `FixedBuffer:${index + 1}` : "",
  );
  expect(new Set(reportsIn(stderr).filter((place) => place.startsWith("FixedBuffer")))).toEqual(
    new Set(streams.filter((place) => place !== "")),
  );
});

test("if Error.prepareStackTrace throws, openHandles() still lists the handles, without their places", () => {
  trackHandles(true);
  const before = openHandles();
  using _ring = new RawRing();
  const { prepareStackTrace } = Error;
  try {
    Error.prepareStackTrace = () => {
      throw new Error("no traces");
    };
    const opened = openHandles().filter((handle) => !before.includes(handle));
    expect(opened.map(({ kind, madeAt }) => [kind, madeAt])).toEqual([["RawRing", ""]]);
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
  }
});
