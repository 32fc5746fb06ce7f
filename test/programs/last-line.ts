/**
 * Reads, closes nothing, and reaches its last line. The argument selects what is in flight at that moment, or what ends
 * the process.
 */
import { spawn } from "node:child_process";
import { openSync, writeSync } from "node:fs";
import { BufferPool, Ring, trackHandles } from "bun-uring";
import { Folder } from "../support/files.ts";
import { pipe } from "../support/pipes.ts";

const stdin = 0;
const pool = new BufferPool({ count: 1, size: 4096 });
const ring = new Ring({ pool });
const file = await ring.open(process.execPath);
const ends = pipe();
const buffer = await pool.acquire();
const memory = new Uint8Array(new SharedArrayBuffer(4096));

/** Starts everything that can be in flight: reads that wait, reads from the disk, an open, acquires and a timeout. */
function haveAllInFlight(): void {
  trackHandles(false); // nobody closes the file that is opened
  const all = [
    ring.read(stdin, memory),
    ring.open("/"),
    pool.acquire(),
    BufferPool.create({ count: 4, size: 2 ** 20 }),
    ring.timeout(60_000),
  ];
  for (let read = 0; read < 1000; read++) all.push(ring.readFixed(file, buffer, { position: read * 4096 }));
  for (const one of all) one.catch(() => undefined);
}

/** What the last line starts without awaiting it. The program prints each when it settles. */
const startedLast: Readonly<Record<string, () => Promise<unknown> | undefined>> = {
  nothing: () => undefined,
  // Another process writes to the pipe, so nothing else keeps this process alive meanwhile.
  "read of a pipe": () => {
    spawn("sh", ["-c", "sleep 0.2; echo >&3"], {
      detached: true,
      stdio: ["ignore", "ignore", "ignore", ends.writeFd],
    }).unref();
    return ring.readFixed(ends.readFd, buffer);
  },
  read: () => ring.read(stdin, memory),
  readFixed: () => ring.readFixed(stdin, buffer),
  poll: () => ring.poll(stdin, 1),
  timeout: () => ring.timeout(300),
  "read by a RingFile": async () => (await file.read(Buffer.alloc(100))).bytesRead,
  "more reads than the ring has room for": async () => {
    const reads = await Promise.all(
      Array.from({ length: 10_000 }, () => ring.readFixed(file, buffer, { position: 0 })),
    );
    return reads.every((bytesRead) => bytesRead === 4096);
  },
  "one operation after the other": async () => {
    for (let step = 0; step < 20; step++) await ring.timeout(5);
  },
  "reads that complete at once, for several turns": async () => {
    let count = 0;
    while (count < 20_000) count += (await ring.readFixed(file, buffer, { position: 0 })) / 4096;
    return count;
  },
  "a wait for which no descriptor is left": () => {
    spawn("sh", ["-c", "sleep 0.2; echo >&3"], {
      detached: true,
      stdio: ["ignore", "ignore", "ignore", ends.writeFd],
    }).unref();
    const other = new Ring(); // it has not listened for completions yet, which takes a descriptor
    try {
      for (;;) openSync("/dev/null", "r");
    } catch {
      return other.read(ends.readFd, memory);
    }
  },
  "a close of a ring that keeps nothing alive": async () => {
    const other = new Ring().unref();
    using folder = new Folder();
    const fd = openSync(folder.write("file", Buffer.alloc(2 ** 24)), "r+");
    const sync = other.fsync(fd); // nothing interrupts an fsync
    await Bun.sleep(1);
    await other.close();
    return sync;
  },
  "a slot that another thread releases": () => {
    const worker = new Worker(new URL("./releaser.ts", import.meta.url).href);
    worker.postMessage({ pool: pool.share(), token: buffer.handOver() });
    worker.unref();
    return pool.acquire().then(({ slotIndex: index }) => index);
  },
  "a slot that this thread releases": () => {
    setTimeout(() => buffer.release(), 200).unref();
    return pool.acquire().then(({ slotIndex: index }) => index);
  },
  "a slot that nobody releases": () => pool.acquire(),
  "a pool that is being made": async () => {
    using made = await BufferPool.create({ count: 4, size: 2 ** 20 });
    return made.available;
  },
  "a close that cancels": () => {
    ring.read(stdin, memory).catch(({ code }) => console.log(`the read: ${code}`));
    return ring.close();
  },
  "a read that is aborted": () => {
    const controller = new AbortController();
    const read = ring.read(stdin, memory, { signal: controller.signal }).catch(String);
    setTimeout(() => controller.abort("aborted"), 20);
    return read;
  },
  "process.exit": () => {
    haveAllInFlight();
    setImmediate(() => process.exit(7));
    return undefined;
  },
  "process.exit by who waits for an operation": async () => {
    haveAllInFlight();
    await ring.timeout(5);
    process.exit(7);
  },
  "process.exit at the last line": () => {
    haveAllInFlight();
    console.log("last line");
    process.exit(7);
  },
  "an uncaught throw": () => {
    haveAllInFlight();
    setImmediate(() => {
      throw new Error("on purpose");
    });
    return undefined;
  },
  "process.exit while a Worker reads": () => {
    const worker = new Worker(new URL("../workers/doomed.ts", import.meta.url).href);
    buffer.release();
    worker.addEventListener("message", () => process.exit(7));
    worker.postMessage({
      pool: pool.share(),
      path: process.execPath,
      pipeFd: ends.readFd,
      ending: "terminate",
      slots: 1,
    });
    return undefined;
  },
};

setImmediate(() => writeSync(ends.writeFd, Buffer.alloc(4096)));
console.log(`read ${await ring.readFixed(ends.readFd, buffer)}`); // this has waited, so the ring has listened once
console.log(`read ${await ring.readFixed(file, buffer, { position: 4096 })}`);
const last = startedLast[process.argv[2] ?? ""];
if (last === undefined) throw new Error(`no such thing: ${process.argv[2]}`);
void last()?.then((value) => console.log(`settled: ${value}`));
console.log("last line");
