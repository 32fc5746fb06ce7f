import { describe, expect, test } from "bun:test";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { steps } from "../lib/doctor/steps.ts";
import { bufferSource, needs } from "./support/capabilities.ts";
import { anchorsOf, type Block, blocksOf, documents, linksOf, root, textOf } from "./support/documents.ts";
import { Folder } from "./support/files.ts";
import { execute } from "./support/programs.ts";

const recipes = "docs/recipes.md";
const containers = "docs/containers.md";
const bunBytes = Bun.file(process.execPath).size;
const packageJson = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

interface Program {
  readonly document: string;
  readonly heading: string;
  /** What the program prints. Left out for a test suite, whose summary is checked instead. */
  readonly output?: string;
}

/** Every program of the documents, with the heading above it. */
const programs = {
  first: {
    document: "README.md",
    heading: "A first program",
    output: `read 6553600 bytes, buffers ${bufferSource.one}\n`,
  },
  paths: { document: "README.md", heading: "Whole files by their paths", output: "2\n\n3\n" },
  files: { document: "README.md", heading: "Files, chains and streams", output: "14 bytes\ncopied 14 bytes: true\n" },
  workers: { document: "README.md", heading: "Workers", output: `2 Workers read ${bunBytes} of ${bunBytes} bytes\n` },
  direct: { document: recipes, heading: "O_DIRECT", output: "aligned: true\n262144 bytes past the page cache\n" },
  serve: { document: recipes, heading: "Bun.serve", output: "served true\n" },
  log: { document: recipes, heading: "A log", output: "order 999 is at 9880\n" },
  suite: { document: recipes, heading: "bun test" },
  memlock: { document: recipes, heading: "Locked memory", output: "64 slots\n" },
} as const satisfies Record<string, Program>;

/** A project in which the package is installed. */
function project(): Folder {
  const folder = new Folder();
  mkdirSync(join(folder.path, "node_modules"));
  symlinkSync(root, join(folder.path, "node_modules/bun-uring"));
  return folder;
}

function blockUnder({ document, heading }: Pick<Program, "document" | "heading">, language: string, index = 0): Block {
  const block = blocksOf(document).filter((one) => one.heading === heading && one.language === language)[index];
  if (block === undefined) throw new Error(`${document} has no block ${index} of ${language} under "${heading}"`);
  return block;
}

async function runs(program: Program): Promise<void> {
  using folder = project();
  const { text } = blockUnder(program, "ts");
  const isSuite = text.includes('"bun:test"');
  const path = folder.write(isSuite ? "program.test.ts" : "program.ts", text);
  const { exitCode, stdout, stderr } = await execute([process.execPath, ...(isSuite ? ["test"] : []), path]);
  const printed = isSuite ? [expect.stringMatching(/^ 1 pass\n 0 fail$/m), expect.anything()] : ["", program.output];
  expect([exitCode, stderr, stdout]).toEqual([0, ...printed]);
}

describe("a program of the documents runs as it stands and prints the expected output:", () => {
  const onProcessor = needs("a processor that is not emulated");
  test("the README's first program", () => runs(programs.first));
  test("the README's program for whole files by their paths", () => runs(programs.paths));
  test("the README's program for files, chains and streams", () => runs(programs.files));
  onProcessor("the README's program for Workers", () => runs(programs.workers));
  needs("all documents", "a file system with O_DIRECT")("the recipe for O_DIRECT", () => runs(programs.direct));
  needs("all documents", "a loopback interface")("the recipe for Bun.serve", () => runs(programs.serve));
  needs("all documents")("the recipe for a log", () => runs(programs.log));
  needs("all documents")("the recipe for bun test", () => runs(programs.suite));
  needs("all documents", "256 MiB of locked memory")("the recipe for locked memory", () => runs(programs.memlock));
});

const walkThrough = "CONTRIBUTING.md";

function programsOf(document: string): Block[] {
  return blocksOf(document).filter(({ language }) => language === "ts" && document !== walkThrough);
}

