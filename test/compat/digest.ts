/** A file's digest as the example defines it, by node:crypto. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const chunkBytes = 2 ** 20;
const root = new URL("../../", import.meta.url).pathname;
const known = new Map<string, string>();

/** The SHA-256 over the SHA-256s of the file's chunks. A relative path is the repository's. */
export function digestOf(path: string): string {
  const file = resolve(root, path);
  let digest = known.get(file);
  if (digest === undefined) {
    const content = readFileSync(file);
    const whole = createHash("sha256");
    for (let start = 0; start < content.length; start += chunkBytes)
      whole.update(
        createHash("sha256")
          .update(content.subarray(start, start + chunkBytes))
          .digest(),
      );
    digest = whole.digest("hex");
    known.set(file, digest);
  }
  return digest;
}
