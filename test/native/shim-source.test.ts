import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { closeSync, existsSync, lstatSync, readdirSync, readFileSync, truncateSync } from "node:fs";
import { dirname } from "node:path";
import { shimText, withShimFile } from "../../lib/uring/shim-source.ts";
import { needs } from "../support/capabilities.ts";
import { Folder } from "../support/files.ts";
import { execute } from "../support/programs.ts";

/** Stands in for a memfd_create(2) that fails. */
function noMemoryFile(): number {
  return -1;
}

/** memfd_create(2), with disposal of its descriptors. The library keeps its own open as long as the program runs. */
function memoryFile(): Disposable & { create(name: string): number } {
  const { memfd_create } = dlopen("libc.so.6", { memfd_create: { args: ["ptr", "u32"], returns: "i32" } }).symbols;
  const made: number[] = [];
  return {
    create(name) {
      const fd = memfd_create(Buffer.from(`${name}\0`), 1);
      made.push(fd);
      return fd;
    },
    [Symbol.dispose]: () => {
      for (const fd of made) closeSync(fd);
    },
  };
}

/**
 * Bundles a program that prints the result of probe(). If the program gets an argument, it first blocks
 * memfd_create(2) for itself.
 */
async function bundle(folder: Folder): Promise<string> {
  const path = (name: string) => JSON.stringify(new URL(`../../${name}`, import.meta.url).pathname);
  const source = folder.write(
    "program.ts",
    `import { probe } from ${path("lib/index.ts")};
     import { refuseIoUring } from ${path("test/support/restrictions.ts")};
     if (process.argv.length > 2) refuseIoUring("ENOSYS", "memfd");
     console.log(JSON.stringify(probe()));`,
  );
  await Bun.build({ entrypoints: [source], outdir: `${folder.path}/built`, target: "bun", throw: true });
  return `${folder.path}/built/program.js`;
}

test("the shim text contains every C source and no #include", () => {
  expect(shimText).not.toMatch(/^#include/m);
  const folder = new URL("../../c/", import.meta.url);
  for (const name of readdirSync(folder))
    expect(shimText).toContain(
      readFileSync(new URL(name, folder), "utf8")
        .replace(/^#include .*\n/gm, "")
        .slice(-2000),
    );
});

test("without memfd_create(2), the shim is a private file in a private temporary folder, and both are deleted afterwards", () => {
  const paths = [1, 2].map(() =>
    withShimFile(noMemoryFile, (path) => {
      expect(readFileSync(path, "utf8")).toBe(shimText);
      expect([lstatSync(path).mode & 0o777, lstatSync(dirname(path)).mode & 0o777]).toEqual([0o600, 0o700]);
      return path;
    }),
  );
  expect(new Set(paths).size).toBe(2);
  for (const path of paths) expect(existsSync(dirname(path))).toBe(false);
});

test("a failed compilation also deletes the temporary folder", () => {
  let seen = "";
  const refuse = (path: string) => {
    seen = path;
    throw new Error("refused");
  };
  expect(() => withShimFile(noMemoryFile, refuse)).toThrow("refused");
  expect(existsSync(dirname(seen))).toBe(false);
});

test("the memory file is created once and reused, even if its creator was terminated before writing it", () => {
  using maker = memoryFile();
  let made = 0;
  const create = (name: string) => {
    made++;
    return maker.create(name);
  };
  const paths = [1, 2].map(() =>
    withShimFile(create, (path) => {
      expect(readFileSync(path, "utf8")).toBe(shimText);
      return path;
    }),
  );
  expect([made, paths[0] === paths[1]]).toEqual([1, true]);
  truncateSync(paths[0] ?? "", 100);
  withShimFile(create, (path) => expect(readFileSync(path, "utf8")).toBe(shimText));
  expect(made).toBe(1);
});

needs("a processor that is not emulated")(
  "a bundled program compiles the shim from memory and needs no temporary folder",
  async () => {
    using folder = new Folder();
    const { exitCode, stdout, stderr } = await execute([process.execPath, await bundle(folder)], {
      env: { TMPDIR: "/nonexistent" },
    });
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ available: true });
  },
);

needs("a processor that is not emulated")(
  "without memfd_create(2), a bundled program uses the temporary folder and leaves nothing in it; without either, the error says what to do",
  async () => {
    using folder = new Folder();
    const program = await bundle(folder);
    using temporary = new Folder();
    const probe = async (TMPDIR: string) =>
      JSON.parse((await execute([process.execPath, program, "refuse"], { env: { TMPDIR } })).stdout);
    const several = await Promise.all(Array.from({ length: 4 }, () => probe(temporary.path)));
    for (const found of several) expect(found).toMatchObject({ available: true });
    // bun:ffi does not delete its own headers, bun-cc-*.
    expect(readdirSync(temporary.path).filter((name) => !name.startsWith("bun-cc-"))).toEqual([]);
    expect(await probe("/nonexistent")).toMatchObject({
      available: false,
      reason: {
        code: "ENOENT",
        syscall: "mkdtemp",
        hint: expect.stringContaining("TMPDIR"),
        message: expect.stringContaining("could not be written"),
      },
    });
  },
);
