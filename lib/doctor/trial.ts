/** Does with the library what it is for, on a small scale: what a probe cannot tell. */

import { process } from "../base/globals.ts";
import { hugePageBytes } from "../base/machine.ts";
import { UringError } from "../errors/uring-error.ts";
import { BufferPool, type BufferPoolOptions } from "../pool/buffer-pool.ts";
import { Ring } from "../ring/ring.ts";
import { isLimited } from "../uring/memlock.ts";
import type { Probe } from "../uring/probe.ts";

/** What came of it. */
export type Trial =
  | {
      readonly error: undefined;
      /** Read in a registered buffer, and the same as node:fs has. */
      readonly readBytes: number;
      readonly bufferSource: Ring["bufferSource"];
      /** How large a pool could be made, as far as that was tried: 0 is none, undefined that nothing limits it. */
      readonly largestPoolBytes: number | undefined;
    }
  | { readonly error: NonNullable<Probe["reason"]> };

/** A pool of so many bytes is enough to begin with; more is not tried. */
export const amplePoolBytes = 2 ** 26;
const slotBytes = 65536;
/** About what the rings themselves take, where those count. */
const ringsBytes = 2 ** 18;

/** A file that certainly can be read: this one. */
const path = import.meta.path;

async function readFixed(options: BufferPoolOptions): Promise<{ readBytes: number; bufferSource: Ring["bufferSource"] }> {
  const content = process.getBuiltinModule("node:fs").readFileSync(path);
  using pool = await BufferPool.create(options);
  await using ring = new Ring({ pool });
  await using file = await ring.open(path);
  using buffer = await pool.acquire();
  const readBytes = await ring.readFixed(file, buffer, { position: 0 });
  if (!content.subarray(0, buffer.bytes.length).equals(buffer.bytes.subarray(0, readBytes)))
    throw new UringError("EIO", "read_fixed", { message: "what was read is not what node:fs reads", hint: "Please report this.", path });
  return { readBytes, bufferSource: ring.bufferSource };
}

/** Whole huge pages, where there are any. */
function poolWithin(bytes: number): number {
  return bytes >= hugePageBytes ? Math.floor(bytes / hugePageBytes) * hugePageBytes : Math.floor(bytes / slotBytes) * slotBytes;
}

/** Other processes of the user may have taken of the limit, and nothing says how much: found by halving. */
async function largestPool(limitBytes: number): Promise<number> {
  for (let bytes = poolWithin(Math.min(limitBytes - ringsBytes, amplePoolBytes)); bytes > 0; bytes = poolWithin(bytes / 2)) {
    try {
      await readFixed({ count: bytes / slotBytes, size: slotBytes });
      return bytes;
    } catch (error) {
      if (!(error instanceof UringError && error.code === "ENOMEM")) throw error;
    }
  }
  return 0;
}

function reasonOf(error: unknown): NonNullable<Probe["reason"]> {
  if (!(error instanceof Error)) return { code: "", syscall: "", message: String(error), hint: undefined };
  if (error instanceof UringError) return { code: error.code, syscall: error.syscall, message: error.message, hint: error.hint };
  return { code: "code" in error ? String(error.code) : "", syscall: "", message: error.message, hint: undefined }; // of node:fs, for want of descriptors
}

/** Reads a file through a ring that has a pool's buffers; where locked memory is limited, finds out how large a pool may be. */
export async function trial({ memlock }: Probe): Promise<Trial> {
  try {
    const { readBytes, bufferSource } = await readFixed({ count: 1, size: 4096 });
    return { error: undefined, readBytes, bufferSource, largestPoolBytes: isLimited(memlock) ? await largestPool(memlock.limitBytes) : undefined };
  } catch (error) {
    return { error: reasonOf(error) };
  }
}
