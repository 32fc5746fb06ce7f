/**
 * Copies files of several permissions, with copyFile and with cp, to new and to existing destinations. Arguments: an
 * empty folder that anybody may write to, and optionally "user": as root it makes the files, and then becomes an
 * ordinary user. Prints one line a copy: the permissions of the source, of the existing destination and of both copies,
 * and how copyFile made its copy.
 */
import { chmodSync, chownSync, constants, readFileSync, statSync, writeFileSync } from "node:fs";
import { copyFile } from "bun-uring";
import { becomeUser } from "../support/restrictions.ts";

export interface CopiedModes {
  readonly from: number;
  /** Permissions of the existing destination; -1 if there was none. */
  readonly old: number;
  /** Whether the existing destination belongs to another user. */
  readonly isTheirs: boolean;
  /** Permissions of copyFile's copy, or its error. */
  readonly ours: number | string;
  /** Permissions of the copy of cp without options. */
  readonly cp: number;
  readonly method: string;
  readonly isSame: boolean;
}

const [folder = "", who] = process.argv.slice(2);
const user = 65534;
const other = 65533;
const uid = who === "user" ? user : (process.getuid?.() ?? 0);
const modeOf = (path: string) => statSync(path).mode & 0o7777;

function make(name: string, content: string, mode: number, owner: number): string {
  const path = `${folder}/${name}`;
  writeFileSync(path, content);
  if (process.getuid?.() === 0) chownSync(path, owner, owner);
  chmodSync(path, mode);
  return path;
}

const sources = [0o644, 0o600, 0o444, 0o4755, 0o2755, 0o6777];
const olds = [-1, 0o644, 0o600, 0o666, 0o4755];
const pairs = sources.flatMap((from) => [
  ...olds.map((old) => ({ from, old, isTheirs: false })),
  { from, old: 0o666, isTheirs: true },
  { from, old: 0o4777, isTheirs: true },
]);
const canMakeTheirs = process.getuid?.() === 0;

const jobs = pairs.flatMap(({ from, old, isTheirs }, index) => {
  if (isTheirs && !canMakeTheirs) return [];
  const source = make(`from-${index}`, "content", from, uid);
  const [ours, cp] = ["ours", "cp"].map((by) =>
    old === -1 ? `${folder}/${by}-${index}` : make(`${by}-${index}`, "longer old content", old, isTheirs ? other : uid),
  );
  return [{ from, old, isTheirs, source, ours: ours ?? "", cp: cp ?? "" }];
});
if (who === "user") becomeUser(user);

for (const { from, old, isTheirs, source, ours, cp } of jobs) {
  let method = "";
  let code = "";
  try {
    ({ method } = await copyFile(source, ours, { mode: constants.COPYFILE_FICLONE }));
  } catch (error) {
    code = String(error);
  }
  Bun.spawnSync(["cp", source, cp]);
  const found: CopiedModes = {
    from,
    old,
    isTheirs,
    ours: code === "" ? modeOf(ours) : code,
    cp: modeOf(cp),
    method,
    isSame: readFileSync(ours, "utf8") === "content",
  };
  console.log(JSON.stringify(found));
}
