/**
 * few-descriptors-paths.ts FOLDER LEFT: reads and writes whole files by path when LEFT descriptors are left, and again
 * when there are enough. Prints the outcomes as JSON.
 */
import { closeSync, openSync } from "node:fs";
import { Ring, UringError } from "bun-uring";
import { limitOpenFiles } from "../support/restrictions.ts";

const [folder = "", left = "0"] = process.argv.slice(2);
const ring = new Ring();
await ring.readFile(`${folder}/small`);
const uses: Readonly<Record<string, () => Promise<unknown>>> = {
  small: () => ring.readFile(`${folder}/small`),
  many: () => Promise.all(Array.from({ length: 300 }, () => ring.readFile(`${folder}/small`))),
  large: () => ring.readFile(`${folder}/large`),
  writeFile: () => ring.writeFile(`${folder}/old`, "new"),
  appendFile: () => ring.appendFile(`${folder}/log`, "line\n"),
  open: async () => await (await ring.open(`${folder}/small`)).close(),
};

async function outcomes(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [name, use] of Object.entries(uses)) {
    try {
      await use();
      found[name] = "done";
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      found[name] = `${error.code} ${error.syscall === "openat" ? "open" : error.syscall}`;
    }
  }
  return found;
}

limitOpenFiles(64);
const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch {
  // No descriptor is left.
}
for (const fd of taken.splice(0, Number(left))) closeSync(fd);
const few = await outcomes();
for (const fd of taken) closeSync(fd);
console.log(JSON.stringify({ few, later: await outcomes() }));
