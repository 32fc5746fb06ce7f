/** The parts of RFC 9110 that file-server.ts needs: validators, preconditions, a byte range. Pure functions. */
import type { Statx } from "bun-uring";

/** What a client may ask about a file's content. */
export interface Validators {
  readonly etag: string;
  /** Whole seconds, as HTTP has them; undefined while the content could still change within its second. */
  readonly lastModified: string | undefined;
}

/**
 * A change of the content changes the time of change, so the entity tag is strong: as far as the file system's clock goes, which is a few milliseconds on older kernels.
 *
 * Last-Modified is told only once its second is over. Then it stands for one content only, which makes it a strong validator (RFC 9110 §8.8.2.2), fit for If-Range.
 */
export function validatorsOf({ ino, size, mtimeNs }: Statx): Validators {
  const second = mtimeNs / 1_000_000_000n;
  const isOver = second < BigInt(Math.floor(Date.now() / 1000));
  return {
    etag: `"${ino.toString(36)}-${size.toString(36)}-${mtimeNs.toString(36)}"`,
    lastModified: isOver ? new Date(Number(second) * 1000).toUTCString() : undefined,
  };
}

/** Whether a list of entity tags, or "*", has the tag. Weak ones are equal to strong ones only where that will do. */
function lists(list: string, etag: string, weakWillDo: boolean): boolean {
  if (list.trim() === "*") return true;
  const tags = list.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return tags.some((tag) => tag === etag || (weakWillDo && tag === `W/${etag}`));
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
const dateForms = [
  /^\w{3}, (?<day>\d\d) (?<month>[A-Z][a-z]{2}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) GMT$/, // the one that is sent
  /^\w{6,9}, (?<day>\d\d)-(?<month>[A-Z][a-z]{2})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) GMT$/, // obsolete: RFC 850
  /^\w{3} (?<month>[A-Z][a-z]{2}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/, // obsolete: C's asctime()
];

/** Milliseconds since 1970 of an HTTP date in any of its three forms; undefined: it is none, and its header is to be ignored. */
export function parseDate(text: string | null): number | undefined {
  for (const form of dateForms) {
    const { day, month = "", year, time } = form.exec(text ?? "")?.groups ?? {};
    const monthIndex = months.indexOf(month) / 3;
    if (!Number.isInteger(monthIndex) || year === undefined) continue;
    const [hour, minute, second] = (time ?? "").split(":").map(Number);
    const inYear = (fullYear: number) => Date.UTC(fullYear, monthIndex, Number(day), hour, minute, second);
    if (year.length === 4) return inYear(Number(year));
    // Of two digits: the last such year that is not more than 50 years ahead.
    const latest = new Date().getUTCFullYear() + 50;
    return inYear(latest - ((((latest - Number(year)) % 100) + 100) % 100));
  }
  return undefined;
}

/**
 * What the preconditions of a request make of it, in the order of RFC 9110 §13.2.2: 412, 304, or undefined where it is to be done.
 * @param current - of the file; undefined where there is none
 */
export function failedPrecondition(method: string, headers: Headers, current: Validators | undefined): 304 | 412 | undefined {
  const reads = method === "GET" || method === "HEAD";
  const modifiedMs = parseDate(current?.lastModified ?? null);

  const match = headers.get("if-match");
  const unmodifiedSince = parseDate(headers.get("if-unmodified-since"));
  if (match !== null) {
    if (current === undefined || !lists(match, current.etag, false)) return 412;
  } else if (unmodifiedSince !== undefined && current !== undefined) {
    // Changed within this second, the file has no date to tell, and is newer than any.
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

/** The bytes from `first` to before `end`. */
export interface ByteRange {
  readonly first: number;
  readonly end: number;
}

/**
 * The one range that a request asks for; undefined: the whole file. That is also the answer to what a server may ignore (§14.2): units it does not know, headers it can't
 * read, and several ranges at once, which clients of files hardly use and attackers like.
 */
export function requestedRange(headers: Headers, sizeBytes: number, current: Validators): ByteRange | "unsatisfiable" | undefined {
  const [, first, last] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(headers.get("range") ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;

  // If-Range: the client has a part of this very content. Weak tags and dates other than the exact one do not say so.
  const ifRange = headers.get("if-range");
  if (ifRange !== null && ifRange !== current.etag && ifRange !== current.lastModified) return undefined;

  if (first === "") {
    if (Number(last) === 0) return "unsatisfiable";
    // The last bytes of nothing are all of it, and no Content-Range could say which.
    return sizeBytes === 0 ? undefined : { first: Math.max(0, sizeBytes - Number(last)), end: sizeBytes };
  }
  if (last !== "" && Number(last) < Number(first)) return undefined; // not a range
  if (Number(first) >= sizeBytes) return "unsatisfiable";
  return { first: Number(first), end: last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) };
}
