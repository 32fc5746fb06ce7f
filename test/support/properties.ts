/** Property tests, with a seed that is printed on failure and can be given again: BUN_URING_SEED. */
import * as fc from "fast-check";
import { times } from "./effort.ts";

const seed = process.env["BUN_URING_SEED"];
fc.configureGlobal({ numRuns: times(200), ...(seed === undefined ? {} : { seed: Number(seed) }) });

export { fc };
