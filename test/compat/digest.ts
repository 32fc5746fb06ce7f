/** A file's digest as examples/checksum.ts defines it, computed with node:crypto. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const chunkBytes = 2 ** 20;
const root = new URL("../../", import.meta.url).pathname;
const known = new Map<string, string>();

/** The SHA-256 of the SHA-256s of the file's chunks. A relative path is relative to the repository. */
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
