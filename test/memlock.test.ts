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

const read = { cloned: { bufferSource: "cloned", read: 65536 }, registered: { bufferSource: "registered", read: 65536 } };

/** The second ring's error names what it needed, what is allowed, and both ways to more: a higher limit, and none. */
function refused(line: unknown): void {
  expect(line).toEqual({ code: "ENOMEM", syscall: "io_uring_register_buffers", hint: expect.any(String) });
  for (const part of ["6291456 bytes", "8388608 bytes", "ulimit -l", "limits.conf", "LimitMEMLOCK=", "--ulimit memlock=", "CAP_IPC_LOCK"])
    expect(JSON.stringify(line)).toContain(part);
}

test("a pool of 6 MiB under 8 MiB of memlock serves one ring and three clones; where rings must register, the second gets ENOMEM and how to get more", async () => {
  const lines = await linesOf([]);
  if (bufferSource.one === "cloned") {
    expect(lines).toEqual([read.cloned, read.cloned, read.cloned, read.cloned]);
  } else {
    refused(lines.shift());
    expect(lines).toEqual([read.registered]);
  }
});

test("as if nothing could be cloned, the first ring registers the pool and the second gets ENOMEM and how to get more", async () => {
  const [error, ...lines] = await linesOf(["register"]);
  refused(error);
  expect(lines).toEqual([read.registered]);
});

test(`what is closed gives its part of the limit back at once: ${times(200)} pools of 6 MiB with their rings, one after the other`, async () => {
  const [first] = (await linesOf(["rounds"])).filter((line) => JSON.stringify(line).includes("read"));
  expect(first).toEqual(read[bufferSource.one]);
});

test("what closed rings had of the limit new ones can have at once", async () => {
  expect(await linesOf(["again"])).toEqual([{ enough: true, again: true }]);
});

// A kernel worker gives the limit back: on one emulated processor it can take longer than `create` waits.
needs("a processor that is not emulated")(
  "where closed rings still have the limit, a constructor says ENOMEM at once, and BufferPool.create waits while the event loop goes on",
  async () => {
    const [line] = await linesOf(["late"]);
    // 0: an older kernel, that does not count the memory of rings (before Linux 6.14).
    expect(line).toEqual({ refused: expect.any(Number), available: 96, went: true });
  },
);

test("a RawRing's registration over the limit is ENOMEM, leaves the table as it was, and takes no part of the limit", async () => {
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

test("eight copies and eight digests at once take no locked memory but one ring's, and nothing sleeps on the event loop", async () => {
  const { exitCode, stdout, stderr } = await run("memlock-copies");
  expect([exitCode, stderr]).toEqual([0, ""]);
  // Besides the ring that has the pool's registration there is one.
  expect(JSON.parse(stdout)).toEqual({ copied: 8, hashed: 8, sleeps: 0, mostRings: bufferSource.one === "cloned" ? 2 : 1, mostPinnedKb: 0 });
});
