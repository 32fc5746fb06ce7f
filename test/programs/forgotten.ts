/**
 * Drops things that it should have closed, and prints what becomes of them. The argument selects one of the cases
 * below. test/open-handles.test.ts reads this source: a line that ends in a comment with only a class's name, such as
 * `// RawRing`, is where an object of that class is made, and reports have to name that line.
 */
import { writeSync } from "node:fs";
import { assertNoOpenHandles, BufferPool, openHandles, RawRing, Ring } from "bun-uring";
import { collect } from "../support/collect.ts";
import { sockets } from "../support/pipes.ts";
import { fdsOf, ringFds } from "../support/resources.ts";
import { shared } from "../support/rings.ts";

const path = import.meta.path;
const ends = sockets();

function dropRawRing(): void {
  const ring = new RawRing(); // RawRing
  const bytes = shared(4096);
  ring.registerBuffers([bytes]);
  ring.prepReadFixed(ends.readFd, bytes, 0, 0, 1);
}

function dropPool(): void {
  new BufferPool({ count: 1, size: 4096 }); // BufferPool
}

async function dropCreatedPool(): Promise<void> {
  await BufferPool.create({ count: 1, size: 4096 }); // BufferPool
}

async function dropRing(): Promise<void> {
  const ring = new Ring(); // Ring
  await ring.nop();
}

async function dropFile(ring: Ring): Promise<void> {
  const file = await ring.open(path); // RingFile
  await file.stat();
}

function dropSlot(pool: BufferPool): void {
  pool.tryAcquire()?.bytes.fill(1); // FixedBuffer
}

/** Drops a slot that was acquired by a wait for another holder's release. */
async function dropAwaitedSlot(pool: BufferPool): Promise<void> {
  const first = await pool.acquire();
  const second = pool.acquire(); // FixedBuffer
  await new Promise(setImmediate);
  first.release();
  await second;
}

async function closeAll(): Promise<void> {
  {
    using pool = new BufferPool({ count: 2, size: 4096 });
    using attached = BufferPool.attach(pool.share());
    await using ring = new Ring({ pool });
    await using file = await ring.open(path);
    const left = await ring.open(path); // closed by its ring
    using buffer = await pool.acquire();
    await file.readFixed(buffer, { position: 0 });
    await left.readFixed(buffer, { position: 0 });
    pool.receive((await pool.acquire()).handOver()).release();
    attached.tryAcquire()?.release();
    using raw = new RawRing();
    raw.submit();
  }
  using created = await BufferPool.create({ count: 1, size: 4096 });
  console.log(`${created.available} free, ${openHandles().length} open`);
}

/** Waits for a slot of a pool that the program has dropped. */
function acquireOfDroppedPool(): Promise<string> {
  const pool = new BufferPool({ count: 1, size: 4096 });
  const first = pool.tryAcquire();
  setTimeout(() => first?.release(), 100);
  return pool.acquire().then(
    ({ slotIndex: index }) => `slot ${index}`,
    ({ code }) => code,
  );
}

function sharedAndDropped() {
  return new BufferPool({ count: 1, size: 4096 }).share();
}

