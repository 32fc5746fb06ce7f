import { constants } from "node:fs";
import { checkInteger, invalidType, invalidValue } from "./arguments.ts";

const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY } = constants;
const O_CLOEXEC = 0o2000000;

/** Node's names of open(2)'s flags. */
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

/** Node also takes the letters in the other order. */
const synonyms: Readonly<Record<string, string>> = { sr: "rs", "sr+": "rs+", xw: "wx", "xw+": "wx+", xa: "ax", "xa+": "ax+", sa: "as", "sa+": "as+" };

/** open(2)'s flags, close-on-exec always, from Node's "r", "w+", … or a number. */
export function openFlags(flags: unknown): number {
  if (typeof flags === "number") {
    checkInteger("flags", flags, 0, 2 ** 31 - 1);
    return flags | O_CLOEXEC;
  }
  if (typeof flags !== "string") throw invalidType("flags", "a string or a number", flags);
  const name = synonyms[flags] ?? flags;
  const found = Object.hasOwn(named, name) ? named[name] : undefined;
  if (found === undefined) throw invalidValue(`flags must be one of ${Object.keys(named).join(", ")}, or a number; not ${JSON.stringify(flags)}`);
  return found | O_CLOEXEC;
}
