/** A pipe: reads of it stay in flight until something is written. */

import { dlopen } from "bun:ffi";
import { closeSync } from "node:fs";

const { pipe2 } = dlopen("libc.so.6", { pipe2: { args: ["ptr", "i32"], returns: "i32" } }).symbols;
const O_CLOEXEC = 0o2000000;

export interface Pipe extends Disposable {
  readonly readFd: number;
  readonly writeFd: number;
}

/** Both ends close at the end of the scope. */
export function pipe(): Pipe {
  const ends = new Int32Array(new SharedArrayBuffer(8));
  if (pipe2(ends, O_CLOEXEC) !== 0) throw new Error("pipe2 failed");
  const [readFd = -1, writeFd = -1] = ends;
  return {
    readFd,
    writeFd,
    [Symbol.dispose]() {
      closeSync(readFd);
      closeSync(writeFd);
    },
  };
}
