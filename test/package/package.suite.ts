/**
 * Tests the package as a new user gets it: packed, installed in an empty folder, and used, type-checked and bundled
 * there. `npm run test:package` runs them.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import * as library from "bun-uring";
import { Folder } from "../support/files.ts";
import { execute } from "../support/programs.ts";
import { filesOf, type Installed, install, repository, show, succeed } from "./installed.ts";

/** Exported only for dist/promises.js, and not declared. */
const internal = "nodePromises";
const names = Object.keys(library).filter((name) => name !== internal);
const readme = readFileSync(`${repository}README.md`, "utf8");
const programs = Array.from(readme.matchAll(/^```ts\n(.*?)^```$/gms), ([, program = ""]) => program);
const { devDependencies } = await Bun.file(`${repository}package.json`).json();

let installed: Installed;
let app: string;

beforeAll(async () => {
  installed = await install();
  app = installed.app;
  for (const [index, program] of programs.entries()) writeFileSync(`${app}/readme-${index}.ts`, program);
  for (const name of ["app.ts", "app-worker.ts"]) cpSync(`${repository}test/package/${name}`, `${app}/${name}`);
});
afterAll(() => installed[Symbol.dispose]());

describe("the package", () => {
  test("contains the library, its declarations, the C shim and the README, and nothing else, in less than 600 kB", () => {
    const files = filesOf(installed.path);
    const bytes = Array.from(files.values()).reduce((sum, size) => sum + size);
    show(`${files.size} files, ${(bytes / 1000).toFixed(1)} kB installed`);
    const allowed =
      /^(\.bun-tag|README\.md|LICENSE|package\.json|c\/(abi\.h|reflink\.c|shim\.c|teardown\.c)|dist\/((\w+\/)?[\w-]+\.d\.ts|(bun-uring|cli|index|promises|promises-other|shim-source)\.js))$/;
    expect(Array.from(files.keys()).filter((name) => !allowed.test(name))).toEqual([]);
    expect(bytes).toBeLessThan(600_000);
  });

  test("has no dependencies, and runs nothing when it is installed", async () => {
    const { dependencies, peerDependencies, scripts } = await Bun.file(`${installed.path}/package.json`).json();
    expect({ dependencies, peerDependencies, scripts }).toEqual({
      dependencies: undefined,
      peerDependencies: undefined,
      scripts: undefined,
    });
    expect(readdirSync(`${app}/node_modules`).filter((name) => !name.startsWith("."))).toEqual(["bun-uring"]);
    show("no dependency, no script");
  });

  test("passes publint", async () => {
    show(
      (await succeed([`${repository}node_modules/.bin/publint`, "run", installed.tarball, "--strict"]))
        .trim()
        .split("\n")
        .at(-1) ?? "",
    );
  });

  test("passes arethetypeswrong, except for the rule that a package of ES modules cannot pass", async () => {
    // cjs-resolves-to-esm: Node.js 20 cannot load an ES module with require(). Bun can, and this package is for Bun.
    const command = [
      `${repository}node_modules/.bin/attw`,
      installed.tarball,
      "--ignore-rules",
      "cjs-resolves-to-esm",
      "--profile",
      "node16", // older resolution knows no "exports", and so no bun-uring/promises
      "--format",
      "json",
    ];
    const { analysis } = JSON.parse(await succeed(command));
    const problems: { kind: string; resolutionKind: string }[] = analysis.problems;
    const kinds = problems.filter(({ resolutionKind }) => resolutionKind !== "node10").map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(["CJSResolvesToESM"]));
    show("no problem, CJSResolvesToESM ignored");
  });
});

