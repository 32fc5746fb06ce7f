/**
 * How a test suite uses bun-uring: one pool for the file, one ring for each test, and a check at the end that nothing
 * was left open. Run it with `bun test ./examples/bun-test.test.ts`.
 */
import { afterAll, afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assertNoOpenHandles, BufferPool, Ring, type RingFile } from "bun-uring";

// Registering memory is expensive, so it happens only once. Each test's ring clones the registration, which takes about
// a microsecond.
const pool = new BufferPool({ count: 16, size: 4096 });
const folder = await mkdtemp(join(tmpdir(), "journal-"));
let ring: Ring;

beforeEach(() => {
  ring = new Ring({ pool });
});

afterEach(async () => {
  await ring.close(); // closes its files, too, after waiting for everything still in flight
  expect(pool.available).toBe(pool.count); // every slot is back
});

afterAll(async () => {
  pool.close();
  await rm(folder, { recursive: true });
  assertNoOpenHandles(); // if there are any, the error lists them with the lines that made them
});

/** The code under test: a journal. When `append` has resolved, the entry is on the disk, in order. */
class Journal {
  readonly #file: RingFile;
  #end = 0;

  constructor(file: RingFile) {
    this.#file = file;
  }

  async append(entry: string): Promise<void> {
    using buffer = await pool.acquire();
    const line = `${entry}\n`;
    const { read, written } = new TextEncoder().encodeInto(line, buffer.bytes);
    if (read < line.length) throw new RangeError(`an entry takes up to ${buffer.bytes.length - 1} bytes`);
    const position = this.#end;
    this.#end += written;
    const bytesWritten = await this.#file.writeFixed(buffer, { position, length: written, dsync: true });
    if (bytesWritten < written) throw new Error(`the disk took ${bytesWritten} of ${written} bytes`);
  }
}

async function newJournal(name: string): Promise<{ journal: Journal; path: string }> {
  const path = join(folder, name);
  return { journal: new Journal(await ring.open(path, "w")), path };
}

test("entries are in the file, in order, when they have been appended", async () => {
  const { journal, path } = await newJournal("in order");
  await journal.append("first");
  await journal.append("second");
  expect(await readFile(path, "utf8")).toBe("first\nsecond\n");
});

test("more entries at once than the pool has slots wait for their turn", async () => {
  const { journal, path } = await newJournal("at once");
  await Promise.all(Array.from({ length: 100 }, (_, index) => journal.append(`${index}`)));
  const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
  expect(lines).toEqual(Array.from({ length: 100 }, (_, index) => `${index}`));
});

test("an operation that takes too long is ended by its signal", async () => {
  const waiting = ring.timeout(60_000, { signal: AbortSignal.timeout(10) });
  expect(await waiting.catch(({ name }) => name)).toBe("TimeoutError");
});
