/** Attaches to pools and makes a ring that uses them, when it is told to. */
import { BufferPool, type PoolHandle, Ring } from "bun-uring";

declare const self: Worker;

let given: { readonly handles: readonly PoolHandle[]; readonly fd: number } | undefined;

self.addEventListener("message", async ({ data }: MessageEvent<NonNullable<typeof given> | "go">) => {
  if (data !== "go") {
    given = data;
    postMessage("ready");
    return;
  }
  const pools = (given?.handles ?? []).map((handle) => BufferPool.attach(handle));
  {
    await using ring = new Ring({ pool: pools });
    const [first] = pools;
    using buffer = await first?.acquire();
    postMessage(
      `${ring.bufferSource}, read ${buffer && (await ring.readFixed(given?.fd ?? -1, buffer, { position: 0, length: 100 }))}`,
    );
  }
  for (const pool of pools) pool.close();
});
