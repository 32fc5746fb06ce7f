/**
 * Reads a whole sparse file of the given size in MiB, and prints how far that raised the process's peak memory, in MiB.
 * It is a process of its own because a process keeps its peak (VmHWM) for life.
 */
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
  console.log(
    JSON.stringify({
      length: content.length,
      isOrdinary: content.buffer instanceof ArrayBuffer,
      tookMiB: Math.round(peakMiB() - before),
    }),
  );
} finally {
  unlinkSync(path);
}
