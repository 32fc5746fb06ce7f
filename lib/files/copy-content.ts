/** The content of a copy: by a reflink, or by reads and writes. */
import { onAbort, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { Buffer, Promise } from "../base/globals.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool } from "../pool/buffer-pool.ts";
import type { FixedBuffer } from "../pool/fixed-buffer.ts";
import * as operations from "../requests/builders.ts";
import type { OpenFile } from "../requests/open-file.ts";
import type { RequestQueue } from "../requests/queue.ts";
import type { CacheAdvice } from "../ring/cache-advice.ts";
import { cacheFlag, type RingCore } from "../ring/core.ts";
import { truncate } from "../ring/file-tasks.ts";
import type { Ring } from "../ring/ring.ts";
import { chunkBytesOf, repeat } from "./chunks.ts";
import { reflink } from "./reflink.ts";
import { smallBytes } from "./small-copy.ts";
import { statusOf } from "./status.ts";

/** The values of `fs.constants`. */
export const COPYFILE_EXCL = 1;
export const COPYFILE_FICLONE = 2;
export const COPYFILE_FICLONE_FORCE = 4;

/**
 * Maximum size of a chunk, in bytes, even if the pool's slots are larger: copying from the page cache blocks the event
 * loop, which has other work too.
 */
const largestChunkBytes = 2 ** 18;

/** Result of `copyFile`. */
export interface CopyFileResult {
  /** The length of the copy, in bytes. 0 if there was nothing to do. */
  readonly copiedBytes: number;
  /**
   * "reflink": the two files share their blocks. "read_write": the bytes were read and written. "none": nothing was
   * done, because both paths name the same file.
   */
  readonly method: "reflink" | "read_write" | "none";
}

/** A copy in progress. */
export interface Copy {
  /** Referenced so that the ring is not closed as dropped. */
  readonly ring: Ring;
  readonly core: RingCore;
  readonly requests: RequestQueue;
  readonly source: OpenFile;
  readonly destination: OpenFile;
  /** The source's size at the start, in bytes. */
  readonly size: number;
  /** The destination's size before the copy, in bytes. */
  readonly oldSize: number;
  /** Whether the source has holes. */
  readonly sparse: boolean;
  /** The unique id of the source's mount, or 0. */
  readonly mount: bigint;
  readonly depth: number;
  /** The page cache of the source and that of the destination: they may be of different file systems. */
  readonly reading: CacheAdvice;
  readonly writing: CacheAdvice;
  readonly signal: AbortSignal | undefined;
  /** Adds to the number of bytes copied, and reports progress. */
  readonly advance: (bytes: number) => void;
  /**
   * Whether the destination's previous content may be lost. If it is not, a failed copy restores the destination's
   * permissions.
   */
  replaced: boolean;
}

/** Errors of a reflink that has changed nothing. */
const noReflink = ["EOPNOTSUPP", "EXDEV", "EINVAL", "ENOTTY", "EBADF", "EMFILE", "EAGAIN", "ENOMEM"];

/** Makes the destination share the source's blocks. */
async function shareBlocks(copy: Copy): Promise<void> {
  const { requests, source, destination, size, oldSize } = copy;
  const share = async () => {
    try {
      await reflink(source.fd, destination.fd);
      copy.replaced = true;
    } catch (error) {
      copy.replaced ||= !(error instanceof UringError && noReflink.includes(error.code));
      throw error;
    }
  };
  try {
    await share();
  } catch (error) {
    // If the destination is longer than the source, it cannot share the block in which the source ends. Truncate it
    // first.
    if (oldSize <= size || !(error instanceof UringError && error.code === "EINVAL")) throw error;
    copy.replaced = true;
    await truncate(requests, destination, size);
    await share();
  }
  // A reflink does not shorten a longer destination. Ask for the source's size again, because the source may have been
  // truncated meanwhile.
  const end = Math.min(size, await sizeOf(requests, source));
  if (oldSize > end) await truncate(requests, destination, end);
}

async function sizeOf(requests: RequestQueue, file: OpenFile): Promise<number> {
  return (await statusOf(requests, file)).sizeBytes;
}

/** Whether every byte is 0: the first byte is 0, and every other byte equals the one before it. */
function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0;
}

/**
 * Memory of a chunk: a slot, or memory of the copy's own. Its transfers take no signal: an abort waits until they have
 * completed.
 */
interface ChunkMemory {
  readonly bytes: Uint8Array;
  read(position: number, offset: number, length: number): Promise<number>;
  write(position: number, offset: number, length: number): Promise<number>;
}

function slotMemory({ core, source, destination, reading, writing }: Copy, buffer: FixedBuffer): ChunkMemory {
  return {
    bytes: buffer.bytes,
    read: (position, offset, length) =>
      reading.follow((dontCache) =>
        core.transferFixed("read", source, buffer, { position, offset, length, dontCache }),
      ),
    write: (position, offset, length) =>
      writing.follow((dontCache) =>
        core.transferFixed("write", destination, buffer, { position, offset, length, dontCache }),
      ),
  };
}

