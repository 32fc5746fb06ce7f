/** Prints what this environment has. */
import { probe } from "bun-uring";

console.log(JSON.stringify({ probe: probe(), bun: Bun.version, processor: process.arch }));
