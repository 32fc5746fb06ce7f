/** What bun:ffi's compiler takes in any case. */
import { cc } from "bun:ffi";

cc({ source: `${import.meta.dir}/empty-shim.c`, flags: ["-nostdlib"], symbols: { answer: { args: [], returns: "i32" } } });
