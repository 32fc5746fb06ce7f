/**
 * Files that fail as their names say: a FUSE file system, served by a process of its own. See test/programs/fuse.ts. It
 * needs root.
 */
import { mkdirSync } from "node:fs";
import { Folder } from "./files.ts";
import { type Running, start } from "./programs.ts";

/** The size of each file at first. The content is numbered words. */
export const faultyFileBytes = 2 ** 18;

export class FaultyFiles implements AsyncDisposable {
  readonly #folder: Folder;
  readonly #server: Running;
  readonly path: string;

  private constructor(folder: Folder, path: string, server: Running) {
    this.#folder = folder;
    this.path = path;
    this.#server = server;
  }

  /** @param modes - "direct", "async", see test/programs/fuse.ts */
  static async mount(...modes: readonly string[]): Promise<FaultyFiles> {
    const folder = new Folder();
    const path = `${folder.path}/mount`;
    mkdirSync(path);
    const server = start("fuse", [path, ...modes]);
    await server.until("mounted\n");
    return new FaultyFiles(folder, path, server);
  }

  /** The path of a file: its name says how it fails. */
  of(name: string): string {
    return `${this.path}/${name}`;
  }

  /** Resolves when the file system holds a request for this file. */
  async held(name: string): Promise<void> {
    await this.#server.until(`held ${name}\n`);
  }

  /** Answers all held requests; from then on nothing is held. */
  release(): void {
    this.#server.tell("release\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.end();
    const { exitCode, stderr } = await this.#server.outcome();
    if (exitCode !== 0) throw new Error(`the file system ended with ${exitCode}: ${stderr}`);
    this.#folder[Symbol.dispose]();
  }
}

/** Whether this process can mount such a file system. */
export function mountsFaultyFiles(): boolean {
  using folder = new Folder();
  const program = new URL("../programs/fuse.ts", import.meta.url).pathname;
  return Bun.spawnSync([process.execPath, program, folder.path], { stdin: "ignore", stderr: "ignore" }).exitCode === 0;
}
