/** The files that workloads read and write, and the programs compiled for them. */
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Installed, install } from "../test/package/installed.ts";
import { bun } from "./machine.ts";
import { listFiles, makeFiles, makeTree } from "./tree.ts";

export const fileBytes = 2 ** 30;

/** The project's own dependencies, as an example of a tree of files. */
const modules = new URL("../node_modules", import.meta.url).pathname;

/** Fills a file with random data, which no file system can compress or store sparsely, and syncs it. */
async function fill(path: string, sizeBytes: number): Promise<void> {
  const sink = Bun.file(path).writer({ highWaterMark: 2 ** 22 });
  const piece = new Uint8Array(2 ** 22);
  for (let filled = 0; filled < piece.length; filled += 2 ** 16)
    crypto.getRandomValues(piece.subarray(filled, filled + 2 ** 16));
  for (let written = 0; written < sizeBytes; written += piece.length) {
    sink.write(piece);
    await sink.flush();
  }
  await sink.end();
  Bun.spawnSync(["sync", path]);
}

export class Workplace implements Disposable {
  readonly folder: string;
  /** Input file of all contenders, in the page cache. */
  readonly source: string;
  /** Output file. */
  readonly scratch: string;
  /** Lists of small files: see tree.ts. */
  readonly lists: {
    /** 20 000 files of up to 64 KiB. */
    readonly tree: string;
    /** 2000 such files, to be copied. */
    readonly sources: string;
    /** 5000 files of 4 KiB, to be written. */
    readonly written: string;
    /** The files of node_modules. */
    readonly modules: string;
  };
  readonly #filled = new Map<string, Promise<void>>();
  readonly #planted = new Set<string>();
  #installed: Installed | undefined;

  constructor(parent: string) {
    this.folder = join(parent, `bun-uring-bench-${process.pid}`);
    mkdirSync(this.folder, { recursive: true });
    this.source = join(this.folder, "source");
    this.scratch = join(this.folder, "scratch");
    const list = (name: string) => join(this.folder, `${name}.list`);
    this.lists = { tree: list("tree"), sources: list("sources"), written: list("written"), modules: list("modules") };
  }

  /** Fills a file, unless it is filled already. Default: the input file. */
  fill(path = this.source, sizeBytes = fileBytes): Promise<void> {
    const filled = this.#filled.get(path) ?? fill(path, sizeBytes);
    this.#filled.set(path, filled);
    return filled;
  }

  /** Makes the files of a list, and the list, with all of the files in the page cache. Further calls do nothing. */
  plant(name: keyof Workplace["lists"]): void {
    if (this.#planted.has(name)) return;
    this.#planted.add(name);
    this.#spread();
    const folder = name === "modules" ? modules : this.folderOf(name);
    if (name === "tree") makeTree(folder, 20_000);
    if (name === "sources") makeTree(folder, 2000);
    if (name === "written") makeFiles(folder, 5000, 4096);
    listFiles(folder, this.lists[name]);
    this.settle();
  }

  /** Returns the path of a folder for many small files, whose name no earlier run has used. */
  folderOf(name: string): string {
    return join(this.folder, `${name}-${process.pid}`);
  }

  /**
   * Has ext4 put each folder of small files elsewhere, depending on its name. It would put them where the last run's
   * were, and for minutes after those were deleted, each new file there takes a millisecond. Other file systems refuse
   * this.
   */
  #spread(): void {
    if (Bun.which("chattr") !== null) Bun.spawnSync(["chattr", "+T", this.folder], { stderr: "ignore" });
  }

  /** Waits until nothing is left to be written back, which would slow down what is measured next. */
  settle(): void {
    Bun.spawnSync(["sync"]);
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
