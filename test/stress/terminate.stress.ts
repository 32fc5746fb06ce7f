import { expect, test } from "bun:test";
import type { Terminated } from "../programs/terminate.ts";
import { times } from "../support/effort.ts";
import { measure, report } from "../support/stress.ts";

const doomedCount = times(1000);
/**
 * Each Worker leaves some memory in any case: what bun:ffi compiles stays. Allocators keep more, and how much differs between looks by 10 MB or so, whatever the number
 * of Workers: 24 MiB, divided by that number. What one of these Workers could leave is more: the memory of its rings' queues is 100 kB, its part of the pool 128.
 */
const toleranceKb = (24 * 1024) / doomedCount;

test(`${doomedCount} Workers that end at random moments leave nothing but what compiling the shim leaves; all others are served, and read right`, async () => {
  const compiled = await measure<Terminated>("terminate", 200, times(300), "compiled");
  const doomed = await measure<Terminated>("terminate", 60 + doomedCount * 0.4, doomedCount, "doomed");
  const { workers, visits, verified, growthKbPerWorker } = doomed;
  report(
    "terminate",
    `${doomedCount} Workers (${Object.entries(workers)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(", ")}), ${visits.here} and ${visits.elsewhere} waiters served, ${verified.right} reads right, ${verified.wrong} wrong, ` +
      `${growthKbPerWorker.toFixed(1)} kB RSS a Worker; ${compiled.growthKbPerWorker.toFixed(1)} where it only compiles`,
  );
  expect([compiled.left, doomed.left]).toEqual([[], []]);
  expect(doomed.available).toBe(64);
  expect([verified.wrong, verified.right > 0]).toEqual([0, true]);
  expect(Object.values(workers).reduce((sum, count) => sum + count, 0)).toBe(doomedCount);
  expect([visits.here, visits.elsewhere]).toEqual([doomedCount + 1, doomedCount + 1]);
  expect(growthKbPerWorker, `kB a Worker: ${doomed.residentKb}`).toBeLessThan(compiled.growthKbPerWorker + toleranceKb);
}, 600_000);
