/** Where a pool's slots lie: pure arithmetic, and the memory itself. */

import { outOfRange } from "../base/arguments.ts";
import { assert } from "../base/assert.ts";
import { Bun, process } from "../base/globals.ts";
import { hugePageBytes, pageBytes } from "../base/machine.ts";
import { EINVAL } from "../errors/errno.ts";
import { checked, UringError } from "../errors/uring-error.ts";
import { addressOf, native } from "../uring/native.ts";
import type { Region } from "../uring/registration.ts";
import { largestTable } from "../uring/registration.ts";
import { type CgroupMemory, cgroupWithout } from "./cgroup.ts";

const largestExtentBytes = 2 ** 30;
/** With what aligning takes, less than the 4 GiB that a SharedArrayBuffer can have. */
const largestMemoryBytes = 3 * 2 ** 30;
/** What is faulted in at a time: meanwhile no thread of the process can map memory, and so hardly run. */
const residentPartBytes = 2 ** 22;

/** madvise(2)'s advice. */
const MADV_DONTNEED = 4;
export const MADV_HUGEPAGE = 14;
/** Since Linux 5.14. */
export const MADV_POPULATE_WRITE = 23;

/**
 * A pool of `count` slots of `sizeBytes`: slots stand `strideBytes` apart in extents, which the kernel knows as one buffer each; extents fill memories.
 * No slot crosses from one extent to the next.
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

/** Lays out a pool. `count` and `sizeBytes` are positive integers, and a slot fits into an extent. */
export function planPool(count: number, sizeBytes: number, hugePages: boolean): PoolPlan {
  const strideBytes = Math.ceil(sizeBytes / pageBytes) * pageBytes;
  const slotsPerExtent = Math.floor(largestExtentBytes / strideBytes);
  const slotsPerMemory = slotsPerExtent * Math.floor(largestMemoryBytes / (slotsPerExtent * strideBytes));
  const extentCount = Math.ceil(count / slotsPerExtent);
  if (extentCount > largestTable) throw outOfRange("options.count", `such that count × size is at most ${largestTable} extents of 1 GiB`, count);
  return { count, sizeBytes, strideBytes, slotsPerExtent, slotsPerMemory, extentCount, memoryCount: Math.ceil(count / slotsPerMemory), hugePages };
}

function slotBytesOf(plan: PoolPlan, index: number): number {
  return Math.min(plan.slotsPerMemory, plan.count - index * plan.slotsPerMemory) * plan.strideBytes;
}

/** Whether a memory is large enough for huge pages to matter. */
function isHuge(plan: PoolPlan, index: number): boolean {
  return plan.hugePages && slotBytesOf(plan, index) >= hugePageBytes;
}

/** Bytes of one of the pool's memories: with huge pages it is made of whole ones, wherever it comes to lie. */
export function memoryBytes(plan: PoolPlan, index: number): number {
  const bytes = slotBytesOf(plan, index);
  return isHuge(plan, index) ? (Math.ceil(bytes / hugePageBytes) + 1) * hugePageBytes : bytes;
}

/**
 * Where the slots begin in a memory that lies at `address`. One small page among them would make registering ten times dearer, and the allocator has
 * touched the memory's first page already: the huge page around it is left out.
 */
export function slotsStart(plan: PoolPlan, index: number, address: number): number {
  return isHuge(plan, index) ? hugePageBytes - (address % hugePageBytes) : 0;
}

const poolMemories = new WeakSet<SharedArrayBuffer>();

/** Notes memory as a pool's, in this thread. */
export function notePoolMemory(memories: readonly SharedArrayBuffer[]): void {
  for (const memory of memories) poolMemories.add(memory);
}

/** Whether memory is a pool's, as far as this thread knows. */
export function isPoolMemory(memory: SharedArrayBuffer): boolean {
  return poolMemories.has(memory);
}

/** What the kernel takes for itself where it registers or maps so much: at most 16 + 8 bytes for each page that it pins, and 8 for the page table's entry. */
function kernelBytes(totalBytes: number): number {
  return totalBytes / 128;
}

