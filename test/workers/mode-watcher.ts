/** Polls a file's permissions without a pause, and posts at the end which ones it has seen. */
import { statSync } from "node:fs";
import type { ModeWatcherJob } from "./jobs.ts";

declare const self: Worker;

self.addEventListener(
  "message",
  ({ data: { path, stop } }: MessageEvent<ModeWatcherJob>) => {
    const seen = new Set<number>();
    self.postMessage([]);
    while (Atomics.load(stop, 0) === 0) {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found !== undefined) seen.add(found.mode & 0o7777);
    }
    self.postMessage([...seen]);
  },
  { once: true },
);
