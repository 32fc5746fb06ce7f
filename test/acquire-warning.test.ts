import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { BufferPool } from "bun-uring";

const source = readFileSync(import.meta.filename, "utf8").split("\n");

/** Resolves with the next process warning. */
function nextWarning(): Promise<Error & { code?: string; detail?: string }> {
  return new Promise((resolve) => process.once("warning", resolve));
}

test("an acquire that waits for 5 seconds warns once, with who holds the slots and where this thread acquired its own", async () => {
  using pool = new BufferPool({ count: 4, size: 4096, hugePages: false });
  using attached = BufferPool.attach(pool.share());
  using first = pool.tryAcquire();
  using second = pool.tryAcquire();
  using elsewhere = attached.tryAcquire();
  const token = pool.tryAcquire()?.handOver();
  expect([first?.slotIndex, second?.slotIndex, elsewhere?.slotIndex, token?.slotIndex]).toEqual([0, 1, 2, 3]);

  // An aborted acquire does not count: the 5 seconds start with the oldest acquire that still waits.
  const aborted = new AbortController();
  const early = pool.acquire({ signal: aborted.signal }).catch((error: unknown) => error);
  await Bun.sleep(200);
  aborted.abort("enough");
  expect(await early).toBe("enough");

  const warning = nextWarning();
  const waits = [pool.acquire(), pool.acquire()];
  const began = Bun.nanoseconds();
  const { name, code, message, detail = "" } = await warning;
  expect((Bun.nanoseconds() - began) / 1e9).toBeGreaterThan(4.9);
  expect([name, code]).toEqual(["BunUringWarning", "BUN_URING_ACQUIRE_WAITS"]);
  expect(message).toContain(
    "of 4 slots of 4096 bytes: held here 2, by others 1 (1 attached), in transit 1, free 0; waiting here 2, elsewhere 0",
  );
  expect(detail.split("\n").filter((line) => !/^\s+at /.test(line))).toEqual([
    "It waits here:",
    expect.stringMatching(/^The FixedBuffer of slot 0 .* was acquired here:$/),
    expect.stringMatching(/^The FixedBuffer of slot 1 .* was acquired here:$/),
  ]);
  const places = Array.from(
    detail.matchAll(/acquire-warning\.test\.ts:(\d+)/g),
    ([, line]) => source[Number(line) - 1],
  );
  expect(places).toEqual([
    expect.stringContaining("const waits ="),
    expect.stringContaining("using first ="),
    expect.stringContaining("using second ="),
  ]);

  let more = 0;
  const count = () => more++;
  process.on("warning", count);
  await Bun.sleep(5500);
  process.off("warning", count);
  expect(more).toBe(0);
  first?.release();
  second?.release();
  for (const buffer of await Promise.all(waits)) buffer.release();
  if (token !== undefined) pool.receive(token).release();
}, 30_000);