describe("documents:", () => {
  test("every program of the README is run by a test", () => {
    const run = Object.values<Program>(programs).filter(({ document }) => document === "README.md");
    expect(programsOf("README.md").map(({ heading }) => heading)).toEqual(run.map(({ heading }) => heading));
  });

  needs("all documents")("every program is run by a test, and every block names its language", () => {
    const run = Object.values<Program>(programs).map(({ document, heading }) => `${document}: ${heading}`);
    expect(
      documents.flatMap((document) => programsOf(document).map(({ heading }) => `${document}: ${heading}`)).toSorted(),
    ).toEqual(run.toSorted());
    const languages = new Set(documents.flatMap(blocksOf).map(({ language }) => language));
    expect([...languages].toSorted()).toEqual(["dockerfile", "sh", "text", "ts", "yaml"]);
  });

  needs("all documents", "TypeScript's compiler")("every program passes a strict type check", async () => {
    using folder = project();
    const names = documents.flatMap(programsOf).map(({ text }, index) => folder.write(`program-${index}.ts`, text));
    expect(names.length).toBe(Object.keys(programs).length);
    const compilerOptions = {
      paths: { "bun-uring": [`${root}lib/index.ts`], "bun-uring/promises": [`${root}lib/promises.ts`] },
      typeRoots: [`${root}node_modules/@types`, `${root}node_modules`],
    };
    folder.write(
      "tsconfig.json",
      JSON.stringify({
        extends: `${root}tsconfig.json`,
        compilerOptions,
        include: ["*.ts", `${root}lib/uring/*.d.ts`],
      }),
    );
    const { exitCode, stdout } = await execute([
      process.execPath,
      `${root}node_modules/.bin/tsc`,
      "--project",
      folder.path,
    ]);
    expect([stdout, exitCode]).toEqual(["", 0]);
  });

  needs("all documents")("YAML can be parsed, and every line of a Dockerfile starts with an instruction", () => {
    const blocks = documents.flatMap(blocksOf);
    const yaml = blocks.filter(({ language }) => language === "yaml");
    expect(yaml.map(({ text }) => Object.keys(Object(Bun.YAML.parse(text))).length > 0)).toEqual([true, true]);
    const instructions = blocks
      .filter(({ language }) => language === "dockerfile")
      .flatMap(({ text }) => text.trimEnd().split("\n"));
    expect(instructions.filter((line) => !/^(FROM|RUN|WORKDIR|COPY|CMD) \S/.test(line))).toEqual([]);
  });

  needs("all documents")("links lead to files that exist, and to headings in them", () => {
    const wrong = documents.flatMap((document) =>
      linksOf(document)
        .filter(({ path, anchor }) => {
          const target = path === "" ? document : join(dirname(document), path);
          return !existsSync(`${root}${target}`) || (anchor !== undefined && !anchorsOf(textOf(target)).has(anchor));
        })
        .map(({ path, anchor }) => `${document}: ${path}#${anchor}`),
    );
    expect(wrong).toEqual([]);
  });

  /** Links to test files that do not exist, or that have no test of that name. */
  function wrongTestLinks(document: string): string[] {
    return linksOf(document)
      .filter(({ text, path }) => path.startsWith("test/") && !text.startsWith("test/"))
      .filter(({ text, path }) => {
        const source = existsSync(`${root}${path}`) ? readFileSync(`${root}${path}`, "utf8") : "";
        const name = text.replaceAll(/\s+/g, " ");
        return !source
          .split("\n")
          .some((line) => line.includes(name) && /\(?["`]/.test(line.slice(0, line.indexOf(name))));
      })
      .map(({ text, path }) => `${document}: ${path}: ${text}`);
  }

  test("every guarantee of the README links to tests that have these names", () => {
    const guarantees = /^## What is guaranteed$(.*?)^## /ms.exec(textOf("README.md"))?.[1] ?? "";
    const items = guarantees.split(/^- /m).slice(1);
    expect(items.length).toBeGreaterThan(5);
    for (const item of items) expect(item).toContain("](test/");
    expect(wrongTestLinks("README.md")).toEqual([]);
  });

  needs("all documents")("links to tests name tests that exist", () => {
    expect(documents.flatMap(wrongTestLinks)).toEqual([]);
  });

  needs("all documents")("the lines to paste are those that the doctor and the errors print", () => {
    const text = textOf(containers);
    const lines = [steps.seccomp, steps.lockedMemory, steps.disabled, steps.restricted]
      .flat()
      .flatMap((step) => step.lines)
      .filter((line) => !line.startsWith("#"))
      .map((line) => line.trim());
    // The document may have the same command with more options.
    const isThere = (line: string) =>
      text.includes(line) ||
      text
        .split("\n")
        .some((one) => line.startsWith(one.split(" ")[0] ?? "") && line.split(" ").every((word) => one.includes(word)));
    expect(lines.filter((line) => !isThere(line))).toEqual([]);
  });

  needs("all documents")(
    "the changelog begins with the current version, and each version has a date or is marked as unreleased",
    () => {
      const versions = Array.from(textOf("CHANGELOG.md").matchAll(/^## (\S+) \((.*)\)$/gm), ([, version, when]) => ({
        version,
        when,
      }));
      expect(versions[0]?.version).toBe(packageJson.version);
      expect(versions.map(({ version }) => version)).toEqual(
        Array.from(textOf("CHANGELOG.md").matchAll(/^## (\S+)/gm), ([, version]) => version),
      );
      for (const { when } of versions) expect(when).toMatch(/^(unreleased|\d{4}-\d\d-\d\d)$/);
    },
  );
});

needs("all documents", "a processor that is not emulated")(
  "an operation added as CONTRIBUTING.md describes works, and its errors name its paths",
  async () => {
    using folder = new Folder();
    for (const name of ["lib", "c"]) cpSync(`${root}${name}`, join(folder.path, name), { recursive: true });
    const insert = (file: string, before: string, text: string) => {
      const path = join(folder.path, file);
      const source = readFileSync(path, "utf8");
      expect(source.split(before).length).toBe(2);
      writeFileSync(
        path,
        source.replace(before, () => `${text}${before}`),
      );
    };
    const heading = "How to add an operation";
    insert(
      "lib/uring/uapi.ts",
      "export const IORING_OP_NOP",
      blockUnder({ document: walkThrough, heading }, "ts").text,
    );
    insert(
      "lib/requests/builders.ts",
      "export function mkdir(",
      blockUnder({ document: walkThrough, heading }, "ts", 1).text,
    );
    insert("lib/requests/builders.ts", "  IORING_OP_TIMEOUT,\n", "  IORING_OP_SYMLINKAT,\n");
    insert(
      "lib/ring/ring.ts",
      "  /**\n   * Creates a directory.",
      blockUnder({ document: walkThrough, heading }, "ts", 2).text,
    );
    const program = `
    import { readlinkSync } from "node:fs";
    import { Ring } from "./lib/index.ts";
    await using ring = new Ring();
    await ring.symlink("no/where", "link");
    console.log(readlinkSync("link"), String(await ring.symlink("no/where", "link").catch((error) => error)));`;
    const outcome = await execute([process.execPath, folder.write("program.ts", program)], { cwd: folder.path });
    const printed = "no/where UringError: EEXIST: file already exists, symlinkat 'no/where' -> 'link'\n";
    expect(outcome).toEqual({ exitCode: 0, signal: null, stderr: "", stdout: printed });
  },
);

describe("the README's table of error codes", () => {
  const table = /^## Troubleshooting$(.*?)^## /ms.exec(textOf("README.md"))?.[1] ?? "";
  const listed = new Set(
    Array.from(table.matchAll(/^\| (`.*?) \|/gm), ([, codes = ""]) =>
      Array.from(codes.matchAll(/`([A-Z_]+)`/g), ([, code = ""]) => code),
    ).flat(),
  );
  const sources = Array.from(new Bun.Glob("**/*.ts").scanSync(`${root}lib`), (name) =>
    readFileSync(`${root}lib/${name}`, "utf8"),
  );
  const hinted = Array.from(
    readFileSync(`${root}lib/errors/hints.ts`, "utf8").matchAll(/^ {2}"?([A-Z]+)(?: io_uring_setup)?"?: /gm),
    ([, code = ""]) => code,
  );
  const thrown = sources.flatMap((source) =>
    Array.from(
      source.matchAll(/(?:UringError|unavailable|coded)\((?:new \w+\(.*\), )?"([A-Z_]+)"/g),
      ([, code = ""]) => code,
    ),
  );

  test("has every code that the library gives to its own errors, or has a hint for when a ring is made", () => {
    // Thrown as by node:fs, so it needs no explanation here.
    const asElsewhere = ["EISDIR", "ENOTDIR"];
    expect(
      [...new Set([...hinted, ...thrown])].filter((code) => !listed.has(code) && !asElsewhere.includes(code)),
    ).toEqual([]);
  });

  test("has no code that the library does not use", () => {
    expect([...listed].filter((code) => !sources.some((source) => source.includes(code)))).toEqual([]);
  });
});

/** A PATH on which bun, bunx and the stubs, in a folder of their own, come before everything else. */
function shellEnvironment(folder: Folder, stubs: Readonly<Record<string, string>> = {}): Record<string, string> {
  const bin = join(folder.path, "bin");
  mkdirSync(bin);
  for (const name of ["bun", "bunx"]) symlinkSync(process.execPath, join(bin, name));
  for (const [name, script] of Object.entries(stubs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  return { PATH: [bin, process.env["PATH"]].join(delimiter), NODE_ENV: "production" };
}

async function shell(script: string, folder: Folder, cwd: string, stubs: Readonly<Record<string, string>> = {}) {
  return execute(["bash", "-euc", `cd "$1"; set -o pipefail; ${script}`, "bash", cwd], {
    env: shellEnvironment(folder, stubs),
  });
}

describe("commands of the documents:", () => {
  // Does not install the package from a registry. `npm run test:package` installs it from its tarball.
  needs("bash", "a processor that is not emulated")(
    "the doctor's command works where the package is installed",
    async () => {
      using folder = project();
      mkdirSync(join(folder.path, "node_modules/.bin"));
      symlinkSync(`${root}bin/bun-uring.ts`, join(folder.path, "node_modules/.bin/bun-uring"));
      const { text } = blockUnder({ document: "README.md", heading: "Try it" }, "sh");
      expect(text).toStartWith("bun add bun-uring\n");
      const { exitCode, stdout, stderr } = await shell(text.replace("bun add bun-uring\n", ""), folder, folder.path);
      expect([stderr, exitCode, stdout]).toEqual(["", 0, expect.stringContaining("io_uring and bun-uring work here.")]);
    },
  );

  needs("bash", "a processor that is not emulated")("the example's command prints digests", async () => {
    using folder = new Folder();
    const { text } = blockUnder({ document: "README.md", heading: "Examples" }, "sh");
    const { path } = folder.random("file", 3 * 2 ** 20 + 1);
    const { exitCode, stdout } = await shell(text.replace("FILE...", path), folder, root);
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^[0-9a-f]{64} /m)]);
  });

  needs(
    "all documents",
    "bash",
    "jq",
  )("the commands for Docker and Podman add io_uring to a seccomp profile and pass that profile", async () => {
    for (const heading of ["Docker", "Podman"]) {
      using folder = new Folder();
      const profile = folder.write(
        "default.json",
        JSON.stringify({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }] }),
      );
      const text = blockUnder({ document: containers, heading }, "sh").text.replace(
        "/usr/share/containers/seccomp.json",
        profile,
      );
      const stubs = { curl: `cat ${profile}`, docker: 'echo "docker $*"', podman: 'echo "podman $*"' };
      const { exitCode, stdout } = await shell(text, folder, folder.path, stubs);
      expect([exitCode, stdout]).toEqual([
        0,
        expect.stringMatching(/^(docker|podman) run --security-opt seccomp=io_uring\.json .*IMAGE\n$/),
      ]);
      expect(JSON.parse(readFileSync(join(folder.path, "io_uring.json"), "utf8"))).toEqual({
        defaultAction: "SCMP_ACT_ERRNO",
        syscalls: [
          { names: ["read"], action: "SCMP_ACT_ALLOW" },
          { names: ["io_uring_setup", "io_uring_enter", "io_uring_register"], action: "SCMP_ACT_ALLOW" },
        ],
      });
    }
  });

  /** Blocks that run above or in checksum.test.ts. The others need other machines, root, or too much time. */
  const executed = [
    "README.md: Try it 0",
    "README.md: Examples 0",
    "README.md: Examples 1",
    `${containers}: Docker 0`,
    `${containers}: Podman 0`,
  ];
  const onlyParsed = 10;

  needs("all documents", "bash")(
    `every block passes the shell's syntax check, and for ${onlyParsed} blocks that is the only check`,
    async () => {
      const blocks = documents.flatMap(blocksOf).filter(({ language }) => language === "sh");
      const nameOf = (block: Block) =>
        `${block.document}: ${block.heading} ${blocks.filter(({ document, heading }) => document === block.document && heading === block.heading).indexOf(block)}`;
      for (const block of blocks)
        expect([nameOf(block), await execute(["bash", "-n"], { stdin: block.text })]).toMatchObject([
          nameOf(block),
          { exitCode: 0, stderr: "" },
        ]);
      const names = blocks.map(nameOf);
      expect(executed.filter((name) => !names.includes(name))).toEqual([]);
      expect(names.filter((name) => !executed.includes(name)).length).toBe(onlyParsed);
    },
  );

  needs("all documents")("every npm command is a script of package.json, and every script is mentioned", () => {
    const commands = /\b(?:npm|bun) run (?:--silent )?([\w:-]+)|\bnpm (test)\b/g;
    const named = documents.flatMap((document) =>
      Array.from(textOf(document).matchAll(commands), ([, script, test = ""]) => script ?? test),
    );
    const scripts = Object.keys(packageJson.scripts);
    expect([...new Set(named)].filter((script) => !scripts.includes(script))).toEqual([]);
    // npm runs pre and post scripts by itself, so they need no mention.
    expect(scripts.filter((script) => !named.includes(script) && !/^(pre|post)/.test(script))).toEqual([]);
  });
});
