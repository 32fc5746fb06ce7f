/**
 * Runs the doctor's diagnosis with as few free descriptors as the argument says, and prints what
 * `bun-uring doctor --json` would print.
 */
import { closeSync, openSync } from "node:fs";
import { diagnose, works } from "../../lib/doctor/doctor.ts";
import { examine } from "../../lib/doctor/surroundings.ts";
import { native } from "../../lib/uring/native.ts";

native(); // compiling the shim takes descriptors, so it happens first
const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch (error) {
  if (!(error instanceof Error && "code" in error && error.code === "EMFILE")) throw error;
}
for (const fd of taken.splice(0, Number(process.argv[2]))) closeSync(fd);
const { probe, surroundings } = await examine();
const findings = diagnose(probe, surroundings);
console.log(JSON.stringify({ works: works(findings), findings }));
