/** Closes the descriptor of the thread's ring behind the library's back, and goes on with bun-uring/promises. */
import { closeSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fs from "bun-uring/promises";

/** Where a descriptor leads. The folder's own is closed by now. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

const folder = mkdtempSync(join(tmpdir(), "bun-uring-"));
const path = join(folder, "file");
writeFileSync(path, "content");
await fs.readFile(path);
const ring = readdirSync("/proc/self/fd").find((fd) => linkOf(fd) === "anon_inode:[io_uring]");
closeSync(Number(ring));
console.log(`while it broke: ${await fs.readFile(path, "utf8").catch(({ code }) => code)}`);
console.log(`read: ${await fs.readFile(path, "utf8")}`);
await fs.writeFile(path, "new");
console.log(`read: ${await fs.readFile(path, "utf8")}`);
rmSync(folder, { recursive: true });
process.exit(0);
