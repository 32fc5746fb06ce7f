import { expect, test } from "bun:test";
import type { Terminated } from "../programs/terminate.ts";
import { times } from "../support/effort.ts";
import { measure, report } from "../support/stress.ts";

const doomedCount = times(1000);
/**
 * How many kB more than a compiling Worker each Worker may leave. Each Worker leaves some memory in any case, because
 * code that bun:ffi compiled stays. Allocators keep more, and how much differs between measurements by about 10 MB,
 * however many Workers there are. So this allows 24 MiB, divided by the number of Workers. A leak would be more: the
 * queues of a Worker's rings take 100 kB, and its slots of the pool 128 kB.
 */
const toleranceKb = (24 * 1024) / doomedCount;

test(`${doomedCount} Workers that end at random moments leave only what compiling the shim leaves, all other threads are served, and their reads are right`, async () => {
  const compiled = await measure<Terminated>("terminate", 200, times(300), "compiled");
  const doomed = await measure<Terminated>("terminate", 60 + doomedCount * 0.4, doomedCount, "doomed");
  const { workers, visits, verified, growthKbPerWorker } = doomed;
  report(
    "terminate",
    `${doomedCount} Workers (${Object.entries(workers)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(
        ", ",
      )}), ${visits.here} and ${visits.elsewhere} waiters served, ${verified.right} reads right, ${verified.wrong} wrong, ` +
      `${growthKbPerWorker.toFixed(1)} kB RSS a Worker; ${compiled.growthKbPerWorker.toFixed(1)} if it only compiles`,
  );
  expect([compiled.left, doomed.left]).toEqual([[], []]);
  expect(doomed.available).toBe(64);
  expect([verified.wrong, verified.right > 0]).toEqual([0, true]);
  expect(Object.values(workers).reduce((sum, count) => sum + count, 0)).toBe(doomedCount);
  expect([visits.here, visits.elsewhere]).toEqual([doomedCount + 1, doomedCount + 1]);
  expect(growthKbPerWorker, `kB a Worker: ${doomed.residentKb}`).toBeLessThan(compiled.growthKbPerWorker + toleranceKb);
}, 600_000);
