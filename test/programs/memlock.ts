/**
 * Runs as an ordinary user who may lock 8 MiB. Makes a pool of 6 MiB and rings that use it, and prints how each ring
 * got the pool's buffers. Argument:
 * - "register": pretends that the kernel cannot clone buffers.
 * - "rounds": makes and closes a pool and a ring first, times(200).
 * - "raw": registers too much, and then not too much, with a RawRing.
 * - "again": makes rings up to the limit, closes them, and makes them again at once.
 * - "late": fills the limit with memory that the kernel has not given back yet after rings were closed, and waits for
 *   that memory with BufferPool.create.
 */
import { closeSync, openSync } from "node:fs";
import { BufferPool, RawRing, Ring, UringError } from "bun-uring";
import { kernel } from "../../lib/uring/kernel.ts";
import { times } from "../support/effort.ts";
import { becomeUser, limitMemlock } from "../support/restrictions.ts";
import { resultOf, shared } from "../support/rings.ts";

const found = kernel();
if (process.argv[2] === "register") Object.assign(found, { cloneAbility: 0 });
Bun.sleepSync = () => {
  throw new Error("the event loop would have been blocked");
};
const fd = openSync(process.execPath, "r"); // as root, because an ordinary user may not have access
limitMemlock(8 * 2 ** 20);
becomeUser(2 ** 20 + process.pid); // a user of its own: the limit counts all processes of a user

if (process.argv[2] === "rounds") {
  for (let round = 0; round < times(200); round++) {
    using pool = new BufferPool({ count: 96, size: 65536 });
    await using ring = new Ring({ pool });
    using buffer = await pool.acquire();
    await ring.readFixed(fd, buffer, { position: 0 });
  }
}

if (process.argv[2] === "raw") {
  const ring = new RawRing({ entries: 4 });
  const refuse = (what: string, register: () => void) => {
    try {
      register();
      console.log(`${what}: no error`);
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      console.log(`${what}: ${error.code} ${error.syscall}`);
    }
  };
  const read = (bytes: Uint8Array) => {
    ring.prepReadFixed(fd, bytes.subarray(0, 65536), 0, 0, 1);
    console.log(`read: ${resultOf(ring)}`);
  };
  const [small, large] = [shared(2 ** 21), shared(12 * 2 ** 20)];
  refuse("too much", () => ring.registerBuffers([large]));
  refuse("too much in all", () => ring.registerBuffers([small, large]));
  refuse("little", () => ring.registerBuffers([small, null]));
  read(small);
  refuse("an update to too much", () => ring.updateBuffers(0, [large]));
  read(small);
  refuse("another", () => ring.updateBuffers(1, [large]));
  ring.unregisterBuffers();
  refuse("as much as before", () => ring.registerBuffers([shared(6 * 2 ** 20)]));
  ring.close();
  process.exit();
}

/** As many rings as the limit allows, at most 400. */
function makeRings(): Ring[] {
  const rings: Ring[] = [];
  try {
    while (rings.length < 400) rings.push(new Ring());
  } catch (error) {
    if (!(error instanceof UringError && error.code === "ENOMEM")) throw error;
  }
  return rings;
}

if (process.argv[2] === "again") {
  const counts: number[] = [];
  for (let round = 0; round < 3; round++) {
    const rings = makeRings();
    counts.push(rings.length);
    for (const ring of rings) await ring.close();
  }
  const [first = 0, ...later] = counts;
  console.log(JSON.stringify({ enough: first > 40, again: later.every((count) => count > first / 2) || counts }));
  process.exit();
}

if (process.argv[2] === "late") {
  let refused = 0;
  for (let ring = 0; ring < 1000 && refused === 0; ring++) {
    try {
      new RawRing({ entries: 4096 }).close();
    } catch (error) {
      if (!(error instanceof UringError && error.code === "ENOMEM" && error.hint?.includes("closed"))) throw error;
      refused++;
    }
  }
  let turns = 0;
  let waiting = true;
  const turn = () => {
    turns++;
    if (waiting) setImmediate(turn);
  };
  turn();
  using pool = await BufferPool.create({ count: 96, size: 65536 });
  waiting = false;
  console.log(JSON.stringify({ refused, available: pool.available, went: turns > 1 }));
  process.exit();
}

const pool = new BufferPool({ count: 96, size: 65536 });
const rings: Ring[] = [];
try {
  for (let ring = 0; ring < 4; ring++) rings.push(new Ring({ pool }));
} catch (error) {
  if (!(error instanceof UringError)) throw error;
  console.log(JSON.stringify({ code: error.code, syscall: error.syscall, hint: error.hint }));
}
for (const ring of rings) {
  using buffer = await pool.acquire();
  console.log(
    JSON.stringify({ bufferSource: ring.bufferSource, read: await ring.readFixed(fd, buffer, { position: 0 }) }),
  );
}
for (const ring of rings) await ring.close();
pool.close();
closeSync(fd);
