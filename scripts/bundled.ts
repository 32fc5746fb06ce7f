/** What the package's one module has: the public names, and behind them what the command line takes. */

export { diagnose, works } from "../lib/doctor.ts";
export * from "../lib/index.ts";
export { examine } from "../lib/surroundings.ts";
