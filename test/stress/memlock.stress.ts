/** test/memlock.test.ts has 200 rounds of closing what one thread has made; here Workers are terminated with it. */
import { expect, test } from "bun:test";
import type { MemlockFigures } from "../programs/memlock-workers.ts";
import { times } from "../support/effort.ts";
import { measure, report } from "../support/stress.ts";

const rounds = times(200);

test(`under 8 MiB of memlock, ${rounds} Workers that are terminated with a pool of 6 MiB give its memory back at once, as ${rounds} that are closed do`, async () => {
  const { terminated, closed, mostPinnedKb, left } = await measure<MemlockFigures>("memlock-workers", 200, rounds);
  report(
    "memlock",
    `${terminated} pools of 6 MiB terminated with their Workers and ${closed} closed under 8 MiB of memlock, no ENOMEM, ${mostPinnedKb} kB pinned at most`,
  );
  expect(left).toBe("");
  // Memory that has been used before must not count for more than it is.
  expect(mostPinnedKb).toBeLessThanOrEqual(6 * 1024);
}, 300_000);
