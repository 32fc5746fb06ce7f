/**
 * Time and turns that no program can take away. Fake timers replace the global functions, node:timers' and process.nextTick, and Bun's own stop the real ones too, whoever has
 * kept them. None reaches what is used here: promise jobs, and `Atomics.waitAsync`, which the engine ends by its own clock. So callbacks come, and no state has to be
 * ready for one that does not.
 */
import { MessageChannel, Promise, process } from "./globals.ts";

const { waitAsync } = Atomics;
const { then } = Promise.prototype;

const resolved = Promise.resolve();

/** Nobody notifies it: a wait for it ends with its time. */
const never = new Int32Array(new SharedArrayBuffer(4));

/** A wait of no time at all would be over at once. */
const leastMs = 0.001;

/** Calls back in a microtask. */
export function soon(callback: () => void): void {
  void then.call(resolved, callback);
}

/** Calls back once, `ms` later; 0: in the next turn of the event loop, so that timers and sockets have theirs. Does not keep the process alive. */
export function later(ms: number, callback: () => void): void {
  void then.call(waitAsync(never, 0, 0, Math.max(ms, leastMs)).value, callback);
}

/** A MessagePort that nothing comes to. Of a class that a program had put there before only node's module, which takes long to load, has the real one. */
function openPort(): { ref(): void; unref(): void } {
  const { port1 } = MessageChannel === undefined ? {} : new MessageChannel();
  return typeof port1?.ref === "function" ? port1 : new (process.getBuiltinModule("node:worker_threads").MessageChannel)().port1;
}

let port: ReturnType<typeof openPort> | undefined;
let keeping = 0;

/** Keeps the process, or the Worker, alive until as many `letEnd`: for waits without anything in the kernel's hands. */
export function keepAlive(): void {
  port ??= openPort();
  if (keeping++ === 0) port.ref();
}

/** Takes one `keepAlive` back. */
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