function ownMemory({ requests, source, destination, reading, writing }: Copy, bytes: Uint8Array): ChunkMemory {
  const transfer = (direction: "read" | "write", file: OpenFile, position: number, part: Uint8Array) =>
    (direction === "read" ? reading : writing).follow((dontCache) =>
      requests.run(() => ({
        ...operations.transfer(direction, file, part, position),
        opFlags: cacheFlag(dontCache),
      })),
    );
  return {
    bytes,
    read: (position, offset, length) => transfer("read", source, position, bytes.subarray(offset, offset + length)),
    write: (position, offset, length) =>
      transfer("write", destination, position, bytes.subarray(offset, offset + length)),
  };
}

/** Copies by reads and writes. Returns the position at which the reads reached the end of the source. */
async function readAndWrite(copy: Copy, pool: BufferPool | undefined): Promise<number> {
  const { requests, destination, size, oldSize, sparse, signal, advance } = copy;
  const chunkBytes = Math.min(pool?.size ?? chunkBytesOf(size), largestChunkBytes);
  const stop = new Stop();
  let next = 0;
  let end = Number.POSITIVE_INFINITY;
  let writtenEnd = 0;
  let emptied: Promise<void> | undefined;

  /**
   * Truncates the destination, once. This happens only when the first bytes to replace the old content have been read.
   */
  function empty(): Promise<void> {
    copy.replaced = true;
    emptied ??= oldSize > 0 ? truncate(requests, destination, 0) : Promise.resolve();
    return emptied;
  }

  async function copyChunk(memory: ChunkMemory, position: number): Promise<void> {
    const length = await repeat(chunkBytes, (done) => memory.read(position + done, done, chunkBytes - done));
    if (length < chunkBytes) end = Math.min(end, position + length);
    if (length === 0) return;
    await empty();
    if (!sparse || !isZero(memory.bytes.subarray(0, length))) {
      const written = await repeat(length, (done) => memory.write(position + done, done, length - done));
      if (written < length) throw new UringError("EIO", pool === undefined ? "write" : "write_fixed");
      writtenEnd = Math.max(writtenEnd, position + length);
    }
    advance(length);
  }

  async function lane(index: number): Promise<void> {
    const memory = pool ?? ownMemory(copy, new Uint8Array(new SharedArrayBuffer(chunkBytes)));
    // Only the first lane reads on beyond the known size, to find out whether the source has grown.
    while (next < (index === 0 ? end : Math.min(end, size)) && !stop.signal.aborted) {
      const position = next;
      next += chunkBytes;
      if (memory instanceof BufferPool) {
        // One slot for each chunk: a lane never waits for a slot while it holds one, so copies that share a pool cannot
        // deadlock.
        using buffer = await memory.acquire({ signal: stop.signal });
        await copyChunk(slotMemory(copy, buffer), position);
      } else {
        await copyChunk(memory, position);
      }
    }
  }

  throwIfAborted(signal);
  const forget = signal && onAbort(signal, () => stop.abort(reasonOf(signal)));
  const chunks = Math.max(1, Math.ceil(size / chunkBytes));
  const lanes = Array.from({ length: Math.min(copy.depth, chunks) }, (_, index) =>
    lane(index).catch((error) => stop.abort(error)),
  );
  await Promise.all(lanes);
  forget?.();
  throwIfAborted(stop.signal);
  await empty();
  if (writtenEnd !== end) await truncate(requests, destination, end);
  return end;
}

/** The mounts on whose files a reflink was not supported, by unique id. Unique ids are never reused. */
const mountsWithoutReflinks = new Set<bigint>();
const mostMounts = 1000;

/**
 * Copies by a reflink if possible, otherwise by reads and writes. A small file is read and written: that is quicker than
 * a reflink, for which the kernel may write back the source first. It does not use copy_file_range(2): io_uring has no
 * such request, and node:fs offers it only for whole files, so such a copy could be neither aborted nor followed. From
 * page cache to page cache, it is no faster.
 */
export async function copyContent(
  copy: Copy,
  { mode, pool }: { readonly mode: number; readonly pool: BufferPool | undefined },
): Promise<CopyFileResult> {
  const forced = (mode & COPYFILE_FICLONE_FORCE) !== 0;
  if (forced || (mode & COPYFILE_FICLONE) !== 0 || copy.size > smallBytes) {
    try {
      if (!forced && mountsWithoutReflinks.has(copy.mount)) throw new UringError("EOPNOTSUPP", "ioctl_ficlone");
      await shareBlocks(copy);
      return { copiedBytes: await sizeOf(copy.requests, copy.destination), method: "reflink" };
    } catch (error) {
      if (forced) throw error;
      if (copy.mount !== 0n && error instanceof UringError && error.code === "EOPNOTSUPP") {
        if (mountsWithoutReflinks.size === mostMounts) mountsWithoutReflinks.clear();
        mountsWithoutReflinks.add(copy.mount);
      }
    }
    throwIfAborted(copy.signal);
  }
  return { copiedBytes: await readAndWrite(copy, pool), method: "read_write" };
}
