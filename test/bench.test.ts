/** The benchmarks' own tests, where the benchmarks are: compatibility tests do not carry them. */
import { needs } from "./support/capabilities.ts";

const benchmarks = new URL("../bench/bench.test.ts", import.meta.url);

if (await Bun.file(benchmarks).exists()) await import(benchmarks.href);
else needs("the folder bench")("what the benchmarks conclude from figures is right", () => undefined);
