/**
 * Runs a command with fewer rights: under.ts [--memlock-bytes N] [--user ID] [--refuse EPERM|ENOSYS] -- COMMAND...
 * It exits with the command's exit code.
 */
import { parseArgs } from "node:util";
import { becomeUser, limitMemlock, refuseIoUring } from "../support/restrictions.ts";

const { values, positionals } = parseArgs({
  options: { "memlock-bytes": { type: "string" }, user: { type: "string" }, refuse: { type: "string" } },
  allowPositionals: true,
});
if (values["memlock-bytes"] !== undefined) limitMemlock(Number(values["memlock-bytes"]));
if (values.user !== undefined) becomeUser(Number(values.user));
if (values.refuse === "EPERM" || values.refuse === "ENOSYS") refuseIoUring(values.refuse);
const child = Bun.spawn(positionals, { stdio: ["inherit", "inherit", "inherit"] });
process.exit(await child.exited);
