/** Pipes, sockets and terminals: a read stays in flight until something is written to the other end. */

import { dlopen } from "bun:ffi";
import { closeSync, existsSync } from "node:fs";

const { pipe2, socketpair, posix_openpt, grantpt, unlockpt, ptsname } = dlopen("libc.so.6", {
  pipe2: { args: ["ptr", "i32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  posix_openpt: { args: ["i32"], returns: "i32" },
  grantpt: { args: ["i32"], returns: "i32" },
  unlockpt: { args: ["i32"], returns: "i32" },
  ptsname: { args: ["i32"], returns: "cstring" },
}).symbols;
const O_RDWR_NOCTTY_CLOEXEC = 0o2000402;
const O_CLOEXEC = 0o2000000;
const AF_UNIX = 1;
const SOCK_STREAM = 1;

export interface Pipe extends Disposable {
  readonly readFd: number;
  readonly writeFd: number;
  /** Closes one end before the end of the scope. */
  closeWriteFd(): void;
  closeReadFd(): void;
}

/** A pipe. Both ends close at the end of the scope. */
export function pipe(): Pipe {
  return made((ends) => pipe2(ends, O_CLOEXEC));
}

/**
 * The same with a pair of sockets. Every kernel polls a socket; older kernels let reads from a pipe wait in worker
 * threads.
 */
export function sockets(): Pipe {
  return made((ends) => socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, ends));
}

/** A terminal: its path, and the descriptor of its other side, where the user would be. */
export interface Terminal extends Disposable {
  readonly path: string;
  readonly fd: number;
}

/** Whether terminals can be made: a small system may not have mounted devpts. */
export function makesTerminals(): boolean {
  try {
    using made = terminal();
    return existsSync(made.path);
  } catch {
    return false;
  }
}

export function terminal(): Terminal {
  const fd = posix_openpt(O_RDWR_NOCTTY_CLOEXEC);
  if (fd < 0 || grantpt(fd) !== 0 || unlockpt(fd) !== 0) throw new Error("no terminal could be made");
  return { path: String(ptsname(fd)), fd, [Symbol.dispose]: () => closeSync(fd) };
}

function made(make: (ends: Int32Array) => number): Pipe {
  const ends = new Int32Array(new SharedArrayBuffer(8));
  if (make(ends) !== 0) throw new Error("no pipe could be made");
  const [readFd = -1, writeFd = -1] = ends;
  const open = new Set([readFd, writeFd]);
  const close = (fd: number): void => {
    if (open.delete(fd)) closeSync(fd);
  };
  return {
    readFd,
    writeFd,
    closeWriteFd: () => close(writeFd),
    closeReadFd: () => close(readFd),
    [Symbol.dispose]: () => open.forEach(close),
  };
}

/** Makes a FIFO. Returns its path. */
export function fifo(path: string): string {
  const { success, stderr } = Bun.spawnSync(["mkfifo", path], { stderr: "pipe" });
  if (!success) throw new Error(`mkfifo: ${stderr}`);
  return path;
}
