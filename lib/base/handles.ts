/**
 * Tracks the objects that programs have to close: where each was made, and how to reclaim one that is garbage-collected
 * while open.
 */

import { checkBoolean, libraryFolder } from "./arguments.ts";
import { FinalizationRegistry } from "./globals.ts";
import { hold } from "./hold.ts";
import { emitWarning } from "./warn.ts";

/** An open object, as `openHandles` reports it. */
export interface OpenHandle {
  /** The object's class. */
  readonly kind: "Ring" | "RawRing" | "RingFile" | "BufferPool" | "FixedBuffer";
  /** Which object it is: a file's path, a slot's index, a pool's size, a ring's descriptor. */
  readonly label: string;
  /**
   * Where it was made: lines of a stack trace, without this library's own. Empty if it is not
   * recorded, see `trackHandles`.
   */
  readonly madeAt: string;
}

/**
 * The internal part of an object that programs hold. It must not refer to that object, which could then never be
 * collected.
 */
export interface Reclaimable {
  readonly kind: OpenHandle["kind"];
  readonly label: string;
  /** Whether it is closed already, for example together with its ring: there is nothing left to reclaim. */
  readonly ended: boolean;
  /**
   * Called when the object was garbage-collected: releases its resources as soon as nothing is in flight. Must not
   * block.
   */
  reclaim(): void;
}

/**
 * An Error whose stack trace records a place in the program; null if this place is not recorded; undefined if handles
 * are not tracked.
 */
export type Place = Error | null | undefined;

/**
 * Every place is recorded until there are this many, and then one in `placesApart`. All are if the program asked for
 * tracking, or is a test: `isAskedFor`.
 */
const firstPlaces = 1000;
const placesApart = 64;
let places = 0;
let isAskedFor = false;

/**
 * NODE_ENV when this module was loaded. `bun build` replaces this plain expression with the value at build time, or
 * with "development".
 */
const builtFor = process.env.NODE_ENV;
/** Captured on import, as in globals.ts. Read through this name, `env.NODE_ENV` is not replaced by a bundler. */
const own = process;

function byDefault(): boolean {
  const { env, execArgv } = own;
  const wish = env["BUN_URING_TRACK_HANDLES"];
  isAskedFor = wish === "1" || env.NODE_ENV === "test";
  if (wish === "0" || wish === "1") return wish === "1";
  // Off under `bun --hot`: each reload drops everything that the program had open. NODE_ENV at run time takes
  // precedence over its value at build time.
  return (env.NODE_ENV ?? builtFor) !== "production" && !execArgv.includes("--hot");
}

let tracking: boolean | undefined;
const open = new Map<Reclaimable, Opened>();
/** The objects that were dropped and reported since `assertNoOpenHandles` last ran, up to `mostDropped`. */
const dropped: OpenHandle[] = [];
const mostDropped = 100;
/** The handles that `assertNoOpenHandles` has already named. */
const named = new WeakSet<OpenHandle>();

const registry = new FinalizationRegistry<Reclaimable>((what) => {
  const opened = open.get(what);
  open.delete(what);
  if (what.ended) return;
  what.reclaim();
  if (opened !== undefined) report(handleOf(what, opened));
});
hold(registry); // on a reload `bun --hot` drops this module, but objects registered here may still be alive

/**
 * Lines of a stack trace that contain this path are the library's own. In a bundle they cannot be told from the
 * program's.
 */
const folder = `${libraryFolder}/`;

/** If the program has its own Error.prepareStackTrace, `stack` may be any value, and reading it may throw. */
function stackOf(place: Error): string {
  try {
    return String(place.stack);
  } catch {
    return "";
  }
}

function linesOf(place: Error): string {
  const lines = stackOf(place)
    .split("\n")
    .filter((line) => /^\s+at /.test(line));
  const theirs = lines.filter((line) => !line.includes(folder) && !line.includes("(native"));
  return (theirs.length > 0 ? theirs : lines).join("\n");
}

/** What is known of a tracked object that is open. */
interface Opened {
  readonly place: Error | null;
  /** Made on first use: formatting a stack trace is slow. */
  handle?: OpenHandle;
}

function handleOf(what: Reclaimable, opened: Opened): OpenHandle {
  opened.handle ??= { kind: what.kind, label: what.label, madeAt: linesAt(opened.place) };
  return opened.handle;
}

/** The tracked open objects that `isMeant` accepts: the oldest first, up to `most`. */
export function openSince(isMeant: (what: Reclaimable) => boolean, most: number): OpenHandle[] {
  const found: OpenHandle[] = [];
  for (const [what, opened] of open) {
    if (what.ended || !isMeant(what)) continue;
    found.push(handleOf(what, opened));
    if (found.length === most) break;
  }
  return found;
}

