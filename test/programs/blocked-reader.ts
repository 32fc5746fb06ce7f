/**
 * Reads its standard input to the end through a RawRing, and waits in the kernel for each part: blocked-reader.ts KIND.
 * Prints "waiting" at the start, "interrupted" the first time that a wait ends before anything has completed, and
 * finally the digest of everything that it read.
 */
import { RawRing } from "bun-uring";
import { completions, kinds, shared } from "../support/rings.ts";

const [kind = ""] = process.argv.slice(2);
process.on("SIGUSR1", () => undefined);
const ring = new RawRing({ entries: 4, flags: kinds[kind] ?? Number.NaN });
const memory = shared(1000);
ring.registerBuffers([memory]);
const hash = new Bun.CryptoHasher("sha256");
let early = 0;
console.log("waiting");
for (let bytesRead = 1; bytesRead > 0; ) {
  ring.prepReadFixed(0, memory, -1, 0, 1);
  let found = completions(ring);
  while (found.length === 0) {
    ring.submitAndWait(1);
    found = completions(ring);
    if (found.length === 0 && ++early === 1) console.log("interrupted");
  }
  if (found.length !== 1) throw new Error(`${found.length} completions of one request`);
  bytesRead = found[0]?.[1] ?? -1;
  if (bytesRead < 0) throw new Error(`the read failed with ${bytesRead}`);
  hash.update(memory.subarray(0, bytesRead));
}
ring.close();
console.log(hash.digest("hex"));
process.exit();
