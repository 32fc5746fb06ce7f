/** The files that a contender works on, and rounds in which it does so. An operation is one file. */
import { readFileSync } from "node:fs";
import { serveRounds } from "./rounds.ts";

/** Arguments: a list of files, which part of the list, of how many parts, and how many files at once. */
const [list = "", part, parts, atOnce] = process.argv.slice(2);

/** A file of a list that bench/tree.ts has written. */
export interface Listed {
  readonly path: string;
  readonly sizeBytes: number;
}

function listed(line: string): Listed {
  const space = line.indexOf(" ");
  return { path: line.slice(space + 1), sizeBytes: Number(line.slice(0, space)) };
}

function filesOf(path: string): Listed[] {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  const bound = (index: number) => Math.floor((lines.length * index) / Number(parts));
  return lines.slice(bound(Number(part)), bound(Number(part) + 1)).map(listed);
}

const files = filesOf(list);
const lanes = Number(atOnce);

/**
 * Serves rounds of `run`, which gets the first `operations` files of the list, from the beginning again after its end.
 * It returns the sum of what it found in each file, which is checked in every round. Default: the file's size.
 */
export async function serveFiles(
  run: (paths: readonly string[]) => number | Promise<number>,
  inFile: (file: Listed) => number = ({ sizeBytes }) => sizeBytes,
): Promise<void> {
  const found = files.map(inFile);
  let paths: readonly string[] = [];
  let wanted = 0;
  await serveRounds(async (operations) => {
    if (paths.length !== operations) {
      const indexes = Array.from({ length: operations }, (_, index) => index % files.length);
      paths = indexes.map((index) => files[index]?.path ?? "");
      wanted = indexes.reduce((sum, index) => sum + (found[index] ?? 0), 0);
    }
    const sum = await run(paths);
    if (sum !== wanted) throw new Error(`found ${sum} in ${operations} files, not ${wanted}`);
  });
}

/** Calls `work` for each path, as many at once as the arguments say. Returns the sum of the results. */
export async function inLanes(
  paths: readonly string[],
  work: (path: string, index: number) => Promise<number>,
): Promise<number> {
  let sum = 0;
  const next = paths.entries();
  const lane = async () => {
    for (const [index, path] of next) {
      const result = await work(path, index);
      sum += result;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return sum;
}
