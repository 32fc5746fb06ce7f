/**
 * few-files.ts LIMIT CONCURRENCY: runs with a limit on open files. Reads some open files often enough for the ring's
 * registered file table, and then CONCURRENCY files at once by their path. Prints the table's size.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { Ring } from "bun-uring";
import { limitOpenFiles } from "../support/restrictions.ts";

const { path } = import.meta;
const expected = readFileSync(path, "utf8");
const ring = new Ring();
await ring.nop();
const ringFd = readdirSync("/proc/self/fd").find((fd) => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[io_uring]";
  } catch {
    return false; // the descriptor of the listing itself, closed by now
  }
});
const files = await Promise.all(Array.from({ length: 4 }, () => ring.open(path)));
const [limit = 0, concurrency = 0] = process.argv.slice(2).map(Number);
limitOpenFiles(limit);
const all = (contents: readonly string[]) =>
  contents.every((content) => content === expected) ? "all read" : "NOT all read";
const readByFile = async () =>
  await Promise.all(
    files.map(async (file) => {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(65536), 0, 65536, 0);
      return buffer.toString("utf8", 0, bytesRead);
    }),
  );
const found = (await Promise.all([readByFile(), readByFile(), readByFile(), readByFile()])).flat();
const byPath = await Promise.all(Array.from({ length: concurrency }, () => ring.readFile(path, "utf8")));
const size = Number(/^UserFiles:\s+(\d+)/m.exec(await ring.readFile(`/proc/self/fdinfo/${ringFd}`, "utf8"))?.[1]);
console.log(`${all(found)}, ${all(byPath)} by path; table of ${size}`);
