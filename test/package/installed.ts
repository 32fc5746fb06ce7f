/** Packs the package, and installs it in a folder of its own as a user would. */
import { cpSync, mkdirSync, readdirSync, statSync, symlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Folder } from "../support/files.ts";
import { execute, type Outcome } from "../support/programs.ts";

export const repository = fileURLToPath(new URL("../../", import.meta.url));

/** Runs a command, and throws if it fails. Returns its standard output. */
export async function succeed(
  command: readonly string[],
  options: Parameters<typeof execute>[1] = {},
): Promise<string> {
  const { exitCode, signal, stdout, stderr } = await execute(command, options);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: exit status ${exitCode ?? signal}\n${stdout}${stderr}`);
  return stdout;
}

/** Prints what a check showed. */
export function show(what: string): void {
  console.log(`  ${what}`);
}

/**
 * Packs a copy of the repository, because scripts/pack.sh replaces package.json while npm packs. Returns the tarball.
 */
async function pack(folder: string): Promise<string> {
  const copy = `${folder}/repository`;
  mkdirSync(copy);
  for (const name of [
    "bin",
    "c",
    "lib",
    "scripts",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
  ])
    cpSync(`${repository}${name}`, `${copy}/${name}`, { recursive: true });
  symlinkSync(`${repository}node_modules`, `${copy}/node_modules`);
  const before = await Bun.file(`${copy}/package.json`).text();
  await succeed(["npm", "pack", "--pack-destination", folder], { cwd: copy });
  if ((await Bun.file(`${copy}/package.json`).text()) !== before)
    throw new Error("npm pack has left another package.json behind");
  const [tarball, ...others] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  if (tarball === undefined || others.length > 0) throw new Error(`npm pack made ${others.length + 1} tarballs`);
  return `${folder}/${tarball}`;
}

export interface Installed extends Disposable {
  readonly tarball: string;
  /** The user's folder: empty but for bun-uring in node_modules. */
  readonly app: string;
  /** The folder of the installed package in it. */
  readonly path: string;
  /** Runs Bun in the user's folder. */
  bun(...args: readonly string[]): Promise<Outcome>;
}

/** Makes a folder like a new user's, and runs `bun add` of the package in it. */
export async function install(): Promise<Installed> {
  const folder = new Folder();
  try {
    const tarball = await pack(folder.path);
    const app = `${folder.path}/app`;
    mkdirSync(app);
    folder.write("app/package.json", '{ "private": true, "type": "module" }');
    folder.write("app/tsconfig.json", "{}"); // otherwise one in a folder above would apply
    await succeed([process.execPath, "add", tarball], { cwd: app });
    return {
      tarball,
      app,
      path: `${app}/node_modules/bun-uring`,
      bun: (...args) => execute([process.execPath, ...args], { cwd: app }),
      [Symbol.dispose]: () => folder[Symbol.dispose](),
    };
  } catch (error) {
    folder[Symbol.dispose]();
    throw error;
  }
}

/** The files below a folder, with their sizes. */
export function filesOf(folder: string): Map<string, number> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(`${folder}/${name}`).isFile(),
  );
  return new Map(names.sort().map((name) => [name, statSync(`${folder}/${name}`).size]));
}
