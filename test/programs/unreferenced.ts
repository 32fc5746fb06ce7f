/**
 * Has an operation in flight on an unreferenced ring, which does not keep the process alive. Argument: "elsewhere"
 * keeps the process alive with a timer; "again" references the ring again.
 */
import { writeSync } from "node:fs";
import { Ring } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const [what] = process.argv.slice(2);
const ends = pipe();
const ring = new Ring().unref();
const POLLIN = 1;
void ring.poll(ends.readFd, POLLIN).then((events) => console.log(`completed with ${events}`));
if (what === "elsewhere") {
  const alive = setInterval(() => undefined, 1 << 30);
  setImmediate(() => writeSync(ends.writeFd, "x"));
  void ring.poll(ends.readFd, POLLIN).then(() => clearInterval(alive));
}
if (what === "again") {
  setImmediate(() => ring.ref());
  setTimeout(() => writeSync(ends.writeFd, "x"), 50).unref();
}
console.log("last line");