describe("under Bun", () => {
  test("the README's programs run unchanged", async () => {
    for (const index of programs.keys()) {
      const { exitCode, stdout, stderr } = await installed.bun(`readme-${index}.ts`);
      expect([exitCode, stderr]).toEqual([0, ""]);
      show(`program ${index + 1}: ${stdout.trim().replaceAll("\n", "; ")}`);
    }
  });

  test("the bundle exports the same names as the sources, and constants with the same values", async () => {
    // Classes and functions are compared by name only, because bundling changes their source text.
    const listed = `Object.entries(all).map(([name, value]) => name + " is " + (typeof value === "function" ? "a function" : JSON.stringify(value))).sort()`;
    const found: string[] = JSON.parse(
      (await installed.bun("-e", `import * as all from "bun-uring"; console.log(JSON.stringify(${listed}))`)).stdout,
    );
    const expected = Object.entries(library).map(
      ([name, value]) => `${name} is ${typeof value === "function" ? "a function" : JSON.stringify(value)}`,
    );
    const missing = expected.filter((line) => !found.includes(line));
    const added = found.filter((line) => !expected.includes(line));
    expect({ missing, added }).toEqual({ missing: [], added: [] });
    show(`${expected.length} names`);
  });

  test("`bun-uring doctor` works", async () => {
    using folder = new Folder();
    symlinkSync(process.execPath, `${folder.path}/bun`);
    const path = `${folder.path}:${process.env["PATH"]}`;
    const { works, findings } = JSON.parse(
      await succeed([`${app}/node_modules/.bin/bun-uring`, "doctor", "--json"], { env: { PATH: path } }),
    );
    expect(works).toBe(true);
    show(`${findings.length} findings, all of which work`);
  });

  for (const platform of ["darwin", "win32"]) {
    test(`on ${platform} importing works, and the first use throws an error that says why`, async () => {
      writeFileSync(`${app}/preload.ts`, `Object.defineProperty(process, "platform", { value: "${platform}" });`);
      const program = `import { BufferPool, probe, RawRing, Ring } from "bun-uring";
        console.log("imported");
        const pool = { count: 1, size: 4096 };
        for (const use of [() => new Ring(), () => new RawRing(), () => new BufferPool(pool), () => BufferPool.create(pool)])
          try { await use(); console.log("works"); } catch (error) { console.log(error.name, error.message); }
        console.log(probe().available, probe().reason.message);`;
      const { stdout, stderr } = await installed.bun("--preload", "./preload.ts", "-e", program);
      const refusal = `EOPNOTSUPP: io_uring is Linux's, and this is ${platform}, io_uring_setup. Use bun-uring on Linux only.`;
      expect([stderr, ...stdout.trim().split("\n")]).toEqual([
        "",
        "imported",
        ...Array(4).fill(`UringError ${refusal}`),
        `false ${refusal}`,
      ]);
      show(refusal);
    });
  }
});

describe("under Bun, with test files in the app", () => {
  test("the library's tests of public names pass with the package", async () => {
    cpSync(`${repository}test`, `${app}/test`, { recursive: true });
    for (const name of ["fast-check", "pure-rand"])
      symlinkSync(`${repository}node_modules/${name}`, `${app}/node_modules/${name}`);
    const files = ["raw-ring", "ring", "chains", "file-methods", "hash-file", "stats", "settling", "open-handles"].map(
      (name) => `./test/${name}.test.ts`,
    );
    const { exitCode, stderr } = await installed.bun("test", "--timeout", "60000", ...files);
    expect(exitCode, stderr).toBe(0);
    show(`${/^ *\d+ pass$/m.exec(stderr)?.[0].trim()}: ${files.length} files`);
  });
});

