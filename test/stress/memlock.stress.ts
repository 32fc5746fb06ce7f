/**
 * test/memlock.test.ts closes pools that one thread has made, for 200 rounds. Here Workers are terminated while they
 * have pools.
 */
import { expect, test } from "bun:test";
import type { MemlockFigures } from "../programs/memlock-workers.ts";
import { times } from "../support/effort.ts";
import { measure, report } from "../support/stress.ts";

const rounds = times(200);

test(`with a limit of 8 MiB of locked memory, ${rounds} pools of 6 MiB give their memory back at once when their Workers are terminated, as do ${rounds} that are closed`, async () => {
  const { terminated, closed, mostPinnedKb, left } = await measure<MemlockFigures>("memlock-workers", 200, rounds);
  report(
    "memlock",
    `${terminated} pools of 6 MiB terminated with their Workers and ${closed} closed under 8 MiB of memlock, no ENOMEM, ${mostPinnedKb} kB pinned at most`,
  );
  expect(left).toBe("");
  // Memory that has been used before must not count as more than its size.
  expect(mostPinnedKb).toBeLessThanOrEqual(6 * 1024);
}, 300_000);
