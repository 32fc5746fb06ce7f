/** Repeats one kind of copy or hash until it is terminated. Posts a message when it begins. */
import { dirname } from "node:path";
import { copyFile, hashFile, Ring } from "bun-uring";
import type { CopierJob } from "./jobs.ts";

declare const self: Worker;

const ring = new Ring();

/** Freezes a file system, so that every reflink on it waits until it is thawed, and posts a message. */
function freeze(mount: string): void {
  const { success, stderr } = Bun.spawnSync(["fsfreeze", "--freeze", mount], { stdout: "ignore", stderr: "pipe" });
  if (!success) throw new Error(`fsfreeze: ${stderr}`);
  self.postMessage("frozen");
}

const acts: Record<CopierJob["act"], (job: CopierJob) => Promise<unknown>> = {
  copyFile: ({ from, to }) => copyFile(from, to),
  durable: ({ from, to }) => copyFile(from, to, { durable: true }),
  frozen: ({ from, to }) => copyFile(from, to, { onProgress: () => freeze(dirname(to)) }),
  hashFile: ({ from }) => hashFile(from),
  readable: async ({ from }) => {
    const file = await ring.open(from);
    for await (const _ of file.readable({ autoClose: true }));
  },
  writable: async ({ from, to }) => {
    const [source, destination] = await Promise.all([ring.open(from), ring.open(to, "w")]);
    await source.readable({ autoClose: true }).pipeTo(destination.writable({ autoClose: true }));
  },
};

self.addEventListener(
  "message",
  async ({ data }: MessageEvent<CopierJob>) => {
    self.postMessage("begins");
    for (;;) await acts[data.act](data);
  },
  { once: true },
);
