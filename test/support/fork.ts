/**
 * Child processes made by a bare fork(2). Until such a child executes a program, it has inherited all descriptors, even
 * those with close-on-exec.
 */
import { cc, dlopen, ptr } from "bun:ffi";

const libc = dlopen("libc.so.6", {
  fork: { args: [], returns: "i32" },
  read: { args: ["i32", "ptr", "u64"], returns: "i64" },
  execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  _exit: { args: ["i32"], returns: "void" },
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
}).symbols;
const library = cc({
  source: new URL("./fork.c", import.meta.url).pathname,
  flags: ["-nostdlib"],
  symbols: { fork_and: { args: ["u64", "i32", "u64", "u64", "u64"], returns: "i32" } },
});

/** Memory that C has pointers to: it must not be moved or collected. */
const kept: Uint8Array[] = [];

function keptBytes(bytes: Uint8Array): number {
  const memory = new Uint8Array(new SharedArrayBuffer(bytes.length));
  memory.set(bytes);
  kept.push(memory);
  return ptr(memory);
}

function addresses(of: readonly number[]): number {
  return keptBytes(new Uint8Array(BigUint64Array.from([...of, 0], BigInt).buffer));
}

function strings(texts: readonly string[]): number {
  return addresses(texts.map((text) => keptBytes(Buffer.from(`${text}\0`))));
}

function addressOfFunction(name: "fork" | "read" | "execve" | "_exit"): number {
  const address: unknown = Reflect.get(libc[name], "ptr");
  if (typeof address !== "number") throw new Error(`${name} has no address`);
  return address;
}

const calls = addresses([
  addressOfFunction("fork"),
  addressOfFunction("read"),
  addressOfFunction("execve"),
  addressOfFunction("_exit"),
]);

export interface Forked {
  /** Waits for the child's end, and returns its exit code. */
  wait(): number;
}

/** Forks. As soon as `gateFd` can be read, the child executes the command, or exits if there is none. */
export function fork(gateFd: number, command?: readonly string[]): Forked {
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  const child =
    command === undefined
      ? library.symbols.fork_and(calls, gateFd, 0, 0, 0)
      : library.symbols.fork_and(
          calls,
          gateFd,
          keptBytes(Buffer.from(`${command[0]}\0`)),
          strings(command),
          strings(environment),
        );
  if (child < 0) throw new Error("no process could be made");
  return {
    wait: () => {
      const status = new Int32Array(new SharedArrayBuffer(4));
      if (libc.waitpid(child, status, 0) !== child) throw new Error(`process ${child} is no child`);
      return (status[0] ?? 0) >> 8;
    },
  };
}
