/**
 * Timers that a program cannot replace. Fake timers replace the global functions, those of node:timers, and
 * process.nextTick; Bun's own also stop the real functions, even for code that saved them earlier. They do not affect
 * what this module uses: promise jobs, and `Atomics.waitAsync`, whose timeout the engine measures with its own clock.
 * Callbacks therefore always run, and no code has to cope with one that never does.
 */
import { MessageChannel, Promise, process } from "./globals.ts";

const { waitAsync } = Atomics;
const { then } = Promise.prototype;

const resolved = Promise.resolve();

/** Never notified: every wait on it ends by its timeout. */
const never = new Int32Array(new SharedArrayBuffer(4));

/** The shortest timeout. With 0, waitAsync would return at once instead of a promise. */
const leastMs = 0.001;

/** Calls `callback` in a microtask. */
export function soon(callback: () => void): void {
  void then.call(resolved, callback);
}

/**
 * Calls `callback` once, `ms` later. With 0 that is the next turn of the event loop, after timers and sockets have had
 * theirs. Does not keep the process alive.
 */
export function later(ms: number, callback: () => void): void {
  void then.call(waitAsync(never, 0, 0, Math.max(ms, leastMs)).value, callback);
}

/**
 * Opens a MessagePort that never receives a message. If the program replaced the global MessageChannel before it
 * imported the library, the real one is taken from node:worker_threads, which is slow to load.
 */
function openPort(): { ref(): void; unref(): void } {
  const { port1 } = MessageChannel === undefined ? {} : new MessageChannel();
  return typeof port1?.ref === "function"
    ? port1
    : new (process.getBuiltinModule("node:worker_threads").MessageChannel)().port1;
}

let port: ReturnType<typeof openPort> | undefined;
let keeping = 0;

/**
 * Keeps the process, or the Worker, alive until `letEnd` has been called as many times as this. For waits during which
 * nothing is in flight in the kernel.
 */
export function keepAlive(): void {
  port ??= openPort();
  if (keeping++ === 0) port.ref();
}

/** Undoes one `keepAlive`. */
export function letEnd(): void {
  if (--keeping === 0) port?.unref();
}

/** Resolves `ms` later, and keeps the process alive until then. */
export async function wait(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  keepAlive();
  later(ms, resolve);
  await promise;
  letEnd();
}
