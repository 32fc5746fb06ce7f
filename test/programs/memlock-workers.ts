/**
 * Runs as an ordinary user who may lock 8 MiB. In each round a Worker makes a pool of 6 MiB, reads into all of it, and
 * is terminated; then the main thread makes and closes such a pool itself. Arguments: a seed, and the number of rounds.
 * Prints the results.
 */
import { closeSync, openSync } from "node:fs";
import { BufferPool, Ring } from "bun-uring";
import { bundleWorkers } from "../support/bundled-workers.ts";
import { directFlags } from "../support/direct.ts";
import { Random } from "../support/random.ts";
import { openFds, pinnedKb, ringFds } from "../support/resources.ts";
import { becomeUser, limitMemlock } from "../support/restrictions.ts";
import { TestWorker } from "../support/workers.ts";

export interface MemlockFigures {
  readonly terminated: number;
  readonly closed: number;
  /** The most pinned memory while the main thread had its pool. */
  readonly mostPinnedKb: number;
  readonly left: string;
}

const [seed = 0, rounds = 0] = process.argv.slice(2).map(Number);
const random = new Random(seed);
const options = { count: 96, size: 65536 };
// Opened as root, because an ordinary user may not have access.
const fd = openSync(process.execPath, directFlags(process.execPath));
limitMemlock(8 * 2 ** 20);
becomeUser(2 ** 20 + process.pid); // a user of its own: the limit counts all processes of a user
using _workers = await bundleWorkers("pool-reader");

let mostPinnedKb = 0;

let descriptors = 0;
for (let round = 0; round < rounds; round++) {
  const worker = new TestWorker<string>("pool-reader", { fd, options });
  const said = await worker.answer();
  if (said !== "reading") throw new Error(`round ${round}: ${said}`);
  await Bun.sleep(random.fraction() * 2);
  await worker.terminate();

  using pool = new BufferPool(options);
  mostPinnedKb = Math.max(mostPinnedKb, pinnedKb());
  await using ring = new Ring({ pool });
  using buffer = await pool.acquire();
  await ring.readFixed(fd, buffer, { position: 0 });
  buffer.release();
  await ring.close();
  pool.close();
  if (round > 0) continue;
  await Bun.sleep(200); // a wait stops listening one turn later, and Bun opens some descriptors for its own use
  descriptors = openFds();
}
const isLeft = () => ringFds() > 0 || openFds() > descriptors || pinnedKb() > 0;
// Older kernels unpin memory some time after a ring was closed.
for (let turn = 0; turn < 200 && isLeft(); turn++) await Bun.sleep(10);
const left = isLeft()
  ? `${ringFds()} rings, ${openFds()} descriptors (${descriptors} before), ${pinnedKb()} kB pinned`
  : "";
closeSync(fd);
console.log(
  JSON.stringify({
    terminated: rounds,
    closed: rounds,
    mostPinnedKb,
    left,
  } satisfies MemlockFigures),
);
