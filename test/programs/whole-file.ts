/** Reads a whole file, sparse and of so many MiB, and prints the memory that took at most, in MiB beyond what there was: a process remembers its peak. */
import { readFileSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { Ring } from "bun-uring";

const [, , path = "", sizeMiB = "", flags = "r"] = process.argv;
const peakMiB = () => Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;

writeFileSync(path, "");
truncateSync(path, Number(sizeMiB) * 2 ** 20);
try {
  await using ring = new Ring();
  await using file = await ring.open(path, flags);
  await file.stat();
  const before = peakMiB();
  const content = await file.readFile();
  console.log(JSON.stringify({ length: content.length, isOrdinary: content.buffer instanceof ArrayBuffer, tookMiB: Math.round(peakMiB() - before) }));
} finally {
  unlinkSync(path);
}
