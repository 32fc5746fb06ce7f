/**
 * Runs in a control group with a limit of 256 MiB, makes pools, and prints the outcome of each. Arguments: the size in
 * MiB of a file that fills the page cache first, then the size in MiB of each pool.
 */
import { fsyncSync, openSync } from "node:fs";
import { BufferPool, UringError } from "bun-uring";
import { Folder } from "../support/files.ts";

const [fileMiB = 0, ...poolsMiB] = process.argv.slice(2).map(Number);
using folder = new Folder();
fsyncSync(openSync(folder.write("file", new Uint8Array(fileMiB * 2 ** 20)), "r"));
for (const count of poolsMiB) {
  const makers = {
    sync: () => new BufferPool({ count, size: 2 ** 20 }),
    async: () => BufferPool.create({ count, size: 2 ** 20 }),
  };
  for (const [name, make] of Object.entries(makers)) {
    try {
      using pool = await make();
      console.log(`${count} MiB, ${name}: ${pool.available} slots`);
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      console.log(
        `${count} MiB, ${name}: ${error.code} ${error.syscall} ${/cgroup \S*bun-uring\S* .* of its limit of 268435456/.test(error.message)} ${error.hint}`,
      );
    }
  }
}
