import { leaveToCollection } from "../base/handles.ts";
import { coreOf, Ring } from "./ring.ts";

let ring: Ring | undefined;

/**
 * The ring of this thread, for functions that are called without one. It is made on first use, and stays open until the
 * thread ends: making a ring takes longer than reading many small files. An idle ring uses no processor time, and does
 * not keep the process alive. `openHandles` does not report it.
 * @throws UringError: the errors of `new Ring()`
 */
export function threadRing(): Ring {
  if (ring === undefined || ring.closed) {
    ring = new Ring();
    leaveToCollection(coreOf(ring));
  }
  return ring;
}
