/**
 * Closes a ring, or terminates a Worker, that has a request in flight which the kernel cannot cancel: uncancellable.ts
 * KIND PATH. Prints "reading" when the request is in flight. The line "close" on standard input starts the close. If
 * the close does not block in the kernel, the line "state" prints what is known while it waits. At the end it prints
 * the outcome. KIND may end in " under " and the name of a replacement of globals that is active meanwhile.
 */
import { openSync } from "node:fs";
import { BufferPool, constants, RawRing, Ring } from "bun-uring";
import { numbered } from "../support/content.ts";
import { faultyFileBytes } from "../support/faulty-files.ts";
import { replacements } from "../support/replacements.ts";
import { fdsOf, pinnedKb, ringFds } from "../support/resources.ts";
import { kinds, pieces } from "../support/rings.ts";

const { IOSQE_ASYNC } = constants;

const [given = "", path = ""] = process.argv.slice(2);
const [kind = "", replaced = ""] = given.split(" under ");
const isRight = (bytes: Uint8Array) =>
  Buffer.compare(bytes.subarray(0, faultyFileBytes), numbered(Math.min(bytes.length, faultyFileBytes))) === 0;
/**
 * A transfer of a whole slot is more than the library submits inline (4 MiB), so it would go to a worker thread of the
 * kernel. Inline, the submitting thread itself would wait for the file system.
 */
const slotBytes = 5 * 2 ** 20;

interface Closing {
  close(): void | Promise<void>;
  /** What is known while the close waits; missing if it blocks the thread. */
  state?(): object;
  /** What is known after the close. */
  outcome(): object | Promise<object>;
}

async function ofRing(): Promise<Closing> {
  const before = { rings: ringFds(), pinned: pinnedKb() };
  const pool = new BufferPool({ count: 2, size: slotBytes });
  const ring = new Ring({ pool });
  const file = await ring.open(path, "r+");
  const buffer = await pool.acquire();
  let settled = "no";
  // Without dsync the library would use a thread of node:fs for this write.
  const write = ring.writeFixed(file, buffer, { position: 0, length: 4096, dsync: true });
  write.finally(() => {
    settled = "written";
  });
  const pinned = pinnedKb();
  return {
    close: async () => {
      pool.close();
      const closing = ring.close();
      closing.finally(() => {
        settled = "closed";
      });
      await closing;
    },
    state: () => ({
      settled,
      inFlight: ring.inFlight,
      held: pool.stats().held,
      rings: ringFds() - before.rings,
      pinned: pinnedKb() === pinned,
    }),
    outcome: async () => {
      const outcome = { written: await write, inFlight: ring.inFlight };
      buffer.release();
      return { ...outcome, rings: ringFds() - before.rings, files: fdsOf(path) };
    },
  };
}

async function ofRawRing(flags: number): Promise<Closing> {
  const ring = new RawRing({ entries: 4, flags });
  const [memory = new Uint8Array()] = pieces(1);
  ring.registerBuffers([memory]);
  const fd = openSync(path, "r");
  ring.prepReadFixed(fd, memory, 0, 0, 1, IOSQE_ASYNC);
  ring.submit();
  return { close: () => ring.close(), outcome: () => ({ right: isRight(memory), rings: ringFds() }) };
}

async function ofWorker(): Promise<Closing> {
  const pool = new BufferPool({ count: 2, size: slotBytes });
  const rings = ringFds();
  const worker = new Worker(new URL("../workers/holder.ts", import.meta.url).href);
  const ended = new Promise<string>((resolve) => worker.addEventListener("close", () => resolve("ended")));
  let ending = "no";
  void ended.then((how) => {
    ending = how;
  });
  const reading = new Promise((resolve) => worker.addEventListener("message", resolve));
  worker.postMessage({ pool: pool.share(), path, writes: true });
  await reading;
  const state = () => ({ ending, available: pool.available, rings: ringFds() - rings, files: fdsOf(path) });
  return {
    close: async () => {
      worker.terminate();
      await ended;
    },
    state,
    outcome: state,
  };
}

replacements[replaced]?.replace();
const flags = kinds[kind];
const closing = await (kind === "Ring" ? ofRing() : kind === "Worker" ? ofWorker() : ofRawRing(flags ?? Number.NaN));
console.log("reading");
for await (const line of console) {
  if (line === "state") console.log(`state ${JSON.stringify(closing.state?.())}`);
  if (line === "close")
    void Promise.resolve(closing.close()).then(async () => {
      console.log(`outcome ${JSON.stringify(await closing.outcome())}`);
      process.exit();
    });
}
