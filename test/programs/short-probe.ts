/** Probes while 0, 1, 2, … descriptors are left, and then with enough: prints what was found each time, from when io_uring could be used on. */
import { closeSync, openSync } from "node:fs";
import { BufferPool, probe, RawRing } from "bun-uring";
import { limitOpenFiles } from "../support/restrictions.ts";

new RawRing().close(); // the shim is there
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
