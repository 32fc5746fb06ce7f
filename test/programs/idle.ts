/** Reads, closes nothing, and comes to its last line; then, by its argument, has nothing, an operation or an acquire in flight. */
import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { BufferPool, Ring } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const [what] = process.argv.slice(2);
const pool = new BufferPool({ count: 1, size: 4096 });
const ring = new Ring({ pool });
const file = await ring.open(process.execPath, constants.O_RDONLY | constants.O_DIRECT); // a read that is waited for
const buffer = await pool.acquire();
console.log(`read ${await ring.readFixed(file, buffer, { position: 0 })}`);

if (what === "operation") {
  // Another process writes to the pipe: nothing in this one is awake meanwhile.
  const ends = pipe();
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