describe("under Node.js", () => {
  const use = `const uses = { ring: () => new Ring(), pool: () => BufferPool.create({ count: 1, size: 4096 }), probe, copyFile, openHandles, attach: () => BufferPool.attach({}) };
    for (const [name, use] of Object.entries(uses))
      try { await use(); console.log(name, "works"); } catch (error) { console.log(name, error instanceof UringError, error.code, error.message); }`;

  test("importing every public name works, and using one throws an error that says that it needs Bun", async () => {
    writeFileSync(
      `${app}/node.mjs`,
      `import { ${names.join(", ")} } from "bun-uring";\nconsole.log(constants.IORING_SETUP_DEFER_TASKRUN);\n${use}`,
    );
    const [constant, ...uses] = (await succeed(["node", `${app}/node.mjs`])).trim().split("\n");
    expect(constant).toBe(String(library.constants.IORING_SETUP_DEFER_TASKRUN));
    expect(uses.length).toBe(6);
    for (const line of uses)
      expect(line).toMatch(
        /^\w+ true EOPNOTSUPP EOPNOTSUPP: [\w.]+ of bun-uring needs Bun, and this is Node\.js [\d.]+, bun:ffi\. Run the program with Bun on Linux/,
      );
    show(uses[0] ?? "");
  });

  test("the same holds in a bundle for another runtime", async () => {
    writeFileSync(`${app}/browser.mjs`, `const { ${names.join(", ")} } = await import("bun-uring");\n${use}`);
    await succeed(
      [process.execPath, "build", "--target", "node", `${app}/browser.mjs`, "--outfile", `${app}/browser.out.mjs`],
      { cwd: app },
    );
    const lines = (await succeed(["node", `${app}/browser.out.mjs`])).trim().split("\n");
    expect(lines.filter((line) => / true EOPNOTSUPP /.test(line)).length).toBe(6);
    show(lines[0] ?? "");
  });
});

describe("for TypeScript", () => {
  const compilers = { 5: "node_modules/typescript/bin/tsc", 7: `${repository}node_modules/typescript/bin/tsc` };
  const resolutions = {
    bundler: { module: "preserve", moduleResolution: "bundler" },
    node16: { module: "node16" },
    nodenext: { module: "nodenext" },
  };
  const strict = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    skipLibCheck: false,
    noEmit: true,
  };

  async function check(compiler: string, options: object): Promise<string> {
    const config = `${app}/tsconfig.json`;
    const compilerOptions = { target: "esnext", lib: ["esnext"], ...strict, ...options };
    writeFileSync(
      config,
      JSON.stringify({
        compilerOptions,
        files: [...programs.keys().map((index) => `readme-${index}.ts`), "app.ts", "app-worker.ts", "names.ts"],
      }),
    );
    return await succeed([process.execPath, compiler, "-p", config, "--listFiles"], { cwd: app });
  }

  beforeAll(async () => {
    const versions = [
      "typescript@5.9.3",
      `bun-types@${devDependencies["bun-types"]}`,
      `@types/bun@${devDependencies["bun-types"]}`,
    ];
    await succeed([process.execPath, "add", "--dev", ...versions], { cwd: app });
    writeFileSync(
      `${app}/names.ts`,
      `import { ${names.join(", ")} } from "bun-uring";\nconsole.log(${names.join(", ")});\n`,
    );
  });

  for (const [version, compiler] of Object.entries(compilers))
    for (const [resolution, options] of Object.entries(resolutions))
      for (const types of ["bun-types", "bun"])
        test(`TypeScript ${version}, ${resolution}, ${types === "bun" ? "@types/bun" : types}: the README's programs and all names pass --strict without skipLibCheck`, async () => {
          const files = (await check(compiler, { ...options, types: [types] }))
            .split("\n")
            .filter((line) => line.includes("/node_modules/bun-uring/"));
          expect(files.length).toBeGreaterThan(0);
          expect(files.filter((file) => !file.endsWith(".d.ts"))).toEqual([]);
          show(`no error, ${files.length} files of the package, all of them declarations`);
        });

  test("a wrong use is a type error, so the declarations are not just `any`", async () => {
    writeFileSync(
      `${app}/wrong.ts`,
      'import { Ring } from "bun-uring";\nconst ring = new Ring({ entries: "many" });\nring.nothing();\n',
    );
    const command = [
      process.execPath,
      compilers[7],
      "--ignoreConfig",
      "--strict",
      "--noEmit",
      "--module",
      "preserve",
      "--types",
      "bun",
      "wrong.ts",
    ];
    const { stdout } = await execute(command, { cwd: app });
    expect(Array.from(stdout.matchAll(/error (TS\d+)/g), ([, code]) => code)).toEqual(["TS2322", "TS2339"]);
    show("TS2322, TS2339");
  });

  test("the declarations have the doc comments of the public names", () => {
    const declarations = Array.from(filesOf(`${installed.path}/dist`).keys(), (name) =>
      readFileSync(`${installed.path}/dist/${name}`, "utf8"),
    ).join("");
    const named = names.filter((name) => typeof Reflect.get(library, name) === "function");
    const undocumented = named.filter(
      (name) => !new RegExp(`\\*/\\nexport declare (class|function) ${name}\\b`).test(declarations),
    );
    const lost = ["@example", "@throws UringError", "Default 256", "Since Linux"].filter(
      (text) => !declarations.includes(text),
    );
    expect({ undocumented, lost }).toEqual({ undocumented: [], lost: [] });
    show(`doc comments of ${named.length} classes and functions`);
  });
});

