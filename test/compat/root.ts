/**
 * A slim root folder: bun, its libraries, liburing.so.2, busybox and this package. No header, no compiler, no libc.so.
 */
import { chmodSync, cpSync, mkdirSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import type { Architecture, Debian } from "./packages.ts";

const repository = new URL("../../", import.meta.url).pathname;
/** The folder of the package in the root. */
export const packageFolder = "bun-uring";
const carried = ["bin", "lib", "c", "test", "examples", "package.json", "README.md", "bunfig.toml"];
/** Development tools that no test needs there. */
const left = new Set([
  "echarts",
  "simple-statistics",
  "tslib",
  "zrender",
  "@biomejs",
  "@oven",
  "@types",
  "@typescript",
  "bun",
  "bun-types",
  "mitata",
  "typescript",
  "undici-types",
  ".bin",
  ".installed-lock",
]);

const libraries: Readonly<Record<Architecture, readonly string[]>> = {
  amd64: [
    "usr/lib64/ld-linux-x86-64.so.2",
    ...["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"].map((name) => `usr/lib/x86_64-linux-gnu/${name}`),
  ],
  arm64: [
    "usr/lib/ld-linux-aarch64.so.1",
    ...["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"].map((name) => `usr/lib/aarch64-linux-gnu/${name}`),
  ],
};

/** Copies the package, and the modules that its tests use, to a folder. */
export function copyPackage(folder: string): void {
  for (const name of carried) cpSync(join(repository, name), join(folder, name), { recursive: true });
  cpSync(join(repository, "node_modules"), join(folder, "node_modules"), {
    recursive: true,
    filter: (path) => !left.has(basename(path)) || !path.startsWith(join(repository, "node_modules", basename(path))),
  });
}

/**
 * Fills an empty folder. `liburing` is the folder of the unpacked package liburing2; undefined makes a root without it.
 */
export async function makeRoot(
  folder: string,
  debian: Debian,
  bun: string,
  architecture: Architecture,
  liburing: string | undefined,
): Promise<void> {
  for (const name of ["dev", "proc", "sys", "tmp", "root", "etc", "usr/bin", "usr/lib", "usr/lib64"])
    mkdirSync(join(folder, name), { recursive: true });
  for (const name of ["bin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(folder, name));
  chmodSync(join(folder, "tmp"), 0o1777);
  const libc = await debian.unpacked("libc6", architecture, "trixie");
  for (const path of libraries[architecture]) cpSync(join(libc, path), join(folder, path), { dereference: true });
  if (liburing !== undefined)
    cpSync(join(liburing, "usr/lib"), join(folder, "usr/lib"), { recursive: true, verbatimSymlinks: true });
  cpSync(
    join(await debian.unpacked("busybox-static", architecture, "trixie"), "usr/bin/busybox"),
    join(folder, "usr/bin/busybox"),
  );
  cpSync(bun, join(folder, "usr/bin/bun"));
  copyPackage(join(folder, packageFolder));
}
