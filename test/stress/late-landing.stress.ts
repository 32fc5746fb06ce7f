/**
 * After a ring is closed, the kernel writes nothing more to the ring's memory, whatever was in flight. Only a request's
 * own completion shows that the kernel is done with the request, so every kind of close has to wait for all
 * completions.
 */
import { afterAll, beforeAll, expect } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { BufferPool, type FixedBuffer, RawRing, Ring } from "bun-uring";
import { bundleWorkers } from "../support/bundled-workers.ts";
import { needs } from "../support/capabilities.ts";
import { directFlags } from "../support/direct.ts";
import { times } from "../support/effort.ts";
import { Folder } from "../support/files.ts";
import { Random } from "../support/random.ts";
import { leavingNothing } from "../support/resources.ts";
import { report, seed } from "../support/stress.ts";
import { TestWorker } from "../support/workers.ts";

const pieceBytes = 4096;
const inFlight = 200;
const memoryBytes = inFlight * pieceBytes;
/** Larger than the other pieces, because small reads would complete before a thread has ended. */
const terminatedPieceBytes = 2 ** 18;
/** How much memory to check after one wait of a second. */
const bytesAWait = 2 ** 28;
const random = new Random(seed);

const resources = new DisposableStack();
const folder = resources.use(new Folder());
// The file's byte, 0xff, is never the byte of a pattern.
const fileBytes = 64 * 2 ** 20;
const path = folder.write("file", Buffer.alloc(fileBytes, 0xff));
beforeAll(async () => {
  resources.use(await bundleWorkers("flooder"));
});
afterAll(() => resources.dispose());

/** Memory whose ring was just closed. It is filled with a pattern, and checked later. */
class Closed {
  readonly #memories: { readonly bytes: Uint8Array; readonly pattern: number; readonly how: string }[] = [];
  readonly late: Record<string, number> = {};
  looks = 0;

  add(bytes: Uint8Array, how: string): void {
    const pattern = this.#memories.length % 255; // never 255, the file's byte
    bytes.fill(pattern);
    this.#memories.push({ bytes, pattern, how });
  }

  get size(): number {
    return this.#memories.length;
  }

  /** Waits a second, and counts the memories that no longer have their pattern. */
  async look(): Promise<void> {
    await Bun.sleep(1000);
    for (const { bytes, pattern, how } of this.#memories.splice(0)) {
      this.looks++;
      const isIntact = bytes[0] === pattern && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0;
      if (!isIntact) this.late[how] = (this.late[how] ?? 0) + 1;
    }
  }
}

/** A random position in the file, so that reads go to different places on the disk. */
function position(): number {
  return random.below(fileBytes / pieceBytes) * pieceBytes;
}

function closeRawRing(fd: number, memory: SharedArrayBuffer): void {
  const bytes = new Uint8Array(memory);
  const ring = new RawRing({ entries: inFlight });
  ring.registerBuffers([bytes]);
  for (let piece = 0; piece < inFlight; piece++)
    ring.prepReadFixed(fd, bytes.subarray(piece * pieceBytes, (piece + 1) * pieceBytes), position(), 0, piece);
  ring.submit();
  ring.close();
}

/** Acquires all slots of a pool. Throws if one is not free. */
function acquireAll(pool: BufferPool): FixedBuffer[] {
  const buffers = Array.from({ length: pool.count }, () => pool.tryAcquire()).filter((buffer) => buffer !== undefined);
  if (buffers.length !== pool.count) throw new Error(`${buffers.length} of ${pool.count} slots are free`);
  return buffers;
}

/** The memory of all slots of a pool, which is one piece. */
function memoryOf(buffers: readonly FixedBuffer[]): Uint8Array {
  const slots = buffers.map(({ bytes }) => bytes).toSorted((one, other) => one.byteOffset - other.byteOffset);
  return new Uint8Array(
    slots[0]?.buffer ?? new SharedArrayBuffer(0),
    slots[0]?.byteOffset,
    slots.reduce((sum, { length }) => sum + length, 0),
  );
}

/** Closes a ring with a read in flight into each slot, optionally after aborting all reads. */
async function closeRing(memoryPool: BufferPool, file: string, isAborted: boolean): Promise<FixedBuffer[]> {
  const ring = new Ring({ pool: memoryPool });
  const opened = await ring.open(file, directFlags(file));
  const buffers = acquireAll(memoryPool);
  const controller = new AbortController();
  for (const buffer of buffers)
    ring.readFixed(opened, buffer, { position: position(), signal: controller.signal }).catch(() => undefined);
  await Promise.resolve(); // the ring submits the reads in this microtask
  if (isAborted) controller.abort();
  await ring.close();
  return buffers;
}

async function terminateWorker(memoryPool: BufferPool): Promise<FixedBuffer[]> {
  const worker = new TestWorker<string>("flooder", memoryPool.share());
  await worker.answer();
  await worker.terminate();
  return acquireAll(memoryPool);
}

const rawCloses = times(1600);
const ringCloses = times(400);
const terminations = times(60);

needs("a file system with O_DIRECT", "256 MiB of locked memory")(
  `a pattern written right after each of ${rawCloses + ringCloses + terminations} closes with hundreds of block reads in flight is intact a second later`,
  () =>
    leavingNothing(async () => {
      const closed = new Closed();
      const fd = openSync(path, directFlags(path));
      const memories = Array.from(
        { length: Math.min(Math.floor(bytesAWait / memoryBytes), rawCloses) },
        () => new SharedArrayBuffer(memoryBytes),
      );
      for (let close = 0; close < rawCloses; close++) {
        const memory = memories[close % memories.length];
        if (memory === undefined) throw new Error("no memory");
        closeRawRing(fd, memory);
        closed.add(new Uint8Array(memory), "RawRing.close");
        if (closed.size === memories.length) await closed.look();
      }
      await closed.look();
      closeSync(fd);

      for (const [how, count, size] of [
        ["Ring.close", ringCloses, pieceBytes],
        ["Worker.terminate", terminations, terminatedPieceBytes],
      ] as const) {
        for (let close = 0; close < count; ) {
          using pools = new DisposableStack();
          for (
            const until = Math.min(count, close + Math.floor(bytesAWait / (inFlight * size)));
            close < until;
            close++
          ) {
            const pool = pools.use(new BufferPool({ count: inFlight, size, hugePages: false }));
            const buffers =
              how === "Ring.close" ? await closeRing(pool, path, close % 2 === 0) : await terminateWorker(pool);
            pools.defer(() => {
              for (const buffer of buffers) buffer.release();
            });
            closed.add(memoryOf(buffers), how);
          }
          await closed.look();
        }
      }
      report(
        "late landing",
        `${closed.looks} closes (${rawCloses} RawRing, ${ringCloses} Ring, ${terminations} Worker.terminate) with ${inFlight} reads each, late: ${JSON.stringify(closed.late)}`,
      );
      expect(closed.late).toEqual({});
      expect(closed.looks).toBe(rawCloses + ringCloses + terminations);
    }),
  300_000,
);
