/** File systems for tests, which are made, mounted, and removed at the end of the scope. They need root. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { Folder } from "./files.ts";

function run(...command: string[]): void {
  const { success, stderr } = Bun.spawnSync(command, { stdout: "ignore", stderr: "pipe" });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr}`);
}

export class Mount implements Disposable {
  readonly #folder = new Folder();
  readonly path = `${this.#folder.path}/mount`;

  /** A tmpfs of `sizeBytes`, or a btrfs or xfs in a sparse file of that size. */
  constructor(kind: "tmpfs" | "btrfs" | "xfs", sizeBytes: number) {
    try {
      mkdirSync(this.path);
      if (kind === "tmpfs") {
        run("mount", "-t", "tmpfs", "-o", `size=${sizeBytes}`, "tmpfs", this.path);
      } else {
        const image = `${this.#folder.path}/image`;
        writeFileSync(image, "");
        truncateSync(image, sizeBytes);
        run(`mkfs.${kind}`, "-q", image);
        run("mount", "-t", kind, "-o", "loop", image, this.path);
      }
    } catch (error) {
      this.#folder[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    run("umount", this.path);
    this.#folder[Symbol.dispose]();
  }
}

/** The smallest sizes, in bytes, that mkfs accepts. */
export const smallest = { tmpfs: 2 ** 20, btrfs: 128 * 2 ** 20, xfs: 320 * 2 ** 20 } as const;

/** Whether this process can make and mount such a file system. */
export function mounts(kind: keyof typeof smallest): boolean {
  try {
    using _mount = new Mount(kind, smallest[kind]);
    return true;
  } catch {
    return false;
  }
}
