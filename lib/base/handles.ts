/** What has to be closed, where it was made, and what becomes of it when nobody has it any more. */

import { checkBoolean, libraryFolder } from "./arguments.ts";
import { FinalizationRegistry } from "./globals.ts";
import { hold } from "./hold.ts";
import { emitWarning } from "./warn.ts";

/** Something that is open, as `openHandles` tells it. */
export interface OpenHandle {
  /** Its class. */
  readonly kind: "Ring" | "RawRing" | "RingFile" | "BufferPool" | "FixedBuffer";
  /** Which one: a file's path, a slot's index, the size of a pool, the descriptor of a ring. */
  readonly label: string;
  /** Where it was made: lines of a stack trace, without this library's own. */
  readonly madeAt: string;
}

/** What stands behind an object that users have. It must not refer to that object, or that is never collected. */
export interface Reclaimable {
  readonly kind: OpenHandle["kind"];
  readonly label: string;
  /** It was closed with something else: nothing is left to reclaim. */
  readonly ended: boolean;
  /** Nobody has the object: gives back what it has, as soon as nothing is in flight. Must not wait. */
  reclaim(): void;
}

/** A moment in the program. */
export type Place = Error | undefined;

/** What NODE_ENV was when this was loaded. `bun build` writes what it was when it built, or "development", in place of the plain expression. */
const builtFor = process.env.NODE_ENV;
/** Kept, as in globals.ts, from where a bundler would not know it. */
const own = process;

function byDefault(): boolean {
  const { env, execArgv } = own;
  const wish = env["BUN_URING_TRACK_HANDLES"];
  if (wish === "0" || wish === "1") return wish === "1";
  // A reload of `bun --hot` drops all that the program had. What NODE_ENV is when the program runs comes first.
  return (env.NODE_ENV ?? builtFor) !== "production" && !execArgv.includes("--hot");
}

let tracking: boolean | undefined;
const open = new Map<Reclaimable, Opened>();
/** What was dropped and reported since `assertNoOpenHandles` looked last: so many are kept. */
const dropped: OpenHandle[] = [];
const mostDropped = 100;
/** What `assertNoOpenHandles` has said. */
const named = new WeakSet<OpenHandle>();

const registry = new FinalizationRegistry<Reclaimable>((what) => {
  const opened = open.get(what);
  open.delete(what);
  if (what.ended) return;
  what.reclaim();
  if (opened !== undefined) report(opened.handle);
});
hold(registry); // `bun --hot` drops modules whose objects are still there

/** Where a line of a stack trace lies in this library. Bundled into a program there are none to tell. */
const folder = `${libraryFolder}/`;

/** Of a program that has its own Error.prepareStackTrace this is anything, or throws. */
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

/** What is open, and how it is told once somebody asks. */
class Opened {
  readonly #what: Reclaimable;
  readonly #place: Error;
  #handle: OpenHandle | undefined;

  constructor(what: Reclaimable, place: Error) {
    this.#what = what;
    this.#place = place;
  }

  get handle(): OpenHandle {
    this.#handle ??= { kind: this.#what.kind, label: this.#what.label, madeAt: linesOf(this.#place) };
    return this.#handle;
  }
}

/** What is open and meant, the oldest first, `most` of it, as far as handles are tracked. */
export function openSince(isMeant: (what: Reclaimable) => boolean, most: number): OpenHandle[] {
  const found: OpenHandle[] = [];
  for (const [what, opened] of open) {
    if (what.ended || !isMeant(what)) continue;
    found.push(opened.handle);
    if (found.length === most) break;
  }
  return found;
}

/** A moment in the program, as lines of a stack trace. */
export function linesAt(place: Place): string | undefined {
  return place === undefined ? undefined : linesOf(place);
}

function report(handle: OpenHandle): void {
  const { kind, label, madeAt } = handle;
  const closing = kind === "FixedBuffer" ? "release()" : "close()";
  if (dropped.length < mostDropped) dropped.push(handle);
  emitWarning(`${kind} ${label} was dropped without ${closing}. It was made here:`, {
    type: "BunUringWarning",
    code: "BUN_URING_DROPPED",
    detail: madeAt,
  });
}

/** Where the program is, if that is of interest: for `track`, when it comes later. */
export function currentPlace(): Place {
  tracking ??= byDefault();
  return tracking ? new Error() : undefined;
}

/** Has `what` reclaimed when `object` is collected, unless `untrack` comes first. */
export function track(object: object, what: Reclaimable, place = currentPlace()): void {
  registry.register(object, what, what);
  if (place !== undefined) open.set(what, new Opened(what, place));
}

/** It is closed, or somebody else's now. */
export function untrack(what: Reclaimable): void {
  registry.unregister(what);
  open.delete(what);
}

/** From here on whoever has the object need not close it: it is reclaimed when it is collected, and neither listed until then nor reported after. */
export function leaveToCollection(what: Reclaimable): void {
  open.delete(what);
}

/**
 * Switches the tracking of open things on or off, in this thread, for those that are made from here on. It is a development aid: what is dropped without
 * close is reported once as a process warning (`process.on("warning")`, code BUN_URING_DROPPED) with the place that made it, and `openHandles` lists what is open. It costs up to
 * a microsecond for each thing made, a slot's acquire included, and nothing for operations. Reclaimed is what is dropped in either case.
 *
 * Default: on, except where NODE_ENV is "production" and under `bun --hot`; the environment variable BUN_URING_TRACK_HANDLES, 0 or 1, overrides that.
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
  tracking = enabled;
}

/**
 * The rings, files, pools and slots of this thread that were made while handles were tracked and that nobody has begun to close, the oldest first. What is
 * still open is the same object the next time.
 *
 * @example
 * ```ts
 * import { openHandles } from "bun-uring";
 *
 * for (const { kind, label, madeAt } of openHandles()) console.log(`${kind} ${label}\n${madeAt}`);
 * ```
 */
export function openHandles(): OpenHandle[] {
  return Array.from(open)
    .filter(([what]) => !what.ended)
    .map(([, { handle }]) => handle);
}

/**
 * Requires that this thread has nothing open, and has dropped nothing without close since the last look: for the end of a test suite, or of a test. What it names
 * it names once, so that one test fails for it. Test files that run in one process have one list.
 *
 * @param except - what may be open: `openHandles()` of before. Default: nothing.
 *
 * @throws Error: something is open, or was dropped, with the places that made it; or handles are not tracked
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
  if (!tracking) throw new Error("handles are not tracked: set BUN_URING_TRACK_HANDLES=1, or call trackHandles(true) before they are made");
  const found = [
    ...dropped.splice(0).map((handle) => ({ handle, fate: "dropped without close" })),
    ...openHandles().map((handle) => ({ handle, fate: "open" })),
  ].filter(({ handle }) => !except.includes(handle) && !named.has(handle));
  if (found.length === 0) return;
  for (const { handle } of found) named.add(handle);
  throw new Error(
    `${found.length} not closed: ${found.map(({ handle: { kind, label, madeAt }, fate }) => `${kind} ${label} (${fate}), made\n${madeAt}`).join("\n")}`,
  );
}
