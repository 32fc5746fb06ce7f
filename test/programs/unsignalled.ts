/**
 * Waits for a pipe with a ring whose eventfd the kernel does not signal, on a kernel that claims to be the release in
 * the argument. Prints the result of unregistering the eventfd, and how the wait settled.
 */
import { dlopen } from "bun:ffi";
import { readdirSync, readlinkSync, writeSync } from "node:fs";
import os from "node:os";
import { Ring } from "bun-uring";
import { pipe } from "../support/pipes.ts";

const [release = ""] = process.argv.slice(2);
os.release = () => release;
const { syscall } = dlopen("libc.so.6", {
  syscall: { args: ["i64", "i64", "i64", "i64", "i64"], returns: "i64" },
}).symbols;
const io_uring_register = 427;
const IORING_UNREGISTER_EVENTFD = 5;

const ring = new Ring();
const [fd] = readdirSync("/proc/self/fd").filter((one) => {
  try {
    return readlinkSync(`/proc/self/fd/${one}`) === "anon_inode:[io_uring]";
  } catch {
    return false; // the descriptor of this listing, which is closed by now
  }
});
const refused = Number(syscall(io_uring_register, Number(fd), IORING_UNREGISTER_EVENTFD, 0, 0));
const ends = pipe();
const signal = AbortSignal.timeout(2000);
const waiting = ring.poll(ends.readFd, 1, { signal }).then(
  (events) => `ready: ${events}`,
  ({ name }) => name,
);
setTimeout(() => writeSync(ends.writeFd, "x"), 20);
console.log(refused, await waiting);
await ring.close();
