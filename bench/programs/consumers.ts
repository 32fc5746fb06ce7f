/** What a contender does with the bytes of each file that it has read. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { needle } from "../tree.ts";
import type { Listed } from "./files.ts";

/** The fifth argument of the contenders that read files. */
const name = process.argv[6] ?? "count";

/** Counts the lines that contain the needle. */
function matchingLines(bytes: Uint8Array): number {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let lines = 0;
  for (let at = text.indexOf(needle); at !== -1; lines++) {
    const end = text.indexOf(10, at);
    at = end === -1 ? -1 : text.indexOf(needle, end);
  }
  return lines;
}

/** Returns the first bytes of the SHA-256 digest, as a number. */
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest().readUInt32LE();

const consumers: Readonly<Record<string, (bytes: Uint8Array) => number>> = {
  count: (bytes) => bytes.length,
  search: matchingLines,
  hash: digest,
};

function consumerOf(consumer: string): (bytes: Uint8Array) => number {
  const found = consumers[consumer];
  if (found === undefined) throw new Error(`no consumer ${consumer}`);
  return found;
}

/** Returns what is found in the bytes of a file. */
export const consume = consumerOf(name);

/** Returns what has to be found in a file. */
export const inFile =
  name === "count" ? ({ sizeBytes }: Listed) => sizeBytes : ({ path }: Listed) => consume(readFileSync(path));
