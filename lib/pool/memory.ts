/** The layout of a pool's slots, which is pure arithmetic, and the memory itself. */

import { outOfRange } from "../base/arguments.ts";
import { assert } from "../base/assert.ts";
import { Bun, process } from "../base/globals.ts";
import { hugePageBytes, pageBytes } from "../base/machine.ts";
import { EINVAL } from "../errors/errno.ts";
import { checked, UringError } from "../errors/uring-error.ts";
import { addressOf, native } from "../uring/native.ts";
import { largestTable, type Region } from "../uring/registration.ts";
import { type CgroupMemory, cgroupWithout } from "./cgroup.ts";

const largestExtentBytes = 2 ** 30;
/** Together with the padding for alignment, less than the 4 GiB that a SharedArrayBuffer can have. */
const largestMemoryBytes = 3 * 2 ** 30;
/**
 * How much memory is faulted in at a time. While that lasts, no thread of the process can map memory, so most of them
 * stall.
 */
const residentPartBytes = 2 ** 22;

/** Advice for madvise(2). */
const MADV_DONTNEED = 4;
const MADV_HUGEPAGE = 14;
/** Since Linux 5.14. */
export const MADV_POPULATE_WRITE = 23;

/**
 * The layout of a pool of `count` slots of `sizeBytes`. Slots are `strideBytes` apart in extents, each of which is one
 * registered buffer; extents fill memories, each of which is one SharedArrayBuffer. No slot crosses the end of an
 * extent.
 */
export interface PoolPlan {
  readonly count: number;
  readonly sizeBytes: number;
  readonly strideBytes: number;
  readonly slotsPerExtent: number;
  readonly slotsPerMemory: number;
  readonly extentCount: number;
  readonly memoryCount: number;
  readonly hugePages: boolean;
}

/** Lays out a pool. `count` and `sizeBytes` have to be positive integers, and a slot has to fit into an extent. */
export function planPool(count: number, sizeBytes: number, hugePages: boolean): PoolPlan {
  const strideBytes = Math.ceil(sizeBytes / pageBytes) * pageBytes;
  const slotsPerExtent = Math.floor(largestExtentBytes / strideBytes);
  const slotsPerMemory = slotsPerExtent * Math.floor(largestMemoryBytes / (slotsPerExtent * strideBytes));
  const extentCount = Math.ceil(count / slotsPerExtent);
  if (extentCount > largestTable)
    throw outOfRange("options.count", `such that count × size is at most ${largestTable} extents of 1 GiB`, count);
  return {
    count,
    sizeBytes,
    strideBytes,
    slotsPerExtent,
    slotsPerMemory,
    extentCount,
    memoryCount: Math.ceil(count / slotsPerMemory),
    hugePages,
  };
}

function slotBytesOf(plan: PoolPlan, index: number): number {
  return Math.min(plan.slotsPerMemory, plan.count - index * plan.slotsPerMemory) * plan.strideBytes;
}

/** Whether a memory is large enough for huge pages to matter. */
function isHuge(plan: PoolPlan, index: number): boolean {
  return plan.hugePages && slotBytesOf(plan, index) >= hugePageBytes;
}

/**
 * The size of one of the pool's memories, in bytes. With huge pages it leaves room for whole ones, whatever the address
 * of the memory.
 */
export function memoryBytes(plan: PoolPlan, index: number): number {
  const bytes = slotBytesOf(plan, index);
  return isHuge(plan, index) ? (Math.ceil(bytes / hugePageBytes) + 1) * hugePageBytes : bytes;
}

/**
 * The offset at which the slots begin in a memory that lies at `address`. The allocator has already touched the first
 * page of the memory, so the huge page around that address consists of small pages, and is skipped: a single small page
 * among the slots would make registering them much slower.
 */
function slotsStart(plan: PoolPlan, index: number, address: number): number {
  return isHuge(plan, index) ? hugePageBytes - (address % hugePageBytes) : 0;
}

const poolMemories = new WeakSet<SharedArrayBuffer>();

/** Records, in this thread, that memory belongs to a pool. */
export function notePoolMemory(memories: readonly SharedArrayBuffer[]): void {
  for (const memory of memories) poolMemories.add(memory);
}

/** Whether memory belongs to a pool, as far as this thread knows. */
export function isPoolMemory(memory: SharedArrayBuffer): boolean {
  return poolMemories.has(memory);
}

/**
 * The cgroup that cannot provide the memory of a pool, if there is one. Small pools are not checked: they do not matter
 * beside the fluctuations of the engine's own heap, and creating them should be fast.
 */
