/** Imports the library, then uses it; prints what came of both. Arguments: what to break first, and whether to probe as well. */
import { dlopen } from "bun:ffi";

const [breakage, alsoProbe] = process.argv.slice(2);

const bun = await import("bun-uring");
console.log("imported");

if (breakage === "platform") Object.defineProperty(process, "platform", { value: "darwin" });
if (breakage === "seccomp-EPERM" || breakage === "seccomp-ENOSYS") {
  // A classic BPF program: io_uring_setup, _enter and _register return the errno, everything else is allowed.
  const { prctl } = dlopen("libc.so.6", { prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" } }).symbols;
  const { ptr } = await import("bun:ffi");
  const errno = breakage === "seccomp-EPERM" ? 1 : 38;
  const filter = new DataView(new SharedArrayBuffer(5 * 8));
  const instructions = [
    [0x20, 0, 0, 0], // load the system call's number
    [0x35, 0, 2, 425], // at least io_uring_setup?
    [0x35, 1, 0, 428], // beyond io_uring_register?
    [0x06, 0, 0, 0x00050000 | errno], // return errno
    [0x06, 0, 0, 0x7fff0000], // allow
  ] as const;
  for (const [index, [code, whenTrue, whenFalse, k]] of instructions.entries()) {
    filter.setUint16(index * 8, code, true);
    filter.setUint8(index * 8 + 2, whenTrue);
    filter.setUint8(index * 8 + 3, whenFalse);
    filter.setUint32(index * 8 + 4, k, true);
  }
  const program = new BigUint64Array(new SharedArrayBuffer(16));
  program[0] = BigInt(instructions.length);
  program[1] = BigInt(ptr(new Uint8Array(filter.buffer)));
  if (prctl(38, 1, 0, 0, 0) !== 0 || prctl(22, 2, ptr(program), 0, 0) !== 0) throw new Error("seccomp could not be set");
}

const uses = {
  RawRing: () => new bun.RawRing(),
  Ring: () => new bun.Ring(),
  BufferPool: () => new bun.BufferPool({ count: 1, size: 4096 }),
  "BufferPool.create": () => bun.BufferPool.create({ count: 1, size: 4096 }),
};
for (const [name, use] of Object.entries(uses)) {
  try {
    await use();
    console.log(JSON.stringify({ name, works: true }));
  } catch (error) {
    if (!(error instanceof bun.UringError)) throw error;
    const { code, errno, syscall, hint, message } = error;
    console.log(JSON.stringify({ name, code, errno, syscall, hint, message }));
  }
}
if (alsoProbe === "probe") console.log(JSON.stringify(bun.probe()));
