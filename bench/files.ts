/** The files that workloads read and write, and the programs compiled for them. */
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Installed, install } from "../test/package/installed.ts";
import { bun } from "./machine.ts";

export const fileBytes = 2 ** 30;

export class Workplace implements Disposable {
  readonly folder: string;
  /** Input file of all contenders, in the page cache. */
  readonly source: string;
  /** Output file. */
  readonly scratch: string;
  #installed: Installed | undefined;

  constructor(parent: string) {
    this.folder = join(parent, `bun-uring-bench-${process.pid}`);
    mkdirSync(this.folder, { recursive: true });
    this.source = join(this.folder, "source");
    this.scratch = join(this.folder, "scratch");
  }

  /** Fills both files with random data, which no file system can compress or store sparsely, and syncs them. */
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

  /** Compiles a program in bench/c with ordinary flags, unless it is compiled already. */
  compile(name: string): string {
    const program = join(this.folder, name);
    if (existsSync(program)) return program;
    const source = new URL(`./c/${name}.c`, import.meta.url).pathname;
    const { exitCode, stderr } = Bun.spawnSync(["gcc", "-O2", "-o", program, source, "-luring", "-lpthread"]);
    if (exitCode !== 0) throw new Error(`gcc: ${stderr}`);
    return program;
  }

  /** Copies a program in programs/ to a project that has the package installed as npm packs it. Returns its path. */
  async withPackage(name: string): Promise<string> {
    this.#installed ??= await install();
    const program = join(this.#installed.app, `${name}.ts`);
    mkdirSync(dirname(program), { recursive: true });
    copyFileSync(new URL(`./programs/${name}.ts`, import.meta.url), program);
    return program;
  }

  /** Like withPackage(), but compiles the program to a single executable with JavaScriptCore bytecode. */
  async compiledWithPackage(name: string): Promise<string> {
    const program = await this.withPackage(name);
    const executable = program.replace(/\.ts$/, "");
    const { exitCode, stderr } = Bun.spawnSync([
      bun,
      "build",
      "--compile",
      "--bytecode",
      `--outfile=${executable}`,
      program,
    ]);
    if (exitCode !== 0) throw new Error(`bun build: ${stderr}`);
    return executable;
  }

  [Symbol.dispose](): void {
    this.#installed?.[Symbol.dispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
