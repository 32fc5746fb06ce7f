/**
 * Time and turns that no program can take away. Fake timers replace the global functions, node:timers' and process.nextTick, and Bun's own stop the real ones too, whoever has
 * kept them. None reaches what is used here: promise jobs, and `Atomics.waitAsync`, which the engine ends by its own clock. So callbacks come, and no state has to be
 * ready for one that does not.
 */
import { MessageChannel, Promise } from "./globals.ts";

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

let port: MessagePort | undefined;
let keeping = 0;

/** Keeps the process, or the Worker, alive until as many `letEnd`: for waits without anything in the kernel's hands. */
export function keepAlive(): void {
  port ??= new MessageChannel().port1;
  if (keeping++ === 0) port.ref();
}

/** Takes one `keepAlive` back. */
export function letEnd(): void {
  if (--keeping === 0) port?.unref();
}
