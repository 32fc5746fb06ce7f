/** Reads and writes files by their paths, and answers a line of standard input meanwhile: read-path.ts READ WRITTEN. */
import { Ring } from "bun-uring";

const [read = "", written = ""] = process.argv.slice(2);
const ring = new Ring();
const done = Promise.all([ring.readFile(read), ring.writeFile(written, "new"), ring.open(read)]);
for await (const _ of console) break;
console.log("here");
const [content] = await done;
console.log(`${content.length} bytes`);
await ring.close();
