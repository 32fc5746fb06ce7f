/** Streams a file over and over in one of several ways, until it is terminated. */
import { BufferPool, Ring } from "bun-uring";
import type { StreamerAnswer, StreamerJob } from "./jobs.ts";

declare const self: Worker;

const going = (port?: number) => self.postMessage({ port } satisfies StreamerAnswer);

const ways: Readonly<Record<StreamerJob["way"], (ring: Ring, pool: BufferPool, job: StreamerJob) => Promise<void>>> = {
  async "reads slots"(ring, pool, { source }) {
    for await (const chunk of (await ring.open(source)).readable({ pool, zeroCopy: true, autoClose: true }))
      chunk.at(0);
  },
  async "reads copies"(ring, pool, { source }) {
    for await (const chunk of (await ring.open(source)).readable({ pool, autoClose: true })) chunk.at(0);
  },
  async "reads without a pool"(ring, _pool, { source }) {
    for await (const chunk of (await ring.open(source)).readable({ autoClose: true })) chunk.at(0);
  },
  async "reads into its own memory"(ring, _pool, { source }) {
    const file = await ring.open(source);
    const reader = file.readable({ type: "bytes", autoClose: true }).getReader({ mode: "byob" });
    while (!(await reader.read(new Uint8Array(50_000))).done);
  },
  async "writes without a pool"(ring, _pool, { target }) {
    const writer = (await ring.open(target, "w")).writable({ autoClose: true }).getWriter();
    for (let chunk = 0; chunk < 50; chunk++) await writer.write(new Uint8Array(10_000));
    await writer.close();
  },
  async writes(ring, pool, { target }) {
    await new Blob([new Uint8Array(500_000)])
      .stream()
      .pipeTo((await ring.open(target, "w")).writable({ pool, autoClose: true }));
  },
  async "pipes from slot to slot"(ring, pool, { source, target }) {
    const from = (await ring.open(source)).readable({ pool, zeroCopy: true, autoClose: true });
    await from.pipeTo((await ring.open(target, "w")).writable({ pool, autoClose: true }));
  },
  async "drops chunks"(ring, pool, { source }) {
    for await (const _ of (await ring.open(source)).readable({ pool, zeroCopy: true, autoClose: true })) break;
  },
  async serves(ring, pool, { source }) {
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async () => new Response((await ring.open(source)).readable({ pool, zeroCopy: true, autoClose: true })),
    });
    going(server.port);
    await new Promise(() => undefined);
  },
};

async function stream({ data: job }: MessageEvent<StreamerJob>): Promise<void> {
  const pool = BufferPool.attach(job.pool);
  const ring = new Ring({ pool });
  for (let round = 0; ; round++) {
    await ways[job.way](ring, pool, job);
    if (round === 0) going();
  }
}

self.addEventListener("message", stream, { once: true });
