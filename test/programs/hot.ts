/** A server of one ring, for `bun --hot`: tells how many rings the process has whenever this file is loaded. */
import { Ring } from "bun-uring";
import { ringFds } from "../support/resources.ts";

const ring = new Ring();
const file = await ring.open(import.meta.path);
const server = Bun.serve({ port: 0, id: "hot", fetch: async () => new Response(`${(await file.stat()).size}`) });
await (await fetch(server.url)).text();
// What the collector finds is closed in another turn or two of the event loop.
for (let turn = 0; turn < 10; turn++) {
  Bun.gc(true);
  await new Promise(setImmediate);
}
console.log(`generation 0: ${ringFds()} rings`);
