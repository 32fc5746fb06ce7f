import { expect, test } from "bun:test";
import { bufferSource, needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { run } from "./support/programs.ts";

async function linesOf(args: readonly string[]): Promise<unknown[]> {
  const { exitCode, stdout, stderr } = await run("memlock", { args });
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const read = {
  cloned: { bufferSource: "cloned", read: 65536 },
  registered: { bufferSource: "registered", read: 65536 },
};

/** Checks the second ring's error: it names the size needed, the limit, and both remedies: a higher limit, or none. */
function refused(line: unknown): void {
  expect(line).toEqual({ code: "ENOMEM", syscall: "io_uring_register_buffers", hint: expect.any(String) });
  for (const part of [
    "6291456 bytes",
    "8388608 bytes",
    "ulimit -l",
    "limits.conf",
    "LimitMEMLOCK=",
    "--ulimit memlock=",
    "CAP_IPC_LOCK",
  ])
    expect(JSON.stringify(line)).toContain(part);
}

test("with an 8 MiB memlock limit a 6 MiB pool serves a ring and three clones; without cloning, the second ring gets ENOMEM and a hint", async () => {
  const lines = await linesOf([]);
  if (bufferSource.one === "cloned") {
    expect(lines).toEqual([read.cloned, read.cloned, read.cloned, read.cloned]);
  } else {
    refused(lines.shift());
    expect(lines).toEqual([read.registered]);
  }
});

test("without cloning, the first ring registers the pool, and the second gets ENOMEM with a hint", async () => {
  const [error, ...lines] = await linesOf(["register"]);
  refused(error);
  expect(lines).toEqual([read.registered]);
});

test(`closing frees locked memory at once, for ${times(200)} pools of 6 MiB with their rings in a row`, async () => {
  const [first] = (await linesOf(["rounds"])).filter((line) => JSON.stringify(line).includes("read"));
  expect(first).toEqual(read[bufferSource.one]);
});

test("new rings can use the locked memory of closed rings at once", async () => {
  expect(await linesOf(["again"])).toEqual([{ enough: true, again: true }]);
});

// A kernel worker frees the locked memory. On one emulated processor that can take longer than `create` waits.
needs("a processor that is not emulated")(
  "while closed rings still hold locked memory, constructors throw ENOMEM at once, and BufferPool.create waits asynchronously",
  async () => {
    const [line] = await linesOf(["late"]);
    // `refused` is 0 on a kernel that does not count the memory of rings (before Linux 6.14).
    expect(line).toEqual({ refused: expect.any(Number), available: 96, went: true });
  },
);

test("a RawRing's registration over the limit fails with ENOMEM, leaves the table unchanged, and locks no memory", async () => {
  const { exitCode, stdout, stderr } = await run("memlock", { args: ["raw"] });
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout.trim().split("\n")).toEqual([
    "too much: ENOMEM io_uring_register_buffers",
    "too much in all: ENOMEM io_uring_register_buffers",
    "little: no error",
    "read: 65536",
    "an update to too much: ENOMEM io_uring_register_buffers_update",
    "read: 65536",
    "another: ENOMEM io_uring_register_buffers_update",
    "as much as before: no error",
  ]);
});

test("eight concurrent copies and digests lock one ring's memory at most, and never block the event loop", async () => {
  const { exitCode, stdout, stderr } = await run("memlock-copies");
  expect([exitCode, stderr]).toEqual([0, ""]);
  // One ring serves them all; with clones there is also the ring that holds the pool's registration.
  expect(JSON.parse(stdout)).toEqual({
    copied: 8,
    hashed: 8,
    sleeps: 0,
    mostRings: bufferSource.one === "cloned" ? 2 : 1,
    mostPinnedKb: 0,
  });
});
