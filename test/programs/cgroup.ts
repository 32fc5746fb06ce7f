/** In a control group of 256 MiB: makes pools, and prints what came of each. Arguments: MiB of a file to fill the page cache with first, then MiB of a pool each. */
import { fsyncSync, openSync } from "node:fs";
import { BufferPool, UringError } from "bun-uring";
import { Folder } from "../support/files.ts";

const [fileMiB = 0, ...poolsMiB] = process.argv.slice(2).map(Number);
using folder = new Folder();
fsyncSync(openSync(folder.write("file", new Uint8Array(fileMiB * 2 ** 20)), "r"));
for (const count of poolsMiB) {
  const makers = { sync: () => new BufferPool({ count, size: 2 ** 20 }), async: () => BufferPool.create({ count, size: 2 ** 20 }) };
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