function cgroupThatRefuses(plan: PoolPlan): CgroupMemory | undefined {
  const totalBytes = Array.from({ length: plan.memoryCount }, (_, index) => memoryBytes(plan, index)).reduce(
    (sum, bytes) => sum + bytes,
  );
  if (totalBytes < residentPartBytes) return undefined;
  // The kernel itself uses, for each page, at most 16 + 8 bytes to pin it, and 8 for its page table entry.
  const bytes = totalBytes + (totalBytes / pageBytes) * 32;
  if (cgroupWithout(bytes) === undefined) return undefined;
  Bun.gc(true); // a closed pool keeps its memory until it is garbage-collected
  return cgroupWithout(bytes);
}

/** Allocates a pool's memories; nothing is faulted in yet. */
export function allocateMemories(plan: PoolPlan): SharedArrayBuffer[] {
  const totalBytes = plan.count * plan.strideBytes;
  const presentBytes = process.getBuiltinModule("node:os").totalmem();
  const tooLarge = (have: string, cause?: unknown) =>
    new UringError("ENOMEM", "mmap", {
      message: `a pool of ${plan.count} slots of ${plan.sizeBytes} bytes takes ${totalBytes} bytes of memory, and ${have}`,
      hint: "A pool's memory is pinned, so it has to fit into physical memory. Make the pool smaller.",
      cause,
    });
  const present = `there are ${presentBytes}`;
  if (totalBytes > presentBytes) throw tooLarge(present);
  const cgroup = cgroupThatRefuses(plan);
  if (cgroup !== undefined)
    throw tooLarge(
      `the cgroup ${cgroup.path} of this container or service has ${cgroup.availableBytes} left of its limit of ${cgroup.limitBytes}`,
    );
  try {
    return Array.from({ length: plan.memoryCount }, (_, index) => new SharedArrayBuffer(memoryBytes(plan, index)));
  } catch (error) {
    throw tooLarge(present, error);
  }
}

/**
 * Divides `bytesOf` bytes of each memory, from its first slot on, into parts of `partBytes`. The last part of a memory
 * may be shorter.
 */
function divided(
  plan: PoolPlan,
  memories: readonly SharedArrayBuffer[],
  partBytes: number,
  bytesOf: (memoryIndex: number) => number,
): Region[] {
  return memories.flatMap((memory, memoryIndex) => {
    const address = addressOf(memory);
    assert(address % pageBytes === 0, `a page-aligned SharedArrayBuffer, not one at ${address}`);
    const first = address + slotsStart(plan, memoryIndex, address);
    const end = first + bytesOf(memoryIndex);
    return Array.from({ length: Math.ceil((end - first) / partBytes) }, (_, index) => ({
      memory,
      start: first + index * partBytes,
      end: Math.min(first + (index + 1) * partBytes, end),
    }));
  });
}

/** The extents, in the order in which they are registered. */
export function extentsOf(plan: PoolPlan, memories: readonly SharedArrayBuffer[]): Region[] {
  return divided(plan, memories, plan.slotsPerExtent * plan.strideBytes, (index) => slotBytesOf(plan, index));
}

/**
 * The regions to fault in, one after the other: the slots, and the whole of the huge pages that they begin and end in.
 */
export function residentParts(plan: PoolPlan, memories: readonly SharedArrayBuffer[]): Region[] {
  return divided(plan, memories, residentPartBytes, (index) => {
    const bytes = slotBytesOf(plan, index);
    return isHuge(plan, index) ? Math.ceil(bytes / hugePageBytes) * hugePageBytes : bytes;
  });
}

/**
 * Asks for huge pages, which make registering the memory faster. A kernel without them uses small pages.
 *
 * MADV_DONTNEED comes first. Memory that the allocator has used before may still have small pages that once were part
 * of huge ones; such a page counts as a whole huge page against the limit on locked memory. The advice gives those
 * pages back. The memory reads as zeros afterwards, as it did before.
 */
export function adviseHugePages(plan: PoolPlan, parts: readonly Region[]): void {
  if (!plan.hugePages) return;
  for (const { start, end } of parts) {
    checkAdvice(native().advise(start, end - start, MADV_DONTNEED));
    checkAdvice(native().advise(start, end - start, MADV_HUGEPAGE));
  }
}

/** Faults the memory in. Registering would do that too, but more slowly. */
export function populate(parts: readonly Region[]): void {
  for (const { start, end } of parts) checkAdvice(native().advise(start, end - start, MADV_POPULATE_WRITE));
}

/**
 * Checks the result of madvise(2). Ignores EINVAL: the kernel does not know the advice, and registering works without
 * it.
 */
export function checkAdvice(result: number): void {
  if (result !== EINVAL) checked(result, "madvise");
}
