import { expect, test } from "bun:test";
import { times } from "../support/effort.ts";
import { run } from "../support/programs.ts";

const rounds = times(10_000);

test(`after ${rounds} rounds of making, using and dropping things without close, under permanent garbage collection, everything has come back, and all data is right`, async () => {
  const seed = Number(process.env["BUN_URING_TEST_SEED"] ?? Date.now() % 2 ** 31);
  const { exitCode, signal, stdout, stderr } = await run("dropper", { args: [String(rounds), String(seed)] });
  console.log(`dropped: seed ${seed}: ${stdout.trim()}`);
  expect([exitCode, signal, stderr]).toEqual([0, null, ""]);
  const { right, collected, rssKb, ...left } = JSON.parse(stdout);
  expect(left).toEqual({ wrong: 0, unsettled: 0, rings: 0, eventfds: 0, files: 0, slots: 16, others: 0, pinnedKb: 0 });
  expect(right).toBeGreaterThan(rounds / 3);
  expect(collected).toBeGreaterThan(0);
  // In KiB a round. A round makes some rings and files, so even a leak of 1 KiB for each of them would exceed this.
  expect((rssKb[1] - rssKb[0]) / rounds).toBeLessThan(2);
});
