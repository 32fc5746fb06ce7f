/** Property tests. A failure prints its seed, which BUN_URING_SEED repeats. */
import * as fc from "fast-check";
import { times } from "./effort.ts";

const seed = process.env["BUN_URING_SEED"];
fc.configureGlobal({ numRuns: times(200), ...(seed === undefined ? {} : { seed: Number(seed) }) });

export { fc };