describe("bundled", () => {
  const text = "read by the main thread and by two Workers\n";
  const kinds: Record<string, readonly string[]> = {
    "bun build": ["--target", "bun"],
    "bun build --minify": ["--target", "bun", "--minify"],
    "bun build --compile": ["--compile"],
    "bun build --compile --minify --bytecode": ["--compile", "--minify", "--bytecode", "--format", "esm"],
  };

  for (const [name, options] of Object.entries(kinds)) {
    test(`${name}: a program with a pool, a ring and Workers runs in another folder without the package, and leaves no temporary files`, async () => {
      using elsewhere = new Folder();
      const isCompiled = options.includes("--compile");
      const built = `${elsewhere.path}/built`;
      // Without --compile, Bun does not rewrite the Worker's file name.
      writeFileSync(
        `${app}/bundled.ts`,
        readFileSync(`${app}/app.ts`, "utf8").replace(
          "./app-worker.ts",
          isCompiled ? "./app-worker.ts" : "./app-worker.js",
        ),
      );
      await succeed(
        [
          process.execPath,
          "build",
          ...options,
          "./bundled.ts",
          "./app-worker.ts",
          isCompiled ? "--outfile" : "--outdir",
          built,
        ],
        { cwd: app },
      );
      const file = elsewhere.write("file", text);
      const temporary = `${elsewhere.path}/temporary`;
      mkdirSync(temporary);
      const command = isCompiled ? [built] : [process.execPath, `${built}/bundled.js`];
      renameSync(app, `${app}.away`);
      try {
        for (const TMPDIR of [temporary, "/nonexistent"]) {
          const { exitCode, stdout, stderr } = await execute([...command, file], { cwd: "/", env: { TMPDIR } });
          expect([exitCode, stderr, stdout]).toEqual([0, "", `${JSON.stringify([text, text, text])}\n`]);
        }
      } finally {
        renameSync(`${app}.away`, app);
      }
      // bun:ffi keeps its own headers in bun-cc-….
      expect(readdirSync(temporary).filter((entry) => !entry.startsWith("bun-cc-"))).toEqual([]);
      show(
        `${Bun.file(command.at(-1) ?? "").size} bytes, read ${text.length} bytes three times, without the package and also without a folder for temporary files`,
      );
    });
  }

  test("bun build --format cjs: the bundle does not use the shim in the folder where the package was", async () => {
    using elsewhere = new Folder();
    writeFileSync(
      `${app}/common.ts`,
      'import { Ring } from "bun-uring";\nconst ring = new Ring();\nvoid ring.close().then(() => console.log("closed"));\n',
    );
    const built = `${elsewhere.path}/built.cjs`;
    await succeed(
      [process.execPath, "build", "--target", "bun", "--format", "cjs", "./common.ts", "--outfile", built],
      { cwd: app },
    );
    const shim = `${installed.path}/c/shim.c`;
    const before = readFileSync(shim);
    writeFileSync(shim, "#error somebody else has written this");
    try {
      expect(await succeed([process.execPath, built], { cwd: "/" })).toBe("closed\n");
    } finally {
      writeFileSync(shim, before);
    }
    show("closed");
  });
});
