/**
 * Acquires and releases slots as fast as it can, and marks each slot by compare-and-exchange while it holds it, so that
 * a second holder of the same slot is noticed.
 */
import { BufferPool, type FixedBuffer } from "bun-uring";
import { participantOf } from "../../lib/pool/buffer-pool.ts";
import { Slots } from "../../lib/pool/slots.ts";
import { addressOf } from "../../lib/uring/native.ts";
import type { GrabberAnswer, GrabberJob } from "./jobs.ts";

declare const self: Worker;

self.addEventListener("message", grab, { once: true });

/** Where slots are taken from and given back to. */
interface Source<Slot> {
  tryTake(): Slot | undefined;
  indexOf(slot: Slot): number;
  giveBack(slot: Slot): void;
}

function slotsOf({ hints, owners, mark }: GrabberJob): Source<number> {
  const slots = new Slots(new Int32Array(hints), new Int32Array(owners));
  return {
    tryTake: () => {
      const index = slots.tryAcquire(mark);
      return index === -1 ? undefined : index;
    },
    indexOf: (index) => index,
    giveBack: (index) => slots.release(index, mark),
  };
}

function buffersOf(pool: BufferPool): Source<FixedBuffer> {
  return {
    tryTake: () => pool.tryAcquire(),
    indexOf: ({ slotIndex: index }) => index,
    giveBack: (buffer) => buffer.release(),
  };
}

/**
 * Marks slots: in separate words if lib/pool/slots.ts is used by itself, otherwise in each slot's own memory. A word is
 * 0 while nobody holds the slot.
 */
class Marks {
  stolen = 0;
  readonly #words: Int32Array;
  readonly #positions: readonly number[];
  readonly #mark: number;
  readonly #looks: number;

  constructor(job: GrabberJob, pool: BufferPool) {
    const { extents, control } = participantOf(pool);
    const [extent] = extents;
    if (extent === undefined || extents.length > 1) throw new Error("a pool of more than one extent");
    const isBeside = job.how === "slots";
    this.#words = new Int32Array(isBeside ? job.marks : extent.memory);
    const first = extent.start - addressOf(extent.memory);
    this.#positions = Array.from({ length: pool.count }, (_, index) =>
      isBeside ? index : (first + index * control.plan.strideBytes) / 4,
    );
    this.#mark = job.mark;
    this.#looks = job.looks;
  }

  set(index: number): void {
    if (Atomics.compareExchange(this.#words, this.#positions[index] ?? 0, 0, this.#mark) !== 0) this.stolen++;
  }

  clear(index: number): void {
    const position = this.#positions[index] ?? 0;
    for (let look = 0; look < this.#looks; look++)
      if (Atomics.load(this.#words, position) !== this.#mark) this.stolen++;
    if (Atomics.compareExchange(this.#words, position, this.#mark, 0) !== this.#mark) this.stolen++;
  }
}

/** Never waits: if no slot is free, it releases the oldest one that it holds. */
function tryAll<Slot>(source: Source<Slot>, job: GrabberJob, marks: Marks): { pairs: number; exhausted: number } {
  const progress = new Int32Array(job.progress);
  const held: Slot[] = [];
  let pairs = 0;
  let exhausted = 0;
  while (held.length > 0 || (pairs < job.pairs && Atomics.load(progress, 1) === 0)) {
    const slot = pairs + held.length < job.pairs && Atomics.load(progress, 1) === 0 ? source.tryTake() : undefined;
    if (slot !== undefined) {
      marks.set(source.indexOf(slot));
      if (held.push(slot) < job.depth) continue;
    } else {
      exhausted++;
    }
    const oldest = held.shift();
    if (oldest === undefined) continue;
    marks.clear(source.indexOf(oldest));
    Atomics.add(progress, 0, 1);
    source.giveBack(oldest);
    pairs++;
  }
  return { pairs, exhausted };
}

/** Waits for slots, and holds every eighth one for a turn of the event loop. */
async function acquireAll(pool: BufferPool, job: GrabberJob, marks: Marks, releasesWaited: number[]): Promise<number> {
  const progress = new Int32Array(job.progress);
  let pairs = 0;
  const lane = async () => {
    while (pairs < job.pairs) {
      const turn = pairs++;
      const { exhaustions } = pool.stats();
      const acquiring = pool.acquire();
      const releases = Atomics.load(progress, 0);
      const waits = pool.stats().exhaustions > exhaustions;
      const buffer = await acquiring;
      if (waits) releasesWaited.push(Atomics.load(progress, 0) - releases);
      marks.set(buffer.slotIndex);
      if (turn % 8 === 0) await new Promise(setImmediate);
      marks.clear(buffer.slotIndex);
      Atomics.add(progress, 0, 1);
      buffer.release();
      await new Promise(setImmediate);
    }
  };
  await Promise.all(Array.from({ length: job.depth }, lane));
  return pairs;
}

async function grab({ data }: MessageEvent<GrabberJob>): Promise<void> {
  const releasesWaited: number[] = [];
  {
    using pool = BufferPool.attach(data.pool);
    const marks = new Marks(data, pool);
    const { pairs, exhausted } =
      data.how === "slots"
        ? tryAll(slotsOf(data), data, marks)
        : data.how === "tryAcquire"
          ? tryAll(buffersOf(pool), data, marks)
          : { pairs: await acquireAll(pool, data, marks, releasesWaited), exhausted: releasesWaited.length };
    self.postMessage({ pairs, stolen: marks.stolen, exhausted, releasesWaited } satisfies GrabberAnswer);
  }
  process.exit();
}