/** The cgroup that cannot give a pool its memory, if there is one. Small pools are lost in what the engine's own heap takes and gives back, and are made as quickly as they can be. */
function cgroupThatRefuses(plan: PoolPlan): CgroupMemory | undefined {
  const totalBytes = Array.from({ length: plan.memoryCount }, (_, index) => memoryBytes(plan, index)).reduce((sum, bytes) => sum + bytes);
  if (totalBytes < residentPartBytes) return undefined;
  const bytes = totalBytes + kernelBytes(totalBytes);
  if (cgroupWithout(bytes) === undefined) return undefined;
  Bun.gc(true); // pools that were closed have their memory until they are collected
  return cgroupWithout(bytes);
}

/** Allocates a pool's memories; nothing is faulted in yet. */
export function allocateMemories(plan: PoolPlan): SharedArrayBuffer[] {
  const totalBytes = plan.count * plan.strideBytes;
  const presentBytes = process.getBuiltinModule("node:os").totalmem();
  const tooLarge = (have: string, cause?: unknown) =>
    new UringError("ENOMEM", "mmap", {
      message: `a pool of ${plan.count} slots of ${plan.sizeBytes} bytes takes ${totalBytes} bytes of memory, and ${have}`,
      hint: "A pool's memory is pinned, so it has to exist. Make the pool smaller.",
      cause,
    });
  const present = `there are ${presentBytes}`;
  if (totalBytes > presentBytes) throw tooLarge(present);
  const cgroup = cgroupThatRefuses(plan);
  if (cgroup !== undefined)
    throw tooLarge(`the cgroup ${cgroup.path} of this container or service has ${cgroup.availableBytes} left of its limit of ${cgroup.limitBytes}`);
  try {
    return Array.from({ length: plan.memoryCount }, (_, index) => new SharedArrayBuffer(memoryBytes(plan, index)));
  } catch (error) {
    throw tooLarge(present, error);
  }
}

/** The extents, in the order in which they are registered. */
export function extentsOf(plan: PoolPlan, memories: readonly SharedArrayBuffer[]): Region[] {
  const extentBytes = plan.slotsPerExtent * plan.strideBytes;
  return memories.flatMap((memory, memoryIndex) => {
    const address = addressOf(memory);
    assert(address % pageBytes === 0, `a page-aligned SharedArrayBuffer, not one at ${address}`);
    const first = address + slotsStart(plan, memoryIndex, address);
    const bytes = slotBytesOf(plan, memoryIndex);
    return Array.from({ length: Math.ceil(bytes / extentBytes) }, (_, index) => ({
      memory,
      start: first + index * extentBytes,
      end: first + Math.min((index + 1) * extentBytes, bytes),
    }));
  });
}

/** What to fault in, part by part: the slots, and the huge pages that they begin and end in. */
export function residentParts(plan: PoolPlan, memories: readonly SharedArrayBuffer[]): Region[] {
  return memories.flatMap((memory, memoryIndex) => {
    const address = addressOf(memory);
    const first = address + slotsStart(plan, memoryIndex, address);
    const bytes = slotBytesOf(plan, memoryIndex);
    const end = first + (isHuge(plan, memoryIndex) ? Math.ceil(bytes / hugePageBytes) * hugePageBytes : bytes);
    return Array.from({ length: Math.ceil((end - first) / residentPartBytes) }, (_, index) => ({
      memory,
      start: first + index * residentPartBytes,
      end: Math.min(first + (index + 1) * residentPartBytes, end),
    }));
  });
}

/**
 * Asks for huge pages, which make registering several times cheaper. A kernel without them goes on with small ones. Memory that the allocator has used before may
 * still have pages, of huge ones that were taken apart, which count whole against memlock: it gives them back first, and is zeros as before.
 */
export function adviseHugePages(plan: PoolPlan, parts: readonly Region[]): void {
  if (!plan.hugePages) return;
  for (const { start, end } of parts) {
    checkAdvice(native().advise(start, end - start, MADV_DONTNEED));
    checkAdvice(native().advise(start, end - start, MADV_HUGEPAGE));
  }
}

/** Faults the memory in, which registering would do more slowly. */
export function populate(parts: readonly Region[]): void {
  for (const { start, end } of parts) checkAdvice(native().advise(start, end - start, MADV_POPULATE_WRITE));
}

/** EINVAL: the kernel does not know the advice, and registering does without. */
export function checkAdvice(result: number): void {
  if (result !== EINVAL) checked(result, "madvise");
}
