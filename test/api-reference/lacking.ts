/** Checks that the documentation of each public symbol has all required parts. */
import { since } from "../../lib/errors/requirements.ts";
import type { PublicSymbol } from "./symbols.ts";

/** Functions and methods that never throw, and so need no @throws. */
const neverThrow: ReadonlySet<string> = new Set([
  "Appender.close",
  "BufferPool.close",
  "BufferPool.stats",
  "Ring.ref",
  "Ring.stats",
  "Ring.unref",
  "openHandles",
  "probe",
]);

/** Methods that make no system call, and so need no manual page. */
const withoutManual: ReadonlySet<string> = new Set(["Ring.ref", "Ring.stats", "Ring.unref"]);

/** Classes whose methods correspond to system calls. */
const ofSystemCalls = /^(?:RawRing|Ring|RingFile)\./;

/**
 * The highest value of each family of constants in Linux 6.1, the oldest supported version. Newer constants are higher.
 * A name belongs to the first family whose prefix it has: the more specific prefix comes first.
 */
const highestOfOldest: Readonly<Record<string, number>> = {
  FALLOC_FL_: 0x40,
  IORING_CQE_F_: 8,
  IORING_FEAT_: 4096,
  IORING_SETUP_: 8192,
  STATX_ATTR_: 0x200000,
  STATX_: 0x2000,
};

/** The Linux version that introduced each request, by name in upper case. WRITEV_FIXED came with READV_FIXED. */
const requests = new Map<string, string>(Object.entries({ ...since, WRITEV_FIXED: since.READV_FIXED }));

const sinceLinux = /(?:Since|[Bb]efore) Linux (\d+\.\d+)/;

/** The Linux version that introduced a symbol, or undefined if the oldest supported Linux has it. */
export function sinceOf({ summary, throws }: PublicSymbol): string | undefined {
  return /Since Linux (\d+\.\d+)/.exec([summary, ...throws].join("\n"))?.[1];
}

/**
 * The Linux version that introduced a request, "FTRUNCATE" or "ftruncate", or undefined if the oldest supported Linux
 * has it.
 */
export function sinceOfRequest(name: string): string | undefined {
  return requests.get(name.toUpperCase());
}

/** Whether a member of `constants` is newer than the oldest supported Linux. */
function isNewer({ kind, name, value }: PublicSymbol): boolean {
  if (kind !== "constant" || value === undefined) return false;
  const ownName = name.slice(name.indexOf(".") + 1);
  const family = Object.entries(highestOfOldest).find(([prefix]) => ownName.startsWith(prefix));
  return family !== undefined && value > family[1];
}

/**
 * Whether a symbol is a function or method that needs an example, however simple it is.
 * Dispose methods need none: they do what close or release does.
 */
function isCall({ name, kind }: PublicSymbol): boolean {
  return (kind === "method" || kind === "function") && !/\.\[(?:asyncD|d)ispose\]$/.test(name);
}

/** The parts that a symbol's documentation lacks. */
function lackingOf(symbol: PublicSymbol): string[] {
  const { name, kind, summary, throws, examples, see, undocumented } = symbol;
  const lacking: string[] = [];
  if (summary.trim() === "") lacking.push("a summary");
  if (isNewer(symbol) && sinceOf(symbol) === undefined) lacking.push('"Since Linux"');
  if (kind === "class" && examples.length === 0) lacking.push("an @example");
  if (kind === "constructor" && throws.length === 0) lacking.push("@throws");
  if (!isCall(symbol)) return lacking;

  if (examples.length === 0) lacking.push("an @example");
  if (throws.length === 0 && !neverThrow.has(name)) lacking.push("@throws");
  const needsManual = ofSystemCalls.test(name) && !withoutManual.has(name);
  if (see.length === 0 && needsManual) lacking.push("@see with the manual's page");
  const refersElsewhere = /Arguments\s+(?:and\s+errors\s+)?are\s+those\s+of/.test(summary);
  const missing = undocumented.filter((parameter) => parameter !== "options");
  if (missing.length > 0 && !refersElsewhere) lacking.push(`@param ${missing.join(", ")}`);
  for (const [, request = ""] of see.join().matchAll(/io_uring_prep_(\w+)\(3\)/g)) {
    const version = sinceOfRequest(request);
    const isStated = version === undefined || sinceLinux.exec(summary)?.[1] === version;
    if (!isStated) lacking.push(`"Since Linux ${version}"`);
  }
  return lacking;
}

/** One line for each symbol whose documentation lacks something. */
export function lackingIn(symbols: readonly PublicSymbol[]): string[] {
  return symbols.flatMap((symbol) => {
    const lacking = lackingOf(symbol);
    return lacking.length === 0 ? [] : [`${symbol.name} lacks ${lacking.join(", ")}`];
  });
}
