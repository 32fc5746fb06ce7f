/** Takes rights away from this process, and so from the processes that it starts. */
import { dlopen, ptr } from "bun:ffi";

const libc = dlopen("libc.so.6", {
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  setrlimit: { args: ["i32", "ptr"], returns: "i32" },
  setgroups: { args: ["u64", "ptr"], returns: "i32" },
  setgid: { args: ["u32"], returns: "i32" },
  setuid: { args: ["u32"], returns: "i32" },
  capset: { args: ["ptr", "ptr"], returns: "i32" },
}).symbols;

const RLIMIT_MEMLOCK = 8;
const RLIMIT_NOFILE = 7;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2;
const CAP_IPC_LOCK = 14;

function done(result: number, what: string): void {
  if (result !== 0) throw new Error(`${what} failed`);
}

function limit(resource: number, value: number): void {
  done(libc.setrlimit(resource, new BigUint64Array(new SharedArrayBuffer(16)).fill(BigInt(value))), "setrlimit");
}

/** Limits descriptors: new ones have to be below `count`. */
export function limitOpenFiles(count: number): void {
  limit(RLIMIT_NOFILE, count);
}

/**
 * Limits locked memory. The limit applies to this process once it is no longer root, and always to the processes that
 * it starts.
 */
export function limitMemlock(bytes: number): void {
  limit(RLIMIT_MEMLOCK, bytes);
  if (process.getuid?.() === 0 && libc.prctl(PR_CAPBSET_READ, CAP_IPC_LOCK, 0, 0, 0) === 1)
    done(libc.prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0), "dropping CAP_IPC_LOCK");
}

/** Makes this process an ordinary user's, if it is root. */
export function becomeUser(id: number): void {
  if (process.getuid?.() !== 0) return;
  done(libc.setgroups(0, null), "setgroups");
  done(libc.setgid(id), "setgid");
  done(libc.setuid(id), "setuid");
}

/** Drops all capabilities of this thread, and of the threads that it starts, without changing the user. */
export function dropCapabilities(): void {
  const header = new Uint32Array(new SharedArrayBuffer(8));
  header[0] = 0x20080522; // _LINUX_CAPABILITY_VERSION_3; then the thread, 0 for this one
  done(libc.capset(header, new Uint32Array(new SharedArrayBuffer(24))), "capset");
}

const io_uring_setup = 425;
const io_uring_enter = 426;
const io_uring_register = 427;

const memfd_create = process.arch === "arm64" ? 279 : 319;

/**
 * From now on io_uring_setup, io_uring_enter and io_uring_register fail with this errno, or only io_uring_enter, or
 * memfd_create instead. It installs a classic BPF program for seccomp, as container runtimes do.
 */
export function refuseIoUring(code: "EPERM" | "ENOSYS", only?: "enter" | "memfd"): void {
  const [first, last] =
    only === undefined
      ? [io_uring_setup, io_uring_register]
      : only === "enter"
        ? [io_uring_enter, io_uring_enter]
        : [memfd_create, memfd_create];
  const errno = code === "EPERM" ? 1 : 38;
  const instructions = [
    [0x20, 0, 0, 0], // load the system call's number
    [0x35, 0, 2, first], // at least the first?
    [0x35, 1, 0, last + 1], // beyond the last?
    [0x06, 0, 0, 0x00050000 | errno], // return errno
    [0x06, 0, 0, 0x7fff0000], // allow
  ] as const;
  const filter = new DataView(new SharedArrayBuffer(instructions.length * 8));
  for (const [index, [operation, whenTrue, whenFalse, k]] of instructions.entries()) {
    filter.setUint16(index * 8, operation, true);
    filter.setUint8(index * 8 + 2, whenTrue);
    filter.setUint8(index * 8 + 3, whenFalse);
    filter.setUint32(index * 8 + 4, k, true);
  }
  const program = new BigUint64Array(new SharedArrayBuffer(16));
  program[0] = BigInt(instructions.length);
  program[1] = BigInt(ptr(new Uint8Array(filter.buffer)));
  done(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  done(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ptr(program), 0, 0), "seccomp");
}
