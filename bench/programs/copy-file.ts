/** Copies one small file again and again, in one of several ways. */
import { readFileSync } from "node:fs";
import { copyFile as copyFileOfNode } from "node:fs/promises";
import { BufferPool, copyFile, Ring } from "bun-uring";
import { serveRounds } from "./rounds.ts";

const [way = "", source = "", folder = ""] = process.argv.slice(2);

const destination = `${folder}/copy-${process.pid}`;

function copyOf(): () => Promise<unknown> {
  if (way === "node:fs/promises") return () => copyFileOfNode(source, destination);
  if (way === "copyFile") return () => copyFile(source, destination);
  if (way !== "copyFile, ring") throw new Error(`no way ${way}`);
  const pool = new BufferPool({ count: 8, size: 2 ** 16 });
  const ring = new Ring({ pool });
  return () => copyFile(source, destination, { ring, pool });
}

const copy = copyOf();
await copy();
if (!readFileSync(destination).equals(readFileSync(source))) throw new Error(`${way}: a wrong copy`);

await serveRounds(async (operations) => {
  for (let operation = 0; operation < operations; operation++) await copy();
});
