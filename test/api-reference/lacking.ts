/** What the documentation of a public symbol has to have. */
import type { PublicSymbol } from "./symbols.ts";

/** Never throw, and say so or need not. */
const neverThrow: ReadonlySet<string> = new Set(["BufferPool.close", "BufferPool.stats", "Ring.ref", "Ring.stats", "Ring.unref", "openHandles", "probe"]);

/** Ask nothing of the kernel. */
const withoutManual: ReadonlySet<string> = new Set(["Ring.ref", "Ring.stats", "Ring.unref"]);

/** Classes whose methods are about system calls. */
const ofSystemCalls = /^(?:RawRing|Ring|RingFile)\./;

/** The highest constants that Linux 6.1 has, the oldest Linux that is supported, in families of which each new one is higher. */
const highestOfOldest: Readonly<Record<string, number>> = {
  IORING_CQE_F_: 8,
  IORING_ENTER_: 16,
  IORING_FEAT_: 4096,
  IORING_OP_: 48,
  IORING_SETUP_: 8192,
};
const registerOpcode = /^IORING_(?:UN)?REGISTER_(?!.*(?:SKIP|SRC|DST|USE))/;
const highestRegisterOpcode = 25;

const sinceLinux = /(?:Since|[Bb]efore) Linux (\d+\.\d+)/;

/** Which Linux has brought a symbol, if the oldest supported has not. */
export function sinceOf({ summary, throws }: PublicSymbol): string | undefined {
  return /Since Linux (\d+\.\d+)/.exec([summary, ...throws].join("\n"))?.[1];
}

function isNewer(name: string, value: number): boolean {
  if (name.endsWith("_LAST")) return false;
  if (registerOpcode.test(name)) return value > highestRegisterOpcode;
  return Object.entries(highestOfOldest).some(([prefix, highest]) => name.startsWith(prefix) && value > highest);
}

/** Dispose methods do what close or release do. Whatever else has a method has an example, so that a trivial one is seen in its place. */
function isCall({ name, kind }: PublicSymbol): boolean {
  return (kind === "method" || kind === "function") && !/\.\[(?:asyncD|d)ispose\]$/.test(name);
}

/** What is wrong with a symbol's documentation. `constants`: since when, by name. */
function lackingOf(symbol: PublicSymbol, constants: ReadonlyMap<string, string | undefined>): string[] {
  const { name, kind, summary, throws, examples, see, untold, value } = symbol;
  const lacking: string[] = [];
  if (summary.trim() === "") lacking.push("a summary");
  if (kind === "constant" && value !== undefined && isNewer(name, value) && !sinceLinux.test(summary)) lacking.push("since which Linux it is");
  if (kind === "class" && examples.length === 0) lacking.push("an @example");
  if (kind === "constructor" && throws.length === 0) lacking.push("@throws");
  if (!isCall(symbol)) return lacking;

  if (examples.length === 0) lacking.push("an @example");
  if (throws.length === 0 && !neverThrow.has(name)) lacking.push("@throws");
  if (see.length === 0 && ofSystemCalls.test(name) && !withoutManual.has(name)) lacking.push("@see with the manual's page");
  const toldElsewhere = /Arguments\s+(?:and\s+errors\s+)?are\s+those\s+of/.test(summary);
  const unknown = untold.filter((parameter) => parameter !== "options");
  if (unknown.length > 0 && !toldElsewhere) lacking.push(`@param ${unknown.join(", ")}`);
  for (const [, request = ""] of see.join().matchAll(/io_uring_prep_(\w+)\(3\)/g)) {
    const since = constants.get(`IORING_OP_${request.toUpperCase()}`);
    if (since !== undefined && sinceLinux.exec(summary)?.[1] !== since) lacking.push(`since which Linux it is, ${since}`);
  }
  return lacking;
}

/** One line for each symbol whose documentation lacks something. */
export function lackingIn(symbols: readonly PublicSymbol[]): string[] {
  const constants = new Map(symbols.filter(({ kind }) => kind === "constant").map((symbol) => [symbol.name, sinceOf(symbol)]));
  return symbols.flatMap((symbol) => {
    const lacking = lackingOf(symbol, constants);
    return lacking.length === 0 ? [] : [`${symbol.name} lacks ${lacking.join(", ")}`];
  });
}
