/** What the package's one module has: the public names, and behind them what the command line takes that cannot be there twice. */

export { assert } from "../lib/errors.ts";
export * from "../lib/index.ts";
