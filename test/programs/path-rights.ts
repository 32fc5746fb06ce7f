/**
 * path-rights.ts FOLDER: makes files with few permissions, becomes an ordinary user if it is root, and reads and writes
 * them. Prints the outcomes as JSON.
 */
import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { Ring, UringError } from "bun-uring";
import { becomeUser } from "../support/restrictions.ts";

const [folder = ""] = process.argv.slice(2);
const user = process.getuid?.() === 0 ? 65534 : (process.getuid?.() ?? 0);
const own = (path: string, mode: number) => {
  chownSync(path, user, -1);
  chmodSync(path, mode);
};
const at = (name: string) => `${folder}/${name}`;
for (const name of ["0200", "0400"]) {
  writeFileSync(at(name), "content");
  own(at(name), Number.parseInt(name, 8));
}
for (const name of ["0600", "0500"]) {
  mkdirSync(at(name));
  writeFileSync(`${at(name)}/old`, "content");
  own(`${at(name)}/old`, 0o600);
  own(at(name), Number.parseInt(name, 8));
}
becomeUser(user);

await using ring = new Ring();
const outcomes: Record<string, string> = {};
async function attempt(name: string, call: Promise<unknown>): Promise<void> {
  try {
    outcomes[name] = String((await call) ?? "done");
  } catch (error) {
    if (!(error instanceof UringError)) throw error;
    outcomes[name] = `${error.code} ${error.syscall}`;
  }
}
for (const name of ["0200", "0400"]) {
  await attempt(`read ${name}`, ring.readFile(at(name), "utf8"));
  await attempt(`write ${name}`, ring.writeFile(at(name), "content"));
  await attempt(`append ${name}`, ring.appendFile(at(name), "more"));
}
await attempt("read below 0600", ring.readFile(at("0600/old"), "utf8"));
await attempt("write below 0600", ring.writeFile(at("0600/old"), "x"));
await attempt("write new in 0500", ring.writeFile(at("0500/new"), "x"));
await attempt("write old in 0500", ring.writeFile(at("0500/old"), "x"));
console.log(JSON.stringify(outcomes));
