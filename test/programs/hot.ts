/** A program that goes on using one ring, for `bun --hot`: tells how many rings the process has whenever this file is loaded. */
import { Ring } from "bun-uring";
import { ringFds } from "../support/resources.ts";

const ring = new Ring();
const file = await ring.open(import.meta.path);
Object.assign(globalThis, { handle: () => file.stat() }); // as a server's handler, the loaded program's own until the next one is
// What the collector finds is closed in another turn or two of the event loop.
for (let turn = 0; turn < 10; turn++) {
  Bun.gc(true);
  await new Promise(setImmediate);
}
console.log(`generation 0: ${ringFds()} rings`);
