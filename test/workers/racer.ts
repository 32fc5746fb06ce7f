/**
 * Attaches to a pool, acquires its slots, or clones it, again and again until the pool is closed. All racing threads
 * start at the same moment. The next message starts a race for another pool.
 */
import { closeSync, openSync } from "node:fs";
import { BufferPool, type FixedBuffer, Ring, UringError } from "bun-uring";
import { numbered } from "../support/content.ts";
import type { RacerAnswer, RacerJob } from "./jobs.ts";

declare const self: Worker;

/** The most attachments that this thread has at once. */
const mostAttached = 20;

/** The gate of the current race. */
let gate: Int32Array = new Int32Array(2);

/** Repeats `act` until it fails. Returns the outcome of each call, and the error last. */
async function untilRefused(act: () => string | Promise<string>): Promise<string[]> {
  const outcomes: string[] = [];
  for (;;) {
    try {
      outcomes.push(await act());
      Atomics.store(gate, 1, 1);
      Atomics.notify(gate, 1);
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      return [...outcomes, `${error.code} ${error.syscall}`];
    }
  }
}

async function attachAll({ pool: handle }: RacerJob): Promise<string[]> {
  const pools: BufferPool[] = [];
  const outcomes = await untilRefused(() => {
    pools.push(BufferPool.attach(handle));
    if (pools.length > mostAttached) pools.shift()?.close();
    return "attached";
  });
  // The pools that are still attached are closed by now, and have to report that.
  for (const pool of pools)
    outcomes.push(...(await untilRefused(() => pool.acquire().then(() => "acquired from a closed pool"))));
  for (const pool of pools) {
    if (!pool.closed) outcomes.push("an attached pool that is not closed");
    pool.close();
  }
  return outcomes;
}

async function acquireAll(pool: BufferPool): Promise<string[]> {
  const lanes = [1, 2, 3, 4].map((mark) =>
    untilRefused(async () => {
      using buffer = await pool.acquire();
      buffer.bytes.fill(mark);
      if (mark % 2 === 0) await new Promise(setImmediate);
      return buffer.bytes.every((byte) => byte === mark) ? "acquired" : "two have one slot";
    }),
  );
  return (await Promise.all(lanes)).flat();
}

async function cloneAll(pool: BufferPool, buffer: FixedBuffer | undefined, path: string): Promise<string[]> {
  if (buffer === undefined) throw new Error("no slot");
  const fd = openSync(path, "r");
  const outcomes = await untilRefused(async () => {
    await using ring = new Ring({ pool });
    buffer.bytes.fill(0xff);
    const bytesRead = await ring.readFixed(fd, buffer, { position: 0 });
    return Buffer.compare(buffer.bytes, numbered(bytesRead)) === 0 ? "cloned" : "a clone of something else";
  });
  buffer.release();
  closeSync(fd);
  return outcomes;
}

self.addEventListener("message", async ({ data }: MessageEvent<RacerJob>) => {
  gate = new Int32Array(data.gate);
  const pool = data.racing === "attach" ? undefined : BufferPool.attach(data.pool);
  const buffer = data.racing === "clone" ? pool?.tryAcquire() : undefined;
  self.postMessage("ready");
  Atomics.wait(gate, 0, 0);
  const outcomes = await (pool === undefined
    ? attachAll(data)
    : data.racing === "acquire"
      ? acquireAll(pool)
      : cloneAll(pool, buffer, data.path));
  pool?.close();
  self.postMessage({ outcomes } satisfies RacerAnswer);
});
