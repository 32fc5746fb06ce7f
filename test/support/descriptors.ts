/** Changes descriptors behind the library's back. */
import { dlopen } from "bun:ffi";

const { dup2 } = dlopen("libc.so.6", { dup2: { args: ["i32", "i32"], returns: "i32" } }).symbols;

/** Makes `fd` a duplicate of `target`, with dup2(2). */
export function redirect(fd: number, target: number): void {
  if (dup2(target, fd) !== fd) throw new Error("dup2 failed");
}
