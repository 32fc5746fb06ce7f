/**
 * Probes while 0, 1 and 2 descriptors are left, and prints the error code of each probe. Then probes with enough
 * descriptors, and prints what the probe found.
 */
import { closeSync, openSync } from "node:fs";
import { BufferPool, probe, RawRing } from "bun-uring";
import { limitOpenFiles } from "../support/restrictions.ts";

new RawRing().close(); // from here on the shim is compiled
limitOpenFiles(64);
const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch (error) {
  if (!(error instanceof Error && "code" in error && error.code === "EMFILE")) throw error;
}
const codes: string[] = [];
for (let left = 0; left < 3; left++) {
  codes.push(probe().reason?.code ?? "available");
  closeSync(taken.pop() ?? -1);
}
for (const fd of taken) closeSync(fd);
using pool = new BufferPool({ count: 1, size: 4096 });
console.log(JSON.stringify({ codes, clone: probe().clone, available: pool.available }));
