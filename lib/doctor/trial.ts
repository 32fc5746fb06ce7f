/** Uses the library as a program would, on a small scale, to find problems that `probe()` cannot detect. */

import { process } from "../base/globals.ts";
import { hugePageBytes } from "../base/machine.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool, type BufferPoolOptions } from "../pool/buffer-pool.ts";
import { Ring } from "../ring/ring.ts";
import { isLimited } from "../uring/memlock.ts";
import type { Probe } from "../uring/probe.ts";

export type Reason = NonNullable<Probe["reason"]>;

/** The result of the trial. */
export type Trial =
  | {
      readonly error: undefined;
      /** Bytes read into a registered buffer, and verified against node:fs. */
      readonly readBytes: number;
      readonly bufferSource: Ring["bufferSource"];
      /**
       * The size of the largest pool that could be made, among those tried. 0 if none could be made, undefined if
       * locked memory is not limited.
       */
      readonly largestPoolBytes: number | undefined;
    }
  | { readonly error: Reason };

/** A pool of this many bytes is enough to start with; the trial does not try larger ones. */
export const amplePoolBytes = 2 ** 26;
const slotBytes = 65536;
/** Roughly the locked memory that the rings themselves take, on kernels that count it. */
const ringsBytes = 2 ** 18;

/** A file that is certainly readable: this one. */
const path = import.meta.path;

async function readFixed(
  options: BufferPoolOptions,
): Promise<{ readBytes: number; bufferSource: Ring["bufferSource"] }> {
  const content = process.getBuiltinModule("node:fs").readFileSync(path);
  using pool = await BufferPool.create(options);
  await using ring = new Ring({ pool });
  await using file = await ring.open(path);
  using buffer = await pool.acquire();
  const readBytes = await ring.readFixed(file, buffer, { position: 0 });
  if (!content.subarray(0, buffer.bytes.length).equals(buffer.bytes.subarray(0, readBytes)))
    throw new UringError("EIO", "read_fixed", {
      message: "what was read is not what node:fs reads",
      hint: "Please report this.",
      path,
    });
  return { readBytes, bufferSource: ring.bufferSource };
}

/** Rounds a pool's size down to whole huge pages or, below one huge page, to whole slots. */
function poolWithin(bytes: number): number {
  const unit = bytes >= hugePageBytes ? hugePageBytes : slotBytes;
  return Math.floor(bytes / unit) * unit;
}

/**
 * Finds the largest possible pool by halving. It cannot be calculated: other processes of the user may use part of the
 * limit, and the kernel does not report how much.
 */
async function largestPool(limitBytes: number): Promise<number> {
  for (
    let bytes = poolWithin(Math.min(limitBytes - ringsBytes, amplePoolBytes));
    bytes > 0;
    bytes = poolWithin(bytes / 2)
  ) {
    try {
      await readFixed({ count: bytes / slotBytes, size: slotBytes });
      return bytes;
    } catch (error) {
      if (!(error instanceof UringError && error.code === "ENOMEM")) throw error;
    }
  }
  return 0;
}

function reasonOf(error: unknown): Reason {
  if (!(error instanceof Error)) return { code: "", syscall: "", message: String(error), hint: undefined };
  if (error instanceof UringError)
    return { code: error.code, syscall: error.syscall, message: error.message, hint: error.hint };
  // An error of node:fs, for example because no descriptor was left.
  return { code: "code" in error ? String(error.code) : "", syscall: "", message: error.message, hint: undefined };
}

/**
 * Reads a file through a ring with a pool's buffers. If locked memory is limited, also finds out how large a pool can
 * be.
 */
export async function trial({ memlock }: Probe): Promise<Trial> {
  try {
    const { readBytes, bufferSource } = await readFixed({ count: 1, size: 4096 });
    return {
      error: undefined,
      readBytes,
      bufferSource,
      largestPoolBytes: isLimited(memlock) ? await largestPool(memlock.limitBytes) : undefined,
    };
  } catch (error) {
    return { error: reasonOf(error) };
  }
}
