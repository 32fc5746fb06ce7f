/**
 * Probes under a restriction, and prints the outcome. Argument: "enter" refuses io_uring_enter; a number leaves this
 * many descriptors free for the first probe.
 */
import { closeSync, openSync } from "node:fs";
import { probe } from "bun-uring";
import { native } from "../../lib/uring/native.ts";
import { refuseIoUring } from "../support/restrictions.ts";

const [what] = process.argv.slice(2);
native(); // compiling the shim takes descriptors, so it happens first
const taken: number[] = [];
if (what === "enter") {
  refuseIoUring("EPERM", "enter");
} else {
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EMFILE")) throw error;
  }
  for (const fd of taken.splice(0, Number(what))) closeSync(fd);
}
const first = probe();
for (const fd of taken) closeSync(fd);
const { available, reason, clone } = probe();
console.log(
  JSON.stringify({
    first: first.reason?.code,
    available,
    code: reason?.code,
    whole: clone.whole,
    ranges: clone.ranges,
  }),
);
