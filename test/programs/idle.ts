/** Reads, closes nothing, and comes to its last line; then, by its argument, has nothing, an operation or an acquire in flight. */
import { spawn } from "node:child_process";
import { writeSync } from "node:fs";
import { BufferPool, Ring } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const [what] = process.argv.slice(2);
const pool = new BufferPool({ count: 1, size: 4096 });
const ring = new Ring({ pool });
const ends = pipe();
const buffer = await pool.acquire();
setImmediate(() => writeSync(ends.writeFd, Buffer.alloc(4096)));
console.log(`read ${await ring.readFixed(ends.readFd, buffer)}`); // waited for, so the wake-up was armed

if (what === "operation") {
  // Another process writes to the pipe: nothing in this one is awake meanwhile.
  spawn("sh", ["-c", "sleep 0.2; echo >&3"], { detached: true, stdio: ["ignore", "ignore", "ignore", ends.writeFd] }).unref();
  void ring.readFixed(ends.readFd, buffer).then((bytesRead) => console.log(`the operation completed with ${bytesRead}`));
}
if (what === "acquire") {
  const worker = new Worker(new URL("./releaser.ts", import.meta.url).href);
  worker.postMessage({ pool: pool.share(), token: buffer.transfer() });
  worker.unref();
  void pool.acquire().then(() => console.log("the slot was granted"));
}
console.log("last line");
