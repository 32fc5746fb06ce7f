/**
 * Uses the library for the first time when few descriptors are left. Arguments: how many are left, which use to try,
 * and optionally "later": the first use has enough descriptors, and the second has few. Prints the outcome with few
 * descriptors, and of the same use with enough descriptors afterwards.
 */
import { closeSync, openSync } from "node:fs";
import { BufferPool, copyFile, hashFile, Ring, trackHandles, UringError } from "bun-uring";
import { Folder } from "../support/files.ts";
import { limitOpenFiles } from "../support/restrictions.ts";

const [left = "0", what = "", when] = process.argv.slice(2);
using folder = new Folder();
const { path } = folder.random("file", 5000);

const uses: Record<string, () => Promise<unknown>> = {
  ring: async () => await new Ring().close(),
  pool: async () => new BufferPool({ count: 1, size: 4096 }).close(),
  copyFile: () => copyFile(path, `${path}-copy`),
  hashFile: () => hashFile(path),
};

async function outcomeOf(use: (() => Promise<unknown>) | undefined): Promise<string> {
  try {
    await use?.();
    return "done";
  } catch (error) {
    if (!(error instanceof UringError)) throw error;
    return error.code;
  }
}

trackHandles(false); // calls that succeed leave things that nobody closes
if (when === "later") await outcomeOf(uses[what]);
limitOpenFiles(64);
const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch {
  // No descriptor is left.
}
for (const fd of taken.splice(0, Number(left))) closeSync(fd);
const few = await outcomeOf(uses[what]);
for (const fd of taken) closeSync(fd);
console.log(JSON.stringify([few, await outcomeOf(uses[what])]));
process.exit();
