/** Mounts faulty files, and reads one by a ring until it hears of the error. */
import { Ring } from "bun-uring";
import { FaultyFiles } from "../support/faulty-files.ts";

await using files = await FaultyFiles.mount();
await using ring = new Ring();
await using file = await ring.open(files.of("read-EIO"));
try {
  for await (const _ of file.readable());
} catch {
  console.log("heard");
}
