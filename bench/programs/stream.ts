/** Streams a file from its beginning to its end, in one of several ways. An operation is 1 MiB. */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { BufferPool, Ring, type RingFile } from "bun-uring";
import { serveRounds } from "./rounds.ts";

const [way = "", path = ""] = process.argv.slice(2);

type Chunks = AsyncIterable<Uint8Array>;

/** Reads a stream of the file through a Ring. */
async function* throughRing(streamOf: (file: RingFile) => Chunks): AsyncGenerator<Uint8Array> {
  await using ring = new Ring({ pool });
  await using file = await ring.open(path);
  yield* streamOf(file);
}

async function* zeroCopy(file: RingFile): AsyncGenerator<Uint8Array> {
  for await (using chunk of file.readable({ pool, zeroCopy: true })) yield chunk;
}

async function* webStream(): AsyncGenerator<Uint8Array> {
  await using file = await open(path);
  yield* file.readableWebStream();
}

const pool = new BufferPool({ count: 16, size: 2 ** 18 });
const ways: Readonly<Record<string, () => Chunks>> = {
  readable: () => throughRing((file) => file.readable()),
  zeroCopy: () => throughRing(zeroCopy),
  "Bun.file": () => Bun.file(path).stream(),
  createReadStream: () => createReadStream(path),
  readableWebStream: webStream,
};

const chunksOf = ways[way];
if (chunksOf === undefined) throw new Error(`no way ${way}`);

await serveRounds(async (operations) => {
  let bytes = 0;
  for await (const chunk of chunksOf()) bytes += chunk.length;
  if (bytes !== operations * 2 ** 20) throw new Error(`${way}: ${bytes} bytes`);
});
