/** Registers as many bytes as the argument says, and keeps them registered until its standard input ends. */
import { RawRing } from "bun-uring";

using ring = new RawRing({ entries: 1 });
ring.registerBuffers([new SharedArrayBuffer(Number(process.argv[2]))]);
console.log("registered");
for await (const _line of console);
