/**
 * Reads a file of numbered words in every way at once, while timeouts run and aborts end reads that would otherwise
 * never complete: busy.ts PATH ROUNDS. Prints "round N" after each round, waits for SIGUSR1 before the last round, and
 * finally prints how many operations of each kind went right, and what is left.
 */
import { BufferPool, RawRing, Ring, type RingFile } from "bun-uring";
import { numbered } from "../support/content.ts";
import { directFlags } from "../support/direct.ts";
import { sockets } from "../support/pipes.ts";
import { kinds, shared, waitFor, whenRoom } from "../support/rings.ts";

const [path = "", rounds = "0"] = process.argv.slice(2);
const partBytes = 16384;
const parts = 64;
const slots = 32;

let signals = 0;
process.on("SIGUSR1", () => signals++);

const ends = sockets();
const pool = new BufferPool({ count: slots, size: partBytes });
const ring = new Ring({ pool });
const files = [await ring.open(path), await ring.open(path, directFlags(path))];
const polled = new RawRing({ entries: 64, ...(kinds["SQPOLL"] === undefined ? {} : { flags: kinds["SQPOLL"] }) });
const memory = shared(parts * partBytes);
polled.registerBuffers([memory]);

const done = { right: 0, wrong: 0, timeouts: 0, aborts: 0 };

function check(bytes: Uint8Array, part: number): void {
  if (Buffer.compare(bytes, numbered(partBytes, (part * partBytes) / 4)) === 0) done.right++;
  else done.wrong++;
}

async function read(file: RingFile, part: number): Promise<void> {
  using buffer = await pool.acquire();
  const bytesRead = await ring.readFixed(file, buffer, { position: part * partBytes });
  check(buffer.bytes.subarray(0, bytesRead), part);
}

async function abort(): Promise<void> {
  const signal = AbortSignal.timeout(5);
  await ring.read(ends.readFd, shared(1), { signal }).catch((error: unknown) => {
    if (error !== signal.reason) throw error;
    done.aborts++;
  });
}

async function pass(): Promise<void> {
  await ring.timeout(5);
  done.timeouts++;
}

function readPolled(fd: number): void {
  memory.fill(0xff);
  const part = (index: number) => memory.subarray(index * partBytes, (index + 1) * partBytes);
  for (let index = 0; index < parts; index++)
    whenRoom(polled, () => polled.prepReadFixed(fd, part(index), index * partBytes, 0, index));
  for (const [index] of waitFor(polled, parts)) check(part(index), index);
}

for (let round = 1; round <= Number(rounds); round++) {
  while (round === Number(rounds) && signals === 0) await new Promise(setImmediate);
  const all = [abort(), abort(), pass(), pass()];
  for (const file of files) for (let part = 0; part < parts; part++) all.push(read(file, part));
  readPolled(files[0]?.fd ?? -1);
  await Promise.all(all);
  console.log(`round ${round}`);
}
while (ring.inFlight > 0) await new Promise(setImmediate); // the kernel may not be done with aborted requests
const left = { inFlight: ring.inFlight, available: pool.available };
await ring.close();
polled.close();
console.log(JSON.stringify({ ...done, ...left }));
process.exit();
