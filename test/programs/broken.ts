/**
 * Closes a ring's descriptor, so that the kernel accepts no more requests from the ring, while another thread executes
 * one operation of a chain: broken.ts HELD GOOD. Both are files of a FUSE file system. Prints how each operation
 * settles.
 */
import { closeSync } from "node:fs";
import { openHandles, Ring, trackHandles } from "bun-uring";
import { shared } from "../support/rings.ts";

trackHandles(true);
const [heldPath = "", goodPath = ""] = process.argv.slice(2);
const ring = new Ring();
const [{ label } = { label: "" }] = openHandles();
const held = await ring.open(heldPath);
const good = await ring.open(goodPath);
const outcomes = Promise.allSettled([
  ...ring.chain([() => held.read(Buffer.alloc(4), 0, 4, 0), () => ring.nop(), () => ring.read(good, shared(4))]),
  ring.timeout(1e6),
]);
console.log("started");
for await (const _ of console) break;
closeSync(Number(/\d+/.exec(label)?.[0]));
const after = await ring.nop().catch((error: { code: string }) => error.code);
const codes = (await outcomes).map((outcome) => (outcome.status === "fulfilled" ? "done" : outcome.reason.code));
console.log(JSON.stringify([after, ...codes]));
process.exit();
