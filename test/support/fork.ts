/** Processes by a bare fork(2), which inherits all that is not closed on exec until it executes something. */
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

/** What C is given stays where it is, and is kept. */
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

const calls = addresses([addressOfFunction("fork"), addressOfFunction("read"), addressOfFunction("execve"), addressOfFunction("_exit")]);

export interface Forked {
  /** Waits for its end; its exit code. */
  wait(): number;
}

/** Forks; as soon as `gateFd` can be read the child executes a command, or, without one, ends. */
export function fork(gateFd: number, command?: readonly string[]): Forked {
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  const child =
    command === undefined
      ? library.symbols.fork_and(calls, gateFd, 0, 0, 0)
      : library.symbols.fork_and(calls, gateFd, keptBytes(Buffer.from(`${command[0]}\0`)), strings(command), strings(environment));
  if (child < 0) throw new Error("no process could be made");
  return {
    wait: () => {
      const status = new Int32Array(new SharedArrayBuffer(4));
      if (libc.waitpid(child, status, 0) !== child) throw new Error(`process ${child} is no child`);
      return (status[0] ?? 0) >> 8;
    },
  };
}
