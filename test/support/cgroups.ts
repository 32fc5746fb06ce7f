/** Control groups with a memory limit, of version 1 or 2, whichever the machine has. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { execute, type Outcome } from "./programs.ts";

/** The mount point of the control groups that count memory, and the name of the limit's file in that version. */
function hierarchy(): { point: string; limitFile: string } | undefined {
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [, , , root = "", point = ""] = line.split(" ");
    const [kind, , options = ""] = (line.split(" - ")[1] ?? "").split(" ");
    if (root !== "/") continue;
    if (kind === "cgroup" && options.split(",").includes("memory"))
      return { point, limitFile: "memory.limit_in_bytes" };
    if (kind === "cgroup2" && readFileSync(`${point}/cgroup.controllers`, "utf8").includes("memory"))
      return { point, limitFile: "memory.max" };
  }
  return undefined;
}

/** A group with a memory limit, and a group inside it without a limit of its own. */
export class MemoryCgroup implements Disposable {
  readonly path: string;
  readonly inner: string;

  constructor(limitBytes: number) {
    const found = hierarchy();
    if (found === undefined) throw new Error("no control groups that count memory are mounted");
    this.path = `${found.point}/bun-uring-${process.pid}-${crypto.randomUUID()}`;
    this.inner = `${this.path}/inner`;
    if (found.limitFile === "memory.max") writeFileSync(`${found.point}/cgroup.subtree_control`, "+memory");
    mkdirSync(this.path);
    try {
      writeFileSync(`${this.path}/${found.limitFile}`, String(limitBytes));
      mkdirSync(this.inner);
    } catch (error) {
      rmdirSync(this.path);
      throw error;
    }
  }

  /** Runs a program of test/programs/ in the inner group. */
  run(name: string, args: readonly string[]): Promise<Outcome> {
    const program = new URL(`../programs/${name}.ts`, import.meta.url).pathname;
    return execute([
      "sh",
      "-ec",
      `echo $$ > '${this.inner}/cgroup.procs'; exec "$@"`,
      "sh",
      process.execPath,
      program,
      ...args,
    ]);
  }

  [Symbol.dispose](): void {
    rmdirSync(this.inner);
    rmdirSync(this.path);
  }
}

/** Whether this process can make groups with a memory limit. */
export function makesMemoryCgroups(): boolean {
  if (process.getuid?.() !== 0 || !existsSync("/proc/self/cgroup")) return false;
  try {
    using _group = new MemoryCgroup(2 ** 28);
    return true;
  } catch {
    return false;
  }
}
