/**
 * A program for `bun --hot` that keeps one ring in use. Prints how many rings the process has each time it is loaded.
 */
import { Ring } from "bun-uring";
import { ringFds } from "../support/resources.ts";

const ring = new Ring();
const file = await ring.open(import.meta.path);
// Like a server's handler: this keeps the ring in use until the next load replaces it.
Object.assign(globalThis, { handle: () => file.stat() });
// A ring that the collector finds is closed one or two turns of the event loop later.
for (let turn = 0; turn < 10; turn++) {
  Bun.gc(true);
  await new Promise(setImmediate);
}
console.log(`generation 0: ${ringFds()} rings`);
