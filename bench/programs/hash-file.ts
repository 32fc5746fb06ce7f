/** Hashes one small file again and again, in one of several ways. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { BufferPool, hashFile, Ring } from "bun-uring";
import { serveRounds } from "./rounds.ts";

const [way = "", path = ""] = process.argv.slice(2);

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

function hashOf(): () => Promise<string> {
  if (way === "node:fs/promises") return async () => sha256(await readFile(path));
  if (way === "hashFile") return () => hashFile(path);
  if (way !== "hashFile, ring") throw new Error(`no way ${way}`);
  const pool = new BufferPool({ count: 8, size: 2 ** 16 });
  const ring = new Ring({ pool });
  return () => hashFile(path, { ring, pool });
}

const hash = hashOf();
const wanted = sha256(readFileSync(path));

await serveRounds(async (operations) => {
  for (let operation = 0; operation < operations; operation++)
    if ((await hash()) !== wanted) throw new Error(`${way}: a wrong digest`);
});