/** Formats a place as lines of a stack trace. Empty if it is not recorded. */
export function linesAt(place: Error | null): string {
  return place === null ? "" : linesOf(place);
}

function report(handle: OpenHandle): void {
  const { kind, label, madeAt } = handle;
  const closing = kind === "FixedBuffer" ? "release()" : "close()";
  if (dropped.length < mostDropped) dropped.push(handle);
  const where = madeAt === "" ? "Where it was made is not recorded." : "It was made here:";
  emitWarning(`${kind} ${label} was dropped without ${closing}. ${where}`, "BUN_URING_DROPPED", madeAt);
}

/**
 * The current place in the program if handles are tracked. Pass it to `track` if the object is made later, for example
 * after an await.
 */
export function currentPlace(): Place {
  tracking ??= byDefault();
  if (!tracking) return undefined;
  return isAskedFor || places++ < firstPlaces || places % placesApart === 0 ? new Error() : null;
}

/** Reclaims `what` when `object` is garbage-collected, unless `untrack` is called first. */
export function track(object: object, what: Reclaimable, place = currentPlace()): void {
  registry.register(object, what, what);
  if (place !== undefined) open.set(what, { place });
}

/** Stops tracking: the object was closed, or its resource was handed over. */
export function untrack(what: Reclaimable): void {
  registry.unregister(what);
  open.delete(what);
}

/**
 * Marks an object that need not be closed. It is still reclaimed when it is garbage-collected, but neither
 * `openHandles` nor a warning reports it.
 */
export function leaveToCollection(what: Reclaimable): void {
  open.delete(what);
}

/**
 * Switches the tracking of open objects on or off in this thread, for objects made from now on.
 *
 * Tracking is a development aid. An object that is garbage-collected without close is reported once as a process
 * warning (`process.on("warning")`, code BUN_URING_DROPPED) with the place that made it, and `openHandles` lists the
 * objects that are open. Tracking captures a stack trace for each object made, including each slot acquired; operations
 * cost nothing. Unless you switch tracking on yourself, or NODE_ENV is "test", it does so only for the first 1000
 * objects of a thread, and then for one in 64. Dropped objects are reclaimed whether or not they are tracked.
 *
 * Default: on, except if NODE_ENV is "production" or under `bun --hot`. The environment variable
 * BUN_URING_TRACK_HANDLES, 0 or 1, overrides that.
 *
 * @param enabled - whether to track
 *
 * @throws TypeError: not a boolean
 *
 * @example
 * ```ts
 * import { trackHandles } from "bun-uring";
 *
 * trackHandles(false);
 * ```
 */
export function trackHandles(enabled: boolean): void {
  checkBoolean("enabled", enabled);
  tracking = isAskedFor = enabled;
}

/**
 * Lists the rings, files, pools and slots of this thread that were made while handles were tracked and whose close has
 * not begun, the oldest first. For an object that stays open, every call returns the same OpenHandle.
 *
 * @example
 * ```ts
 * import { openHandles } from "bun-uring";
 *
 * for (const { kind, label, madeAt } of openHandles()) console.log(`${kind} ${label}\n${madeAt}`);
 * ```
 */
export function openHandles(): OpenHandle[] {
  return openSince(() => true, Number.POSITIVE_INFINITY);
}

/**
 * Throws unless this thread has nothing open and has dropped nothing without close since the last call. Call it at the
 * end of a test suite or of a test. It reports each object only once, so that only one test fails for it. Test files
 * that run in the same process share one list.
 *
 * @param except - handles that may be open: an earlier result of `openHandles()`. Default: none.
 *
 * @throws Error: something is open or was dropped, with the places that made it; or handles are not tracked
 *
 * @example
 * ```ts
 * import { afterAll, test } from "bun:test";
 * import { assertNoOpenHandles, Ring } from "bun-uring";
 *
 * afterAll(() => assertNoOpenHandles());
 *
 * test("a ring that is closed", async () => {
 *   await using ring = new Ring();
 *   await ring.nop();
 * });
 * ```
 */
export function assertNoOpenHandles(except: readonly OpenHandle[] = []): void {
  tracking ??= byDefault();
  if (!tracking)
    throw new Error(
      "handles are not tracked: set BUN_URING_TRACK_HANDLES=1, or call trackHandles(true) before they are made",
    );
  const found = [
    ...dropped.splice(0).map((handle) => ({ handle, fate: "dropped without close" })),
    ...openHandles().map((handle) => ({ handle, fate: "open" })),
  ].filter(({ handle }) => !except.includes(handle) && !named.has(handle));
  if (found.length === 0) return;
  for (const { handle } of found) named.add(handle);
  throw new Error(
    `${found.length} not closed: ${found.map(({ handle: { kind, label, madeAt }, fate }) => `${kind} ${label} (${fate}), made\n${madeAt === "" ? "    at a place that is not recorded" : madeAt}`).join("\n")}`,
  );
}
