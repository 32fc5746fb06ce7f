/** Trees of small files, and lists of the files in a tree. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The word that the contenders of a search look for. The texts of a tree contain it every few files. */
export const needle = "haystack";
/** Larger files are not listed: how fast a large file is read is another question. */
const largestListedBytes = 2 ** 20;
const filesAFolder = 200;
const smallestBytes = 64;
const largestBytes = 2 ** 16;
const medianBytes = 2500;
/** Standard deviation of the sizes' logarithms. */
const spread = 1.1;
const words =
  "the quick brown fox jumps over a lazy dog while nobody reads what is written in files such as this".split(" ");

/** Generates the same numbers in each run, from 0 to 1: xorshift32. */
function* randomNumbers(): Generator<number, never> {
  for (let x = 2463534242; ; ) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    yield (x >>> 0) / 2 ** 32;
  }
}

/** Returns lines of words, of which one in some thousand is the needle. */
function textOf(sizeBytes: number, random: () => number): Buffer {
  const text = Buffer.alloc(sizeBytes);
  for (let end = 0, column = 0; end < sizeBytes; column++) {
    const word = random() < 1 / 4000 ? needle : words[Math.floor(random() * words.length)];
    end += text.write(`${word}${column % 12 === 11 ? "\n" : " "}`, end);
  }
  return text;
}

/** Makes a file, and its folder if that is missing. */
function write(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
}

const pathIn = (folder: string, index: number) =>
  join(folder, String(Math.floor(index / filesAFolder)), `file-${index % filesAFolder}.txt`);

/**
 * Makes text files of up to 64 KiB. Their sizes are distributed like those of a source tree or /usr/share: most have
 * one or two pages, and few have most of the bytes.
 */
export function makeTree(folder: string, count: number): void {
  const numbers = randomNumbers();
  const random = () => numbers.next().value;
  const text = textOf(2 ** 21, random);
  for (let index = 0; index < count; index++) {
    // Box and Muller: a normally distributed number of two evenly distributed ones.
    const deviation = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const wanted = Math.round(medianBytes * Math.exp(spread * deviation));
    const sizeBytes = Math.min(Math.max(wanted, smallestBytes), largestBytes);
    const start = Math.floor(random() * (text.length - sizeBytes));
    write(pathIn(folder, index), text.subarray(start, start + sizeBytes));
  }
}

/** Makes files of one size. */
export function makeFiles(folder: string, count: number, sizeBytes: number): void {
  const bytes = new Uint8Array(sizeBytes).fill(0x5a);
  for (let index = 0; index < count; index++) write(pathIn(folder, index), bytes);
}

/**
 * Reads each regular file of a folder once, so that all of them are in the page cache, and writes a list of them: a
 * line each, of size and path. Leaves out files of more than 1 MiB.
 */
export function listFiles(folder: string, list: string): void {
  const lines = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((path) => statSync(path).size <= largestListedBytes)
    .toSorted()
    .map((path) => `${readFileSync(path).length} ${path}\n`);
  writeFileSync(list, lines.join(""));
}
