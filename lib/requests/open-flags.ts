/** open(2)'s flags. Their values are written out here because loading node:fs is slower than creating a ring. */

import { checkInteger, invalidType, invalidValue } from "../base/arguments.ts";
import { process } from "../base/globals.ts";

const isArm = process.arch === "arm64";

/** In place of a directory's descriptor: the current directory. */
export const AT_FDCWD = -100;

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_SYNC = 0o4010000;
export const O_DIRECT = isArm ? 0o200000 : 0o40000;
export const O_DIRECTORY = isArm ? 0o40000 : 0o200000;
export const O_NOFOLLOW = isArm ? 0o100000 : 0o400000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

/** Node's names for combinations of open(2)'s flags. */
const named: Readonly<Record<string, number>> = {
  r: O_RDONLY,
  rs: O_RDONLY | O_SYNC,
  "r+": O_RDWR,
  "rs+": O_RDWR | O_SYNC,
  w: O_TRUNC | O_CREAT | O_WRONLY,
  wx: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL,
  "w+": O_TRUNC | O_CREAT | O_RDWR,
  "wx+": O_TRUNC | O_CREAT | O_RDWR | O_EXCL,
  a: O_APPEND | O_CREAT | O_WRONLY,
  ax: O_APPEND | O_CREAT | O_WRONLY | O_EXCL,
  as: O_APPEND | O_CREAT | O_WRONLY | O_SYNC,
  "a+": O_APPEND | O_CREAT | O_RDWR,
  "ax+": O_APPEND | O_CREAT | O_RDWR | O_EXCL,
  "as+": O_APPEND | O_CREAT | O_RDWR | O_SYNC,
};

/** Node also accepts the letters in the other order. */
const synonyms: Readonly<Record<string, string>> = {
  sr: "rs",
  "sr+": "rs+",
  xw: "wx",
  "xw+": "wx+",
  xa: "ax",
  "xa+": "ax+",
  sa: "as",
  "sa+": "as+",
};

/** Converts Node's "r", "w+", …, or a number, to open(2)'s flags. Always adds O_CLOEXEC. */
export function openFlags(flags: unknown): number {
  if (typeof flags === "number") {
    checkInteger("flags", flags, 0, 2 ** 31 - 1);
    return flags | O_CLOEXEC;
  }
  if (typeof flags !== "string") throw invalidType("flags", "a string or a number", flags);
  const name = synonyms[flags] ?? flags;
  const found = Object.hasOwn(named, name) ? named[name] : undefined;
  if (found === undefined)
    throw invalidValue(
      `flags must be one of ${Object.keys(named).join(", ")}, or a number; not ${JSON.stringify(flags)}`,
    );
  return found | O_CLOEXEC;
}
