/** The files that workloads read and write, and the programs that are compiled for them. */
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Installed, install } from "../test/package/installed.ts";
import { bun } from "./machine.ts";

export const fileBytes = 2 ** 30;

export class Workplace implements Disposable {
  readonly folder: string;
  /** Read by all, in the page cache. */
  readonly source: string;
  /** Written. */
  readonly scratch: string;
  #installed: Installed | undefined;

  constructor(parent: string) {
    this.folder = join(parent, `bun-uring-bench-${process.pid}`);
    mkdirSync(this.folder, { recursive: true });
    this.source = join(this.folder, "source");
    this.scratch = join(this.folder, "scratch");
  }

  /** Fills both files with what no file system can leave out, and has it on the disk. */
  async fill(): Promise<void> {
    for (const path of [this.source, this.scratch]) {
      const sink = Bun.file(path).writer({ highWaterMark: 2 ** 22 });
      const piece = new Uint8Array(2 ** 16);
      for (let written = 0; written < fileBytes; written += piece.length) {
        crypto.getRandomValues(piece);
        sink.write(piece);
        if (written % 2 ** 24 === 0) await sink.flush();
      }
      await sink.end();
      Bun.spawnSync(["sync", path]);
    }
  }

  /** Compiles a program of bench/c, as anybody would; once. */
  compile(name: string): string {
    const program = join(this.folder, name);
    if (existsSync(program)) return program;
    const source = new URL(`./c/${name}.c`, import.meta.url).pathname;
    const { exitCode, stderr } = Bun.spawnSync(["gcc", "-O2", "-o", program, source, "-luring", "-lpthread"]);
    if (exitCode !== 0) throw new Error(`gcc: ${stderr}`);
    return program;
  }

  /** A program of programs/, where it has the package as npm packs it and Bun installs it. */
  async withPackage(name: string): Promise<string> {
    this.#installed ??= await install();
    const program = join(this.#installed.app, `${name}.ts`);
    mkdirSync(dirname(program), { recursive: true });
    copyFileSync(new URL(`./programs/${name}.ts`, import.meta.url), program);
    return program;
  }

  /** The same, as one executable with the engine's bytecode in it. */
  async compiledWithPackage(name: string): Promise<string> {
    const program = await this.withPackage(name);
    const executable = program.replace(/\.ts$/, "");
    const { exitCode, stderr } = Bun.spawnSync([bun, "build", "--compile", "--bytecode", `--outfile=${executable}`, program]);
    if (exitCode !== 0) throw new Error(`bun build: ${stderr}`);
    return executable;
  }

  [Symbol.dispose](): void {
    this.#installed?.[Symbol.dispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
