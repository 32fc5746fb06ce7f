/** Repeats one kind of copy or hash until it is terminated. Posts a message when it begins. */
import { constants } from "node:fs";
import { dirname } from "node:path";
import { copyFile, copyTree, hashFile, hashTree, Ring } from "bun-uring";
import type { CopierJob } from "./jobs.ts";

declare const self: Worker;

const ring = new Ring();
let copies = Math.floor(Math.random() * 1e9);

/** Freezes a file system, so that every reflink on it waits until it is thawed, and posts a message. */
function freeze(mount: string): void {
  const { success, stderr } = Bun.spawnSync(["fsfreeze", "--freeze", mount], { stdout: "ignore", stderr: "pipe" });
  if (!success) throw new Error(`fsfreeze: ${stderr}`);
  self.postMessage("frozen");
}

const acts: Record<CopierJob["act"], (job: CopierJob) => Promise<unknown>> = {
  copyFile: ({ from, to }) => copyFile(from, to),
  copyTree: ({ from, to }) => copyTree(dirname(from), `${dirname(to)}/trees/${copies++}`),
  hashTree: ({ from }) => Array.fromAsync(hashTree(dirname(from))),
  small: ({ from, to }) => copyFile(`${from}-small`, `${to}-${copies++}`),
  durable: ({ from, to }) => copyFile(from, to, { durable: true }),
  frozen: ({ from, to }) =>
    copyFile(from, to, { mode: constants.COPYFILE_FICLONE, onProgress: () => freeze(dirname(to)) }),
  hashFile: ({ from }) => hashFile(from),
  readable: async ({ from }) => {
    const file = await ring.open(from);
    for await (const _ of file.readable({ autoClose: true }));
  },
  append: async ({ to }) => {
    const file = await ring.open(to, "a");
    await using appender = await file.appender();
    const records = Array.from({ length: 200 }, (_, number) => appender.append(`${number} `.padEnd(100, "x")));
    await records[0];
    void file.close(); // the rest may be written or refused
    await Promise.allSettled(records);
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