const cases: Readonly<Record<string, () => Promise<void>>> = {
  async everything() {
    await using ring = new Ring();
    using pool = new BufferPool({ count: 1, size: 4096 });
    const before = ringFds();
    dropRawRing();
    dropPool();
    await dropCreatedPool();
    await dropRing();
    await dropFile(ring);
    dropSlot(pool);
    await collect(() => ringFds() === before && fdsOf(path) === 0 && pool.available === 1);
    await dropAwaitedSlot(pool);
    await collect(() => pool.available === 1);
    console.log(
      `${ringFds() - before} rings, ${fdsOf(path)} files, ${pool.available} free, open: ${openHandles().map(({ kind }) => kind)}`,
    );
  },
  async "a list"() {
    using _pool = new BufferPool({ count: 1, size: 4096 });
    console.log(`${openHandles().length} open`);
  },
  async nothing() {
    await closeAll();
    await collect(() => false, 20);
  },
  async "kept bytes"() {
    using pool = new BufferPool({ count: 1, size: 4096 });
    const keepBytes = () => pool.tryAcquire()?.bytes;
    const bytes = keepBytes();
    await collect(() => pool.available > 0, 30);
    console.log(`${pool.available} free, ${bytes?.length} bytes kept`);
  },
  async "a kept chunk"() {
    using pool = new BufferPool({ count: 2, size: 4096 });
    await using ring = new Ring({ pool });
    await using file = await ring.open(path);
    const readFirst = async () =>
      (await file.readable({ pool, zeroCopy: true, depth: 1, length: 1 }).getReader().read()).value;
    const keepChunk = async () => {
      const chunk = await readFirst();
      await collect(() => pool.available === 2, 30);
      return `${pool.available} free, ${chunk?.length} byte kept`;
    };
    console.log(await keepChunk());
    await collect(() => pool.available === 2);
    console.log(`${pool.available} free`);
  },
  async "a slot that a raw ring has"() {
    using pool = new BufferPool({ count: 1, size: 4096 });
    const raw = new RawRing();
    const readIntoDropped = () => {
      const bytes = pool.tryAcquire()?.bytes ?? new Uint8Array();
      raw.registerBuffers([bytes]);
      raw.prepReadFixed(ends.readFd, bytes, -1, 0, 1);
      raw.submit();
    };
    readIntoDropped();
    await collect(() => pool.available > 0, 30);
    const inFlight = pool.available;
    writeSync(ends.writeFd, "x");
    raw.submitAndWait(1);
    raw.forEachCompletion(() => undefined);
    raw.unregisterBuffers();
    await collect(() => pool.available > 0);
    raw.close();
    console.log(`${inFlight} free, then ${pool.available}`);
  },
  async "stacks of its own"() {
    Error.prepareStackTrace = (_error, frames) => frames;
    using pool = new BufferPool({ count: 10, size: 4096 });
    for (let slot = 0; slot < 10; slot++) dropSlot(pool);
    const listed = openHandles().length;
    await collect(() => pool.available === 10);
    console.log(`${listed} open, ${pool.available} free`);
  },
  async "a slot in flight"() {
    using pool = new BufferPool({ count: 1, size: 4096 });
    await using ring = new Ring({ pool });
    const readIntoDropped = () => ring.readFixed(ends.readFd, pool.tryAcquire() ?? (undefined as never));
    const read = readIntoDropped();
    await collect(() => pool.available > 0, 30);
    console.log(`${pool.available} free`);
    writeSync(ends.writeFd, "x");
    console.log(`${await read} read, ${pool.available} free`);
  },
  async "a file in use"() {
    await using ring = new Ring();
    const content = Bun.file(process.execPath).size;
    const readWhole = async () => (await ring.open(process.execPath)).readFile();
    const read = readWhole();
    let bytes = 0;
    void read.then(({ length }) => {
      bytes = length;
    });
    await collect(() => bytes > 0, Number.POSITIVE_INFINITY);
    await collect(() => fdsOf(process.execPath) === 0);
    console.log(`${bytes === content}, ${fdsOf(process.execPath)} files`);
  },
  async "dropped before the assertion"() {
    const drop = async () => {
      const ring = new Ring();
      await ring.open(path);
    };
    await drop();
    await collect(() => ringFds() === 0 && fdsOf(path) === 0);
    const named = () => {
      try {
        assertNoOpenHandles();
        return "nothing";
      } catch (error) {
        const [count] = /^\d+ not closed: /.exec(String(error).slice("Error: ".length)) ?? [];
        const found = Array.from(
          String(error).matchAll(/(Ring|RingFile) (?:of|')[^(]*(\(.*?\))/g),
          ([, kind, fate]) => ({ kind, fate }),
        );
        return `${count}${found
          .map(({ kind }) => kind)
          .sort()
          .join(", ")} ${[...new Set(found.map(({ fate }) => fate))]}`;
      }
    };
    console.log(named());
    console.log(named());
  },
  async "streams with a signal"() {
    using pool = new BufferPool({ count: 8, size: 4096 });
    await using ring = new Ring({ pool });
    const stopping = new AbortController();
    const drop = async () => {
      const file = await ring.open(process.execPath);
      await file.readable({ pool, depth: 2, zeroCopy: true, signal: stopping.signal }).getReader().read(); // a stream
    };
    for (let stream = 0; stream < 3; stream++) await drop();
    await collect(() => pool.available === 8);
    console.log(`${pool.available} free`);
    await using file = await ring.open(process.execPath);
    const reader = file.readable({ signal: stopping.signal }).getReader();
    const { value } = await reader.read();
    await collect(() => false, 10);
    stopping.abort(new Error("enough"));
    const end = await reader.read().then(() => "a chunk", String);
    console.log(`the file's end: ${value === undefined ? 0 : 1} chunk, then ${end}`);
  },
  async "a pool that is waited for"() {
    const acquired = acquireOfDroppedPool();
    await collect(() => false, 30);
    console.log(await acquired);
  },
  async "a shared pool"() {
    const handle = sharedAndDropped();
    await collect(() => false, 30);
    using pool = BufferPool.attach(handle);
    console.log(`${pool.available} free`);
  },
  async "a file kept, its ring not"() {
    const openInDropped = () => new Ring().open(path); // Ring
    const useAndClose = async () => {
      const file = await openInDropped();
      await collect(() => false, 30);
      console.log(`${(await file.stat()).size > 0}`);
      await file.close();
    };
    await useAndClose();
    await collect(() => ringFds() === 0);
    console.log(`${ringFds()} rings`);
  },
};

await cases[process.argv[2] ?? ""]?.();
