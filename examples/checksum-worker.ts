/** A Worker of checksum.ts: claims chunks, reads them into the shared pool, and hashes them. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { BufferPool, type FixedBuffer, Ring, type RingFile, UringError } from "bun-uring";
import { chunkBytes, digestBytes, type Job, type Report, readsInFlight } from "./checksum-job.ts";

declare const self: Worker;

/** A file that this Worker has open. */
interface Source {
  readonly file: Promise<RingFile>;
  /** Whether reads bypass the page cache, which requires aligned positions. */
  direct: boolean;
  users: number;
}

function isUring(error: unknown, code: string): boolean {
  return error instanceof UringError && error.code === code;
}

async function work(job: Job): Promise<Report> {
  using pool = BufferPool.attach(job.pool);
  await using ring = new Ring({ pool, entries: 2 * readsInFlight });
  const sources = new Map<number, Source>();

  function open(path: string): Source {
    const source: Source = { direct: true, users: 0, file: Promise.resolve().then(openDirect) };
    async function openDirect(): Promise<RingFile> {
      try {
        return await ring.open(path, constants.O_RDONLY | constants.O_DIRECT);
      } catch (error) {
        if (!isUring(error, "EINVAL")) throw error;
        source.direct = false;
        return ring.open(path);
      }
    }
    return source;
  }

  /**
   * Fills the buffer with a chunk. Returns the number of bytes read, which is less than `length` only if the file has
   * shrunk.
   */
  async function read(
    file: RingFile,
    direct: boolean,
    buffer: FixedBuffer,
    position: number,
    length: number,
  ): Promise<number> {
    let filled = 0;
    while (filled < length) {
      // With O_DIRECT, request whole blocks: the read of the last block of a file is short.
      const wanted = direct ? chunkBytes - filled : length - filled;
      const bytesRead = await ring.readFixed(file, buffer, {
        position: position + filled,
        offset: filled,
        length: wanted,
      });
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return Math.min(filled, length);
  }

  async function readChunk(
    path: string,
    source: Source,
    buffer: FixedBuffer,
    position: number,
    length: number,
  ): Promise<number> {
    const file = await source.file;
    if (!source.direct) return read(file, false, buffer, position, length);
    try {
      return await read(file, true, buffer, position, length);
    } catch (error) {
      // The file system accepts O_DIRECT, but not this transfer.
      if (!isUring(error, "EINVAL")) throw error;
      await using buffered = await ring.open(path);
      return read(buffered, false, buffer, position, length);
    }
  }

  async function hashChunk(fileIndex: number, chunk: number): Promise<void> {
    const { path, sizeBytes } = job.files[fileIndex] ?? { path: "", sizeBytes: 0 };
    const position = (chunk - (job.firstChunks[fileIndex] ?? 0)) * chunkBytes;
    const length = Math.min(chunkBytes, sizeBytes - position);
    const source = sources.get(fileIndex) ?? open(path);
    sources.set(fileIndex, source);
    source.users++;
    try {
      using buffer = await pool.acquire();
      const filled = await readChunk(path, source, buffer, position, length);
      if (filled < length)
        throw new Error(`shrank while it was read: ${sizeBytes} bytes at first, ${position + filled} now`);
      job.digests.set(createHash("sha256").update(buffer.bytes.subarray(0, length)).digest(), chunk * digestBytes);
    } catch (error) {
      if (Atomics.exchange(job.failed, fileIndex, 1) === 0)
        self.postMessage({ file: fileIndex, error: error instanceof Error ? error.message : String(error) });
    } finally {
      source.users--;
      if (source.users === 0) {
        sources.delete(fileIndex);
        await source.file.then(
          (file) => file.close(),
          () => undefined, // reported above
        );
      }
    }
  }

  /**
   * Claims and hashes chunks until none are left. Chunks are claimed in ascending order, so the file index only ever
   * increases.
   */
  async function lane(): Promise<void> {
    let fileIndex = 0;
    for (let chunk = Atomics.add(job.progress, 0, 1); chunk < job.chunkCount; chunk = Atomics.add(job.progress, 0, 1)) {
      while ((job.firstChunks[fileIndex + 1] ?? job.chunkCount) <= chunk) fileIndex++;
      if (chunk === job.firstChunks[fileIndex]) job.times[2 * fileIndex] = performance.timeOrigin + performance.now();
      if (Atomics.load(job.failed, fileIndex) === 0) await hashChunk(fileIndex, chunk);
      if (Atomics.sub(job.chunksLeft, fileIndex, 1) === 1)
        job.times[2 * fileIndex + 1] = performance.timeOrigin + performance.now();
      Atomics.add(job.progress, 1, 1);
    }
  }

  await Promise.all(Array.from({ length: readsInFlight }, lane));
  return { bufferSource: ring.bufferSource ?? "none", bufferJoinMs: ring.bufferJoinMs };
}

self.addEventListener(
  "message",
  async ({ data }: MessageEvent<Job>) => {
    self.postMessage(await work(data));
    process.exit();
  },
  { once: true },
);
