/** What a process holds of the kernel: read from /proc, not from the library. */
import { expect } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { RawRing } from "bun-uring";

/** Of this process, or of that with a number. */
type Process = number | "self";

function descriptors(process: Process, isWanted: (target: string) => boolean): number {
  let count = 0;
  for (const fd of readdirSync(`/proc/${process}/fd`)) {
    try {
      if (isWanted(readlinkSync(`/proc/${process}/fd/${fd}`))) count++;
    } catch {
      // The descriptor of this very listing is gone by now.
    }
  }
  return count;
}

/** Ring descriptors that are open. */
export function ringFds(process: Process = "self"): number {
  return descriptors(process, (target) => target === "anon_inode:[io_uring]");
}

/** Eventfds that are open: rings and those who wait for slots have one each, and each thread's event loop has its own. */
export function eventfds(): number {
  return descriptors("self", (target) => target === "anon_inode:[eventfd]");
}

/** All descriptors that are open. */
export function openFds(): number {
  return descriptors("self", () => true);
}

/** Descriptors that are open on a path. */
export function fdsOf(path: string, process: Process = "self"): number {
  return descriptors(process, (target) => target === path);
}

/** Descriptors that are open on a folder or on anything in it, removed files included. */
export function fdsUnder(folder: string): number {
  return descriptors("self", (target) => target === folder || target.startsWith(`${folder}/`));
}

/** Pinned memory, in kB. */
export function pinnedKb(): number {
  return Number(/^VmPin:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}

/** Memory of this process that is in RAM, in kB, after what can be collected has been. */
export function residentKb(): number {
  for (let collection = 0; collection < 4; collection++) Bun.gc(true);
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}

let counted: boolean | undefined;

/** Whether that counts what this process registers: newer kernels count only where the limit binds. */
export function pinsCounted(): boolean {
  if (counted === undefined) {
    using ring = new RawRing({ entries: 1 });
    const before = pinnedKb();
    ring.registerBuffers([new SharedArrayBuffer(4096)]);
    counted = pinnedKb() > before;
  }
  return counted;
}

/** The least that is to be counted as pinned when `kb` are: memory may lie in huge pages that were there before, and those count whole. */
export function countedKb(kb: number): number {
  return pinsCounted() ? kb : 0;
}

/** Runs `body`; no ring descriptor and no pinned page of it may be left. */
export async function leavingNothing(body: () => void | Promise<void>): Promise<void> {
  const before = { ringFds: ringFds(), pinnedKb: pinnedKb() };
  await body();
  expect(ringFds()).toBe(before.ringFds);
  // Older kernels unpin from a worker, some time after, and tell nobody.
  for (let turn = 0; turn < 200 && pinnedKb() !== before.pinnedKb; turn++) await Bun.sleep(10);
  expect(pinnedKb()).toBe(before.pinnedKb);
}
