import { Buffer, WeakRef } from "./globals.ts";
import { bufferOf } from "./view.ts";

const { allocUnsafeSlow } = Buffer;
const PlainBytes = Uint8Array;

/**
 * Allocates memory without filling it with zeros: it holds whatever the process last had there. Only what has been
 * written since may be shown to the program.
 */
export function uninitialized(sizeBytes: number): Uint8Array {
  return new PlainBytes(bufferOf(allocUnsafeSlow(sizeBytes)));
}

const headroomBytes = 8 * 2 ** 20;
let headroom: WeakRef<Uint8Array> | undefined;

/**
 * Memory for a consumer of much memory to hold, and never to use. The engine collects garbage whenever about as much has
 * been allocated as the heap holds. In a program with a small heap, that is every 8 MiB: a stream that allocates a
 * gigabyte a second would spend a third of the processor's time on collections. This memory counts as part of the heap,
 * so that there are half as many, and some tens of MiB more garbage at a time. Nobody touches it, so it takes no physical
 * memory itself. All holders share it.
 */
export function heapHeadroom(): Uint8Array {
  const known = headroom?.deref();
  if (known !== undefined) return known;
  const made = uninitialized(headroomBytes);
  headroom = new WeakRef(made);
  return made;
}
