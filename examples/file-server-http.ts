/**
 * The parts of RFC 9110 that file-server.ts needs: validators, preconditions and byte ranges. All functions are pure,
 * except that some read the current time.
 */
import type { Statx } from "bun-uring";

/** The validators of a file's content, which a client may send back in conditional requests. */
export interface Validators {
  readonly etag: string;
  /** In whole seconds, as HTTP dates are. Undefined while the content could still change within the same second. */
  readonly lastModified: string | undefined;
}

/**
 * Changing the content changes the modification time, so the entity tag is strong, within the resolution of the file
 * system's clock, which is a few milliseconds on older kernels.
 *
 * Last-Modified is sent only when its second is over. From then on it identifies exactly one content, which makes it a
 * strong validator (RFC 9110 §8.8.2.2) that can be used with If-Range.
 */
export function validatorsOf({ ino, size, mtimeNs }: Statx): Validators {
  const second = mtimeNs / 1_000_000_000n;
  const isOver = second < BigInt(Math.floor(Date.now() / 1000));
  return {
    etag: `"${ino.toString(36)}-${size.toString(36)}-${mtimeNs.toString(36)}"`,
    lastModified: isOver ? new Date(Number(second) * 1000).toUTCString() : undefined,
  };
}

/** Whether a list of entity tags, or "*", matches the tag. A weak tag matches only if `weakWillDo`. */
function lists(list: string, etag: string, weakWillDo: boolean): boolean {
  if (list.trim() === "*") return true;
  const tags = list.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return tags.some((tag) => tag === etag || (weakWillDo && tag === `W/${etag}`));
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
const dateForms = [
  /^\w{3}, (?<day>\d\d) (?<month>[A-Z][a-z]{2}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) GMT$/, // the current format
  /^\w{6,9}, (?<day>\d\d)-(?<month>[A-Z][a-z]{2})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) GMT$/, // obsolete: RFC 850
  /^\w{3} (?<month>[A-Z][a-z]{2}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/, // obsolete: C's asctime()
];

/**
 * Parses an HTTP date in any of its three formats. Returns milliseconds since 1970, or undefined if it is not a date
 * and its header must be ignored.
 */
export function parseDate(text: string | null): number | undefined {
  for (const form of dateForms) {
    const { day, month = "", year, time } = form.exec(text ?? "")?.groups ?? {};
    const monthIndex = months.indexOf(month) / 3;
    if (!Number.isInteger(monthIndex) || year === undefined) continue;
    const [hour, minute, second] = (time ?? "").split(":").map(Number);
    const inYear = (fullYear: number) => Date.UTC(fullYear, monthIndex, Number(day), hour, minute, second);
    if (year.length === 4) return inYear(Number(year));
    // A year of two digits means the latest matching year that is no more than 50 years in the future.
    const latest = new Date().getUTCFullYear() + 50;
    return inYear(latest - ((((latest - Number(year)) % 100) + 100) % 100));
  }
  return undefined;
}

/**
 * Evaluates the preconditions of a request in the order of RFC 9110 §13.2.2. Returns 412 or 304, or undefined if the
 * request must be served.
 * @param current - the file's validators; undefined if the file does not exist
 */
export function failedPrecondition(
  method: string,
  headers: Headers,
  current: Validators | undefined,
): 304 | 412 | undefined {
  const reads = method === "GET" || method === "HEAD";
  const modifiedMs = parseDate(current?.lastModified ?? null);

  const match = headers.get("if-match");
  const unmodifiedSince = parseDate(headers.get("if-unmodified-since"));
  if (match !== null) {
    if (current === undefined || !lists(match, current.etag, false)) return 412;
  } else if (unmodifiedSince !== undefined && current !== undefined) {
    // A file that changed within the current second has no Last-Modified yet, and counts as newer than any date.
    if (modifiedMs === undefined || modifiedMs > unmodifiedSince) return 412;
  }

  const noneMatch = headers.get("if-none-match");
  const modifiedSince = parseDate(headers.get("if-modified-since"));
  if (noneMatch !== null) {
    if (current !== undefined && lists(noneMatch, current.etag, true)) return reads ? 304 : 412;
  } else if (reads && modifiedSince !== undefined && modifiedMs !== undefined && modifiedMs <= modifiedSince) {
    return 304;
  }
  return undefined;
}

/** The bytes from `first` up to, but not including, `end`. */
export interface ByteRange {
  readonly first: number;
  readonly end: number;
}

/**
 * Returns the range that a request asks for, or undefined for the whole file. It also returns undefined for what a
 * server may ignore (§14.2): unknown units, malformed headers, and several ranges at once, which file clients hardly
 * ever use but attackers like.
 */
export function requestedRange(
  headers: Headers,
  sizeBytes: number,
  current: Validators,
): ByteRange | "unsatisfiable" | undefined {
  const [, first, last] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(headers.get("range") ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;

  // If-Range: send the range only if the client already has part of exactly this content. Weak tags, and dates other
  // than the exact one, do not prove that.
  const ifRange = headers.get("if-range");
  if (ifRange !== null && ifRange !== current.etag && ifRange !== current.lastModified) return undefined;

  if (first === "") {
    if (Number(last) === 0) return "unsatisfiable";
    // The last bytes of an empty file are the whole file, and Content-Range cannot express an empty range.
    return sizeBytes === 0 ? undefined : { first: Math.max(0, sizeBytes - Number(last)), end: sizeBytes };
  }
  if (last !== "" && Number(last) < Number(first)) return undefined; // not a range
  if (Number(first) >= sizeBytes) return "unsatisfiable";
  return { first: Number(first), end: last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) };
}
