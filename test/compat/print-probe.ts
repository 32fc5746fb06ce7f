/** Prints the probe, the version of Bun and the processor of this environment. */
import { probe } from "bun-uring";

console.log(JSON.stringify({ probe: probe(), bun: Bun.version, processor: process.arch }));
