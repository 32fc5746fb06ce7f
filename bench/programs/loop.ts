/** Measures the lateness of 1 ms timers and the latency of requests to the program's own server, during other I/O. */
import { open } from "node:fs/promises";
import { BufferPool, Ring } from "bun-uring";
import { quantile } from "simple-statistics";
import { serveRounds } from "./rounds.ts";

const [work = "", path = "", direct = "", depth = "64"] = process.argv.slice(2);
const blockBytes = 4096;
const roundMs = 2000;

const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("answer") });
const client = new Worker(new URL("./loop-client.ts", import.meta.url).href);
let stop = false;
let done = 0;

/** Reads until `stop` is set. Counts its reads in `done`. */
async function flood(): Promise<void> {
  const isDirect = direct === "direct";
  const blocks = Bun.file(path).size / blockBytes;
  const position = () => Math.floor(Math.random() * blocks) * blockBytes;
  if (work === "ring") {
    await using ring = new Ring({ pool });
    const file = await ring.open(path, "r", 0, { direct: isDirect });
    await Promise.all(
      Array.from({ length: Number(depth) }, async () => {
        using buffer = await pool.acquire();
        for (; !stop; done++) await ring.readFixed(file, buffer, { position: position() });
      }),
    );
  } else if (work === "node") {
    await using file = await open(path);
    await Promise.all(
      Array.from({ length: Number(depth) }, async () => {
        using buffer = await pool.acquire();
        for (; !stop; done++) await file.read(buffer.bytes, 0, blockBytes, position());
      }),
    );
  }
}

const pool = new BufferPool({ count: Number(depth), size: blockBytes });

// A virtual machine's disk may be a file on its host. If the host has evicted that file from its page cache, reads
// take a hundred times as long, and there is no flood. Reading the file once brings it back.
if (direct === "direct") Bun.spawnSync(["dd", `if=${path}`, "of=/dev/null", "bs=1M", "iflag=direct"]);

await serveRounds(async () => {
  stop = false;
  done = 0;
  const lateMs: number[] = [];
  const flooding = flood();
  const requests = new Promise<number[]>((resolve) => {
    client.addEventListener("message", ({ data }: MessageEvent<number[]>) => resolve(data), { once: true });
    client.postMessage({ url: server.url.href, milliseconds: roundMs });
  });
  const until = performance.now() + roundMs;
  while (performance.now() < until) {
    const started = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1));
    lateMs.push(performance.now() - started - 1);
  }
  stop = true;
  await flooding;
  const requestMs = await requests;
  const figures = (name: string, values: number[]) => ({
    [`${name} p50`]: quantile(values, 0.5),
    [`${name} p99.9`]: quantile(values, 0.999),
  });
  return { operations: Math.max(1, done), ...figures("timer, ms late", lateMs), ...figures("request, ms", requestMs) };
});
