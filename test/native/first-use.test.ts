import { expect, test } from "bun:test";
import { readFileSync, symlinkSync } from "node:fs";
import { needs } from "../support/capabilities.ts";
import { Folder } from "../support/files.ts";
import { type Outcome, run } from "../support/programs.ts";

/** The outcome of each class's first use. Expects that the import before it succeeded. */
function uses({
  stdout,
  stderr,
  exitCode,
}: Outcome): { code?: string; syscall?: string; hint?: string; message?: string; works?: boolean }[] {
  expect([exitCode, stderr]).toEqual([0, ""]);
  const [imported, ...lines] = stdout.trim().split("\n");
  expect(imported).toBe("imported");
  expect(lines.length).toBe(4);
  return lines.map((line) => JSON.parse(line));
}

/** The path that this process loaded a library from. */
function library(name: string): string {
  const path = new RegExp(`\\S*/${name.replaceAll(".", "\\.")}$`, "m").exec(
    readFileSync("/proc/self/maps", "utf8"),
  )?.[0];
  if (path === undefined) throw new Error(`${name} is not loaded`);
  return path;
}

test("if io_uring works, every class works on first use", async () => {
  for (const use of uses(await run("first-use"))) expect(use.works).toBe(true);
});

needs("a processor that is not emulated")(
  "on a platform other than Linux, the first use throws EOPNOTSUPP and names the platform",
  async () => {
    for (const use of uses(await run("first-use", { args: ["platform"] }))) {
      expect([use.code, use.hint]).toEqual(["EOPNOTSUPP", "Use bun-uring on Linux only."]);
      expect(use.message).toContain("this is darwin");
    }
  },
);

needs("--no-ffi-cc (Bun 1.4.1)")(
  "if bun:ffi's compiler is disabled, the first use explains how to enable it",
  async () => {
    for (const use of uses(await run("first-use", { bunArgs: ["--no-ffi-cc"] }))) {
      expect([use.code, use.syscall]).toEqual(["ERR_FFI_CC_DISABLED", "cc"]);
      expect(use.hint).toContain("--no-ffi-cc");
    }
  },
);

needs("a processor that is not emulated")(
  "without liburing, the first use names the package to install for each package manager",
  async () => {
    using folder = new Folder();
    folder.write("liburing.so.2", "no library"); // comes first in the search, but cannot be loaded
    for (const use of uses(await run("first-use", { env: { LD_LIBRARY_PATH: folder.path } }))) {
      expect([use.code, use.syscall]).toEqual(["ENOENT", "dlopen"]);
      for (const manager of ["apt-get", "dnf", "apk", "pacman"]) expect(use.hint).toContain(manager);
      expect(use.message).toContain("liburing.so.2");
    }
  },
);

needs("a processor that is not emulated")(
  "with a liburing that lacks required functions, the first use names the version it needs",
  async () => {
    using folder = new Folder();
    // A library that can be loaded, but has none of liburing's functions.
    symlinkSync(library("libm.so.6"), `${folder.path}/liburing.so.2`);
    for (const use of uses(await run("first-use", { env: { LD_LIBRARY_PATH: folder.path } }))) {
      expect([use.code, use.syscall]).toEqual(["ENOSYS", "dlsym"]);
      expect(use.hint).toContain("2.3");
    }
  },
);
