/** Opens a ring's first file with as many descriptors free as the argument says, then another with more. Prints what both begin with. */
import { closeSync, openSync } from "node:fs";
import { Ring } from "bun-uring";

await using ring = new Ring();
await ring.nop(); // waiting takes one, too
const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch (error) {
  if (!(error instanceof Error && "code" in error && error.code === "EMFILE")) throw error;
}
const head = new Uint8Array(new SharedArrayBuffer(12));
const begin = async () => {
  const file = await ring.open(import.meta.path);
  await file.read(head, { position: 0 });
  return Buffer.from(head).toString();
};
for (const fd of taken.splice(0, Number(process.argv[2]))) closeSync(fd);
const first = await begin();
for (const fd of taken) closeSync(fd);
console.log(JSON.stringify([first, await begin()]));
