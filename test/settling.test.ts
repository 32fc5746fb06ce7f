import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { BufferPool } from "bun-uring";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { sockets } from "./support/pipes.ts";
import { leavingNothing } from "./support/resources.ts";
import { TestWorker } from "./support/workers.ts";
import type { SettlerAnswer, SettlerJob } from "./workers/jobs.ts";

/** Scaled down twice: on an emulated processor this test would otherwise take a large part of the suite's time. */
const operations = times(times(1_000_000));
const ringsOfWorkers = [3, 3, 2, 2];
const fileBytes = 2 ** 20;

test(
  `10 rings in 4 Workers, ${operations} operations with 10 % aborted at random: every promise settles once, inFlight returns to 0, and every slot is returned`,
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      using ends = sockets();
      const content = Buffer.from(Uint32Array.from({ length: fileBytes / 4 }, (_, word) => word).buffer);
      const directPath = folder.write("direct", content);
      const paths = ringsOfWorkers.map((rings, worker) =>
        Array.from({ length: rings }, (_, ring) => folder.write(`${worker}-${ring}`, content)),
      );
      using pool = new BufferPool({ count: 1024, size: 4096, hugePages: false });
      const shares = ringsOfWorkers.map((_, worker) => Math.floor((operations + worker) / ringsOfWorkers.length));
      const workers = paths.map(
        (own, worker) =>
          new TestWorker<SettlerAnswer>("settler", {
            pool: pool.share(),
            operations: shares[worker] ?? 0,
            paths: own,
            directPath,
            fileBytes,
            silentFd: ends.readFd,
          } satisfies SettlerJob),
      );
      const answers = await Promise.all(workers.map((worker) => worker.answer()));
      expect(answers.flatMap(({ faults }) => faults)).toEqual([]);
      expect(answers.map(({ settledOnce }) => settledOnce)).toEqual(shares);
      expect(answers.map(({ inFlight }) => inFlight)).toEqual(
        ringsOfWorkers.map((rings) => Array.from({ length: rings }, () => 0)),
      );
      // A tenth is aborted. Fewer rejections than this would mean that most aborts come too late to test anything.
      expect(answers.reduce((sum, { rejections }) => sum + rejections, 0)).toBeGreaterThan(0.03 * operations);
      expect(pool.stats()).toMatchObject({ available: pool.count, inTransit: 0, othersWaiting: 0 });
      for (const worker of workers) worker.tell("close");
      await Promise.all(workers.map((worker) => worker.ended));
      expect(pool.stats()).toMatchObject({ available: pool.count, othersAttached: 0 });
      for (const path of paths.flat()) expect(Buffer.compare(readFileSync(path), content)).toBe(0);
    }),
  300_000,
);
