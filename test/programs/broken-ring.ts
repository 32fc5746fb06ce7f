/**
 * Closes a ring's descriptor behind the library's back while files of the ring are in use. Prints how the operations in
 * flight settle, and how closing the files ends.
 */
import { closeSync } from "node:fs";
import { openHandles, Ring, UringError } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof UringError ? error.code : String(error)),
  );

using from = pipe();
using to = pipe();
const ring = new Ring();
const [opened] = openHandles();
const [source, target] = [
  await ring.open(`/proc/self/fd/${from.readFd}`),
  await ring.open(`/proc/self/fd/${to.writeFd}`, "w"),
];
const pending = [
  codeOf(ring.read(source, new Uint8Array(new SharedArrayBuffer(1)))),
  codeOf(ring.splice(source, target, 1)),
];
const other = await ring.open(`/proc/self/fd/${from.readFd}`);
const splicing = codeOf(ring.splice(other, target, 1));
const closing = codeOf(other.close()); // still in use by the splice, whose request names the target's descriptor first
await ring.nop();
closeSync(Number(opened?.label.replace("of descriptor ", "")));
const nop = await codeOf(ring.nop());
console.log(
  JSON.stringify({ nop, pending: await Promise.all(pending), splicing: await splicing, closing: await closing }),
);
console.log(JSON.stringify({ closed: [await codeOf(source.close()), await codeOf(target.close())] }));
process.exit(0);
