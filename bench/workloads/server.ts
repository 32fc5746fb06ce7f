/** The example file server compared with Bun's own, under load by wrk(1). */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { Contender } from "../contender.ts";
import type { Workplace } from "../files.ts";
import { bun } from "../machine.ts";
import type { Workload } from "../measure.ts";

const connections = 32;
const seconds = 1;

/** A server that serves many rounds. Each round is one run of wrk. */
function served(name: string, file: string, folder: string, path: string): Contender {
  return {
    name,
    operations: 1,
    async start() {
      const child = Bun.spawn([bun, new URL(`../programs/${file}.ts`, import.meta.url).pathname, folder], {
        stdout: "pipe",
        stderr: "inherit",
        env: { ...process.env, NODE_ENV: "production" },
      });
      const { value: url } = await createInterface({ input: Readable.from(child.stdout) })
        [Symbol.asyncIterator]()
        .next();
      return {
        async round() {
          const wrk = Bun.spawn(
            ["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--latency", new URL(path, url).href],
            {
              stdout: "pipe",
              stderr: "inherit",
            },
          );
          const text = await wrk.stdout.text();
          const [, requests = "", duration = "", unit] = /(\d+) requests in ([\d.]+)(s|ms)/.exec(text) ?? [];
          if (requests === "" || /Non-2xx|Socket errors/.test(text)) throw new Error(`wrk: ${text}`);
          return { operations: Number(requests), wallNs: Number(duration) * (unit === "s" ? 1e9 : 1e6) };
        },
        async [Symbol.asyncDispose]() {
          child.kill();
          await child.exited;
        },
      };
    },
  };
}

export function serverWorkloads(place: Workplace): Workload[] {
  return [
    { name: "1 KiB", path: "small", sizeBytes: 2 ** 10 },
    { name: "1 MiB", path: "middle", sizeBytes: 2 ** 20 },
    { name: "16 MiB", path: "large", sizeBytes: 2 ** 24 },
  ].map(({ name, path, sizeBytes }) => ({
    id: `server-${path}`,
    title: `A file of ${name} over HTTP, ${connections} connections (operation: one request)`,
    setUp: async () => void (await Bun.write(`${place.folder}/${path}`, new Uint8Array(sizeBytes))),
    effort: { leastRounds: 5, mostRounds: 5, roundsAProcess: 5 },
    contenders: [
      served("Bun.file in Bun.serve", "bun-file-server", place.folder, path),
      served("examples/file-server.ts", "ring-file-server", place.folder, path),
    ],
  }));
}
