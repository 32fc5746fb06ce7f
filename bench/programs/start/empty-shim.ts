/** Measures the minimum cost of bun:ffi's cc(). */
import { cc } from "bun:ffi";

cc({
  source: `${import.meta.dir}/empty-shim.c`,
  flags: ["-nostdlib"],
  symbols: { answer: { args: [], returns: "i32" } },
});
