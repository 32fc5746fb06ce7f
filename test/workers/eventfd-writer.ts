/** Each time that the word is set to 1, resets it to 0 and writes to an eventfd. Exits when the word is 2. */
import { writeSync } from "node:fs";
import type { EventfdWriterJob } from "./jobs.ts";

declare const self: Worker;

self.addEventListener("message", ({ data: { fd, word } }: MessageEvent<EventfdWriterJob>) => {
  self.postMessage("ready");
  const one = new Uint8Array(new BigUint64Array([1n]).buffer);
  for (;;) {
    Atomics.wait(word, 0, 0);
    if (Atomics.load(word, 0) === 2) process.exit();
    Atomics.store(word, 0, 0);
    writeSync(fd, one);
  }
});
