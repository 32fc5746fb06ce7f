import { describe, expect, test } from "bun:test";
import { BufferPool } from "bun-uring";
import { blockCount } from "../../lib/pool/slots.ts";
import { times } from "../support/effort.ts";
import { report } from "../support/stress.ts";
import { TestWorker } from "../support/workers.ts";
import type { GrabberAnswer, GrabberJob, SharedSlots } from "../workers/jobs.ts";

type Job = Pick<GrabberJob, "how" | "pairs" | "depth" | "looks">;

const million = times(1_000_000);
const four = [1, 2, 3, 4];

function shareSlots(count: number): SharedSlots {
  const words = (length: number) => new SharedArrayBuffer(4 * length);
  const hints = words(blockCount(count));
  new Int32Array(hints).fill(1);
  return { hints, owners: words(count), marks: words(count), progress: words(2) };
}

/**
 * Runs a Worker for each job, which contend for `count` slots. When all jobs with a finite number of pairs are done, it
 * stops the others.
 */
async function contend(count: number, jobs: readonly Job[]) {
  using pool = new BufferPool({ count, size: 4096, hugePages: false });
  const shared = shareSlots(count);
  const started = performance.now();
  const workers = jobs.map(
    (job, index) =>
      new TestWorker<GrabberAnswer>("grabber", {
        ...job,
        ...shared,
        pool: pool.share(),
        mark: index + 1,
      } satisfies GrabberJob),
  );
  await Promise.all(workers.filter((_, index) => Number.isFinite(jobs[index]?.pairs)).map((worker) => worker.ended));
  Atomics.store(new Int32Array(shared.progress), 1, 1);
  const answers = await Promise.all(workers.map((worker) => worker.answer()));
  await Promise.all(workers.map((worker) => worker.ended));
  const seconds = (performance.now() - started) / 1000;
  const sum = (of: (answer: GrabberAnswer) => number) => answers.reduce((total, answer) => total + of(answer), 0);
  return {
    pairs: sum((answer) => answer.pairs),
    exhausted: sum((answer) => answer.exhausted),
    millionsPerSecond: (sum((answer) => answer.pairs) / 1e6 / seconds).toFixed(1),
    releasesWaited: answers.flatMap((answer) => answer.releasesWaited).toSorted((one, other) => one - other),
    /** What must be 0: slots that two threads held, owners and marks that are left, and slots that are not free. */
    wrong: {
      stolen: sum((answer) => answer.stolen),
      owned: [shared.owners, shared.marks].flatMap((words) => [...new Int32Array(words)]).filter((word) => word !== 0)
        .length,
      lost: pool.count - pool.available,
    },
  };
}

const right = { stolen: 0, owned: 0, lost: 0 };

describe("four Workers that contend for slots never have the same one, and lose none", () => {
  for (const [how, pairs, count] of [
    ["slots", 1.85 * million, 8],
    ["slots", 0.1 * million, 2 * 1024 + 5], // several blocks; each Worker begins its search in a block of its own
    ["tryAcquire", 0.5 * million, 8],
    ["acquire", 0.05 * million, 3],
  ] as const) {
    test(`with ${how === "slots" ? "lib/pool/slots.ts" : `BufferPool.${how}()`}, ${4 * pairs} times, ${count} slots`, async () => {
      const depth = how === "acquire" ? 3 : Math.ceil(0.3 * count);
      const found = await contend(
        count,
        four.map(() => ({ how, pairs, depth, looks: 1 })),
      );
      report(
        "slots",
        `${found.pairs} pairs of ${how} on ${count} slots, ${found.millionsPerSecond} M a second, ${found.exhausted} times none was free`,
      );
      expect(found.wrong).toEqual(right);
      expect(found.pairs).toBe(4 * pairs);
      expect(found.exhausted).toBeGreaterThan(0); // otherwise nobody contended
    }, 120_000);
  }
});

/**
 * This counts the releases from the moment that a waiter has asked for a slot, which the other threads can see then, to
 * the moment that it goes on in its own thread. The pool has one slot, so each of these releases could have served the
 * waiter, and is a time that it was passed over. (With several slots, the others change hands while it is being woken.)
 */
test("a waiter gets its slot after 1 000 releases at most, even if others take the slot again as soon as they have released it", async () => {
  const hog: Job = { how: "tryAcquire", pairs: Number.POSITIVE_INFINITY, depth: 1, looks: 50 };
  const waiter: Job = { how: "acquire", pairs: times(40_000), depth: 1, looks: 1 };
  const { wrong, releasesWaited } = await contend(1, [hog, hog, waiter, waiter]);
  const most = releasesWaited.at(-1) ?? 0;
  const over = releasesWaited.filter((releases) => releases > 1000).length;
  const median = releasesWaited[releasesWaited.length >> 1];
  report(
    "slots",
    `${releasesWaited.length} waits for a slot that two other threads hog: median ${median} releases, at most ${most}, ${over} waits of more than 1000`,
  );
  expect(wrong).toEqual(right);
  expect(releasesWaited.length).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(1000);
}, 120_000);
