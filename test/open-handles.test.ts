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

/** What was reported: kind and line, of each the first that is not this library's. */
function reportsIn(stderr: string): string[] {
  return Array.from(stderr.matchAll(/\[BUN_URING_DROPPED\] BunUringWarning: (\w+) [^\n]*\n[^\n]*forgotten\.ts:(\d+)/g), ([, kind, line]) => `${kind}:${line}`);
}

test("what is dropped without close is reclaimed, and reported once, with the line that made it", async () => {
  const { exitCode, stdout, stderr } = await run("forgotten", { args: ["everything"], env: tracked });
  expect([exitCode, stdout]).toEqual([0, "0 rings, 0 files, 1 free, open: Ring,BufferPool\n"]);
  expect(reportsIn(stderr).sort()).toEqual(whereMade.slice(0, 7).sort());
  expect(stderr.match(/BUN_URING_DROPPED/g)?.length).toBe(7);
});

test("in production nothing is reported, and everything is reclaimed; a variable says otherwise", async () => {
  const production = { NODE_ENV: "production", BUN_URING_TRACK_HANDLES: undefined };
  expect(await run("forgotten", { args: ["everything"], env: production })).toMatchObject({
    exitCode: 0,
    stdout: "0 rings, 0 files, 1 free, open: \n",
    stderr: "",
  });
  const { stderr } = await run("forgotten", { args: ["everything"], env: { ...production, ...tracked } });
  expect(reportsIn(stderr).length).toBe(7);
});

needs("a processor that is not emulated")("of a program that was bundled, what it is when it runs decides", async () => {
  for (const minify of [false, true]) {
    using folder = new Folder();
    await Bun.build({ entrypoints: [program], outdir: folder.path, target: "bun", minify, throw: true });
    const bundle = [process.execPath, `${folder.path}/forgotten.js`, "a list"];
    const listed = async (NODE_ENV: string | undefined) => (await execute(bundle, { env: { NODE_ENV, BUN_URING_TRACK_HANDLES: undefined } })).stdout;
    expect([await listed("production"), await listed("development"), await listed(undefined)]).toEqual(["0 open\n", "1 open\n", "1 open\n"]);
  }
});

test("what was closed, in whatever way, is not reported, nor open", async () => {
  expect(await run("forgotten", { args: ["nothing"], env: tracked })).toMatchObject({ exitCode: 0, stdout: "1 free, 1 open\n", stderr: "" });
});

test("a program whose stack traces are no text gets its slots back, and goes on", async () => {
  const { exitCode, stdout } = await run("forgotten", { args: ["stacks of its own"], env: tracked });
  expect([exitCode, stdout]).toEqual([0, "11 open, 10 free\n"]);
});

test("a slot is not given back while somebody has its bytes", async () => {
  expect((await run("forgotten", { args: ["kept bytes"] })).stdout).toBe("0 free, 4096 bytes kept\n");
});

test("a slot is not given back while somebody has a chunk of it, the stream dropped", async () => {
  expect((await run("forgotten", { args: ["a kept chunk"] })).stdout).toBe("1 free, 1 byte kept\n2 free\n");
});

test("a slot is not given back while a raw ring may write to it", async () => {
  expect((await run("forgotten", { args: ["a slot that a raw ring has"] })).stdout).toBe("0 free, then 1\n");
});

test("a slot that was dropped with a read in flight is given back at its completion", async () => {
  expect((await run("forgotten", { args: ["a slot in flight"] })).stdout).toBe("0 free\n1 read, 1 free\n");
});

test("a file that is dropped while it is being read is read to its end, and then closed", async () => {
  expect((await run("forgotten", { args: ["a file in use"] })).stdout).toBe("true, 0 files\n");
});

test("a pool that nobody has any more serves those who wait for it", async () => {
  expect((await run("forgotten", { args: ["a pool that is waited for"] })).stdout).toBe("slot 0\n");
});

test("a pool that was shared can be attached when its maker has dropped it", async () => {
  expect((await run("forgotten", { args: ["a shared pool"] })).stdout).toBe("1 free\n");
});

test("a ring whose file is kept is not dropped; when that is closed, it is", async () => {
  const { stdout, stderr } = await run("forgotten", { args: ["a file kept, its ring not"], env: tracked });
  expect(stdout).toBe("true\n0 rings\n");
  expect(reportsIn(stderr)).toEqual(whereMade.slice(7));
});

test("openHandles lists what this thread has open, the oldest first, and where each was made", async () => {
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
  // Other test files of this process may have dropped something meanwhile.
  const named = (except: readonly OpenHandle[]) => {
    try {
      assertNoOpenHandles(except);
      return [];
    } catch (error) {
      return found.filter(({ kind, label }) => String(error).includes(`${kind} ${label} (open), made\n`)).map(({ kind }) => kind);
    }
  };
  expect(named([...before, ...found.slice(1)])).toEqual(["BufferPool"]);
  expect(named(before)).toEqual(["Ring", "RingFile", "FixedBuffer", "RawRing"]);
  expect(named(before)).toEqual([]); // what it has named does not fail the next test
  raw.close();
  buffer.release();
  await file.close();
  await ring.close();
  pool.close();
  expect(openHandles()).toEqual(before);
});

test("what is made while handles are not tracked is not listed, and the assertion says that it cannot tell", () => {
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

test("the assertion names what was dropped and collected before it looked, once", async () => {
  const { stdout } = await run("forgotten", { args: ["dropped before the assertion"], env: tracked });
  expect(stdout).toBe("2 not closed: Ring, RingFile (dropped without close)\nnothing\n");
});

test("a signal that lives on does not keep streams that were dropped", async () => {
  const { stdout, stderr } = await run("forgotten", { args: ["streams with a signal"], env: tracked });
  expect(stdout).toBe("8 free\nthe file's end: 1 chunk, then Error: enough\n");
  const streams = Array.from(readFileSync(program, "utf8").split("\n").entries(), ([index, line]) =>
    line.includes("// a stream") ? `FixedBuffer:${index + 1}` : "",
  );
  expect(new Set(reportsIn(stderr).filter((place) => place.startsWith("FixedBuffer")))).toEqual(new Set(streams.filter((place) => place !== "")));
});

test("a program whose Error.prepareStackTrace throws is told what is open all the same, without the place", () => {
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
