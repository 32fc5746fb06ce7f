/** Copies a file durably. */
import { copyFile } from "bun-uring";
import { serveRounds } from "./rounds.ts";

const [source = "", destination = ""] = process.argv.slice(2);

await serveRounds(async () => {
  const { method } = await copyFile(source, destination, { durable: true });
  return { byReadWrite: method === "read_write" ? 1 : 0 };
});
