/** What a process holds in the kernel, read from /proc and not from the library. */
import { expect } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { RawRing } from "bun-uring";
import { readFile } from "bun-uring/promises";

/** This process, or the one with this id. */
type Process = number | "self";

function descriptors(process: Process, isWanted: (target: string) => boolean): number {
  let count = 0;
  for (const fd of readdirSync(`/proc/${process}/fd`)) {
    try {
      if (isWanted(readlinkSync(`/proc/${process}/fd/${fd}`))) count++;
    } catch {
      // The descriptor of this listing itself is closed by now.
    }
  }
  return count;
}

/** The number of open ring descriptors. */
export function ringFds(process: Process = "self"): number {
  return descriptors(process, (target) => target === "anon_inode:[io_uring]");
}

/**
 * The number of open eventfds. Each ring, each thread that has waited for a pool's slot, and each event loop has one.
 */
export function eventfds(): number {
  return descriptors("self", (target) => target === "anon_inode:[eventfd]");
}

/** The number of all open descriptors. */
export function openFds(): number {
  return descriptors("self", () => true);
}

/** The number of descriptors that are open on a path. */
export function fdsOf(path: string, process: Process = "self"): number {
  return descriptors(process, (target) => target === path);
}

/** The number of descriptors that are open on a folder or on anything in it, including removed files. */
export function fdsUnder(folder: string): number {
  return descriptors("self", (target) => target === folder || target.startsWith(`${folder}/`));
}

/** Pinned memory, in kB. */
export function pinnedKb(): number {
  return Number(/^VmPin:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}

/** The resident memory of this process, in kB, after garbage collections. */
export function residentKb(): number {
  for (let collection = 0; collection < 4; collection++) Bun.gc(true);
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}

let counted: boolean | undefined;

/**
 * Whether VmPin counts what this process registers: newer kernels count only for processes that the limit applies to.
 */
export function pinsCounted(): boolean {
  if (counted === undefined) {
    using ring = new RawRing({ entries: 1 });
    const before = pinnedKb();
    ring.registerBuffers([new SharedArrayBuffer(4096)]);
    counted = pinnedKb() > before;
  }
  return counted;
}

/**
 * The least that VmPin has to show when `kb` are pinned. It may show more: memory may lie in huge pages that were there
 * before, and a huge page counts as a whole.
 */
export function countedKb(kb: number): number {
  return pinsCounted() ? kb : 0;
}

/** Runs `body`, and checks that it leaves no ring descriptor and no pinned page. */
export async function leavingNothing(body: () => void | Promise<void>): Promise<void> {
  await readFile("/proc/self/comm"); // makes the thread's ring, which stays open, where there can be one
  const before = { ringFds: ringFds(), pinnedKb: pinnedKb() };
  await body();
  expect(ringFds()).toBe(before.ringFds);
  // Older kernels unpin memory in a worker, some time after a ring was closed, and without any event.
  for (let turn = 0; turn < 200 && pinnedKb() !== before.pinnedKb; turn++) await Bun.sleep(10);
  expect(pinnedKb()).toBe(before.pinnedKb);
}
