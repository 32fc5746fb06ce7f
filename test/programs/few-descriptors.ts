/**
 * Uses the library first when there are few descriptors left. Arguments: how many, what to do, and "later": after a use that had enough. Prints what came of it,
 * and of the same with enough descriptors afterwards.
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

trackHandles(false); // what a call makes all the same is nobody's
if (when === "later") await outcomeOf(uses[what]);
limitOpenFiles(64);
const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch {
  // none is left
}
for (const fd of taken.splice(0, Number(left))) closeSync(fd);
const few = await outcomeOf(uses[what]);
for (const fd of taken) closeSync(fd);
console.log(JSON.stringify([few, await outcomeOf(uses[what])]));
process.exit();
