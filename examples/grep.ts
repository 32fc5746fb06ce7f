/**
 * Prints the lines of a folder's files that contain a text, like `grep -rnIF TEXT FOLDER`.
 *
 * With --node it does the same by node:fs, to compare.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Ring } from "bun-uring";

const usage = "Usage: bun examples/grep.ts [--node] TEXT FOLDER";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { node: { type: "boolean" } } });
const [text, folder] = positionals;
if (!text || folder === undefined) {
  console.error(usage);
  process.exit(2);
}

interface FileRead {
  readonly path: string | URL;
  readonly bytes?: Buffer | undefined;
  readonly error?: unknown;
}

function* filesByNode(paths: Iterable<string>): Generator<FileRead> {
  for (const path of paths) {
    let read: FileRead;
    try {
      read = { path, bytes: readFileSync(path) };
    } catch (error) {
      read = { path, error };
    }
    yield read;
  }
}

const newline = 10;
const needle = Buffer.from(text);
let status = 1;

/** Prints the matching lines. A file with a zero byte is not text, and is skipped. */
function search(path: string, bytes: Buffer): void {
  let line = 1;
  let counted = 0;
  for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, counted)) {
    if (counted === 0 && bytes.includes(0)) return;
    for (let next = bytes.indexOf(newline, counted); next !== -1 && next < at; next = bytes.indexOf(newline, counted)) {
      line++;
      counted = next + 1;
    }
    const end = bytes.indexOf(newline, at);
    console.log(`${path}:${line}:${bytes.toString("utf8", counted, end === -1 ? bytes.length : end)}`);
    status = 0;
    if (end === -1) return;
    line++;
    counted = end + 1;
  }
}

await using ring = new Ring();
const paths = new Bun.Glob("**/*").scanSync({ cwd: folder, absolute: true, dot: true, followSymlinks: false });
for await (const { path, bytes, error } of values.node ? filesByNode(paths) : ring.readFiles(paths))
  if (bytes !== undefined) search(String(path), bytes);
  else console.error(`grep: ${path}: ${error instanceof Error ? error.message : error}`);
process.exitCode = status;
