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
  /** Of a test suite nothing is to be known: it says elsewhere that all is well. */
  readonly output?: string;
}

/** Every program of the documents, by the heading that it stands under. */
const programs = {
  first: { document: "README.md", heading: "A first program", output: `read 6553600 bytes, buffers ${bufferSource.one}\n` },
  files: { document: "README.md", heading: "Files, chains and streams", output: "14 bytes\ncopied 14 bytes: true\n" },
  workers: { document: "README.md", heading: "Workers", output: `2 Workers read ${bunBytes} of ${bunBytes} bytes\n` },
  direct: { document: recipes, heading: "O_DIRECT", output: "aligned: true\n262144 bytes past the page cache\n" },
  serve: { document: recipes, heading: "Bun.serve", output: "served true\n" },
  suite: { document: recipes, heading: "bun test" },
  memlock: { document: recipes, heading: "Locked memory", output: "64 slots\n" },
} as const satisfies Record<string, Program>;

/** A folder of somebody's who has installed the package. */
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

describe("a program runs as it stands, and prints what it is to print:", () => {
  const onProcessor = needs("a processor that is not emulated");
  test("the README's first", () => runs(programs.first));
  test("the README's of files, chains and streams", () => runs(programs.files));
  onProcessor("the README's of Workers", () => runs(programs.workers));
  needs("all documents", "a file system with O_DIRECT")("the recipe of O_DIRECT", () => runs(programs.direct));
  needs("all documents", "a loopback interface")("the recipe of Bun.serve", () => runs(programs.serve));
  needs("all documents")("the recipe of bun test", () => runs(programs.suite));
  needs("all documents", "256 MiB of locked memory")("the recipe of locked memory", () => runs(programs.memlock));
});

const walkThrough = "CONTRIBUTING.md";

function programsOf(document: string): Block[] {
  return blocksOf(document).filter(({ language }) => language === "ts" && document !== walkThrough);
}

describe("of the documents", () => {
  test("each program of the README is one that is run", () => {
    const run = Object.values<Program>(programs).filter(({ document }) => document === "README.md");
    expect(programsOf("README.md").map(({ heading }) => heading)).toEqual(run.map(({ heading }) => heading));
  });

  needs("all documents")("each program is one that is run, and each block says what it is in", () => {
    const run = Object.values<Program>(programs).map(({ document, heading }) => `${document}: ${heading}`);
    expect(documents.flatMap((document) => programsOf(document).map(({ heading }) => `${document}: ${heading}`)).toSorted()).toEqual(run.toSorted());
    const languages = new Set(documents.flatMap(blocksOf).map(({ language }) => language));
    expect([...languages].toSorted()).toEqual(["dockerfile", "sh", "text", "ts", "yaml"]);
  });

  needs("all documents", "TypeScript's compiler")("each program is right for a strict type check", async () => {
    using folder = project();
    const names = documents.flatMap(programsOf).map(({ text }, index) => folder.write(`program-${index}.ts`, text));
    expect(names.length).toBe(Object.keys(programs).length);
    const compilerOptions = { paths: { "bun-uring": [`${root}lib/index.ts`] }, typeRoots: [`${root}node_modules/@types`, `${root}node_modules`] };
    folder.write("tsconfig.json", JSON.stringify({ extends: `${root}tsconfig.json`, compilerOptions, include: ["*.ts", `${root}lib/uring/*.d.ts`] }));
    const { exitCode, stdout } = await execute([process.execPath, `${root}node_modules/.bin/tsc`, "--project", folder.path]);
    expect([stdout, exitCode]).toEqual(["", 0]);
  });

  needs("all documents")("JSON and YAML can be parsed, and the lines of a Dockerfile begin with instructions", () => {
    const blocks = documents.flatMap(blocksOf);
    const yaml = blocks.filter(({ language }) => language === "yaml");
    expect(yaml.map(({ text }) => Object.keys(Object(Bun.YAML.parse(text))).length > 0)).toEqual([true, true]);
    const instructions = blocks.filter(({ language }) => language === "dockerfile").flatMap(({ text }) => text.trimEnd().split("\n"));
    expect(instructions.filter((line) => !/^(FROM|RUN|WORKDIR|COPY|CMD) \S/.test(line))).toEqual([]);
  });

  needs("all documents")("links lead to files, and to headings in them", () => {
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

  /** Links to tests that are not there, or not under that name. */
  function wrongTestLinks(document: string): string[] {
    return linksOf(document)
      .filter(({ text, path }) => path.startsWith("test/") && !text.startsWith("test/"))
      .filter(({ text, path }) => {
        const source = existsSync(`${root}${path}`) ? readFileSync(`${root}${path}`, "utf8") : "";
        const name = text.replaceAll(/\s+/g, " ");
        return !source.split("\n").some((line) => line.includes(name) && /\(?["`]/.test(line.slice(0, line.indexOf(name))));
      })
      .map(({ text, path }) => `${document}: ${path}: ${text}`);
  }

  test("what the README guarantees is linked to tests, which have these names", () => {
    const guarantees = /^## What is guaranteed$(.*?)^## /ms.exec(textOf("README.md"))?.[1] ?? "";
    const items = guarantees.split(/^- /m).slice(1);
    expect(items.length).toBeGreaterThan(5);
    for (const item of items) expect(item).toContain("](test/");
    expect(wrongTestLinks("README.md")).toEqual([]);
  });

  needs("all documents")("links to tests name tests", () => {
    expect(documents.flatMap(wrongTestLinks)).toEqual([]);
  });

  needs("all documents")("the lines to paste are those that the doctor prints, and those in errors", () => {
    const text = textOf(containers);
    const lines = [steps.seccomp, steps.lockedMemory, steps.disabled, steps.restricted]
      .flat()
      .flatMap((step) => step.lines)
      .filter((line) => !line.startsWith("#"))
      .map((line) => line.trim());
    // The same command may have more options there.
    const isThere = (line: string) =>
      text.includes(line) || text.split("\n").some((one) => line.startsWith(one.split(" ")[0] ?? "") && line.split(" ").every((word) => one.includes(word)));
    expect(lines.filter((line) => !isThere(line))).toEqual([]);
  });

  needs("all documents")("the changelog begins with this version, and gives each a date or says that it is not released", () => {
    const versions = Array.from(textOf("CHANGELOG.md").matchAll(/^## (\S+) \((.*)\)$/gm), ([, version, when]) => ({ version, when }));
    expect(versions[0]?.version).toBe(packageJson.version);
    expect(versions.map(({ version }) => version)).toEqual(Array.from(textOf("CHANGELOG.md").matchAll(/^## (\S+)/gm), ([, version]) => version));
    for (const { when } of versions) expect(when).toMatch(/^(unreleased|\d{4}-\d\d-\d\d)$/);
  });
});

needs("all documents", "a processor that is not emulated")(
  "an operation that is added as CONTRIBUTING.md says works, and names its paths in errors",
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
    insert("lib/uring/uapi.ts", "export const IORING_OP_NOP", blockUnder({ document: walkThrough, heading }, "ts").text);
    insert("lib/requests/operations.ts", "export function mkdir(", blockUnder({ document: walkThrough, heading }, "ts", 1).text);
    insert("lib/requests/operations.ts", "  IORING_OP_TIMEOUT,\n", "  IORING_OP_SYMLINKAT,\n");
    insert("lib/ring/ring.ts", "  /**\n   * Creates a directory.", blockUnder({ document: walkThrough, heading }, "ts", 2).text);
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
    Array.from(table.matchAll(/^\| (`.*?) \|/gm), ([, codes = ""]) => Array.from(codes.matchAll(/`([A-Z_]+)`/g), ([, code = ""]) => code)).flat(),
  );
  const sources = Array.from(new Bun.Glob("**/*.ts").scanSync(`${root}lib`), (name) => readFileSync(`${root}lib/${name}`, "utf8"));
  const hinted = Array.from(readFileSync(`${root}lib/errors/hints.ts`, "utf8").matchAll(/^ {2}"?([A-Z]+)(?: io_uring_setup)?"?: /gm), ([, code = ""]) => code);
  const thrown = sources.flatMap((source) =>
    Array.from(source.matchAll(/(?:UringError|unavailable|coded)\((?:new \w+\(.*\), )?"([A-Z_]+)"/g), ([, code = ""]) => code),
  );

  test("has each code that the library gives to errors of its own, or advises about when a ring is made", () => {
    // Codes of node:fs, as it has them.
    const asElsewhere = ["EISDIR"];
    expect([...new Set([...hinted, ...thrown])].filter((code) => !listed.has(code) && !asElsewhere.includes(code))).toEqual([]);
  });

  test("has no code that the library does not know", () => {
    expect([...listed].filter((code) => !sources.some((source) => source.includes(code)))).toEqual([]);
  });
});

/** The commands of a folder, and those that a shell finds elsewhere. */
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
  return execute(["bash", "-euc", `cd "$1"; set -o pipefail; ${script}`, "bash", cwd], { env: shellEnvironment(folder, stubs) });
}

describe("of the documents' commands", () => {
  // That a registry has the package is not for a test; how it is installed from its tarball is npm run test:package's.
  needs("bash", "a processor that is not emulated")("the doctor's runs where the package is installed", async () => {
    using folder = project();
    mkdirSync(join(folder.path, "node_modules/.bin"));
    symlinkSync(`${root}bin/bun-uring.ts`, join(folder.path, "node_modules/.bin/bun-uring"));
    const { text } = blockUnder({ document: "README.md", heading: "Try it" }, "sh");
    expect(text).toStartWith("bun add bun-uring\n");
    const { exitCode, stdout, stderr } = await shell(text.replace("bun add bun-uring\n", ""), folder, folder.path);
    expect([stderr, exitCode, stdout]).toEqual(["", 0, expect.stringContaining("io_uring and bun-uring work here.")]);
  });

  needs("bash", "a processor that is not emulated")("the example's prints digests", async () => {
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
  )("those for Docker and Podman add io_uring to a profile, and name it", async () => {
    for (const heading of ["Docker", "Podman"]) {
      using folder = new Folder();
      const profile = folder.write(
        "default.json",
        JSON.stringify({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }] }),
      );
      const text = blockUnder({ document: containers, heading }, "sh").text.replace("/usr/share/containers/seccomp.json", profile);
      const stubs = { curl: `cat ${profile}`, docker: 'echo "docker $*"', podman: 'echo "podman $*"' };
      const { exitCode, stdout } = await shell(text, folder, folder.path, stubs);
      expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^(docker|podman) run --security-opt seccomp=io_uring\.json .*IMAGE\n$/)]);
      expect(JSON.parse(readFileSync(join(folder.path, "io_uring.json"), "utf8"))).toEqual({
        defaultAction: "SCMP_ACT_ERRNO",
        syscalls: [
          { names: ["read"], action: "SCMP_ACT_ALLOW" },
          { names: ["io_uring_setup", "io_uring_enter", "io_uring_register"], action: "SCMP_ACT_ALLOW" },
        ],
      });
    }
  });

  /** Run above, and in checksum.test.ts; the rest needs other machines, root's files, or the time of all tests. */
  const executed = ["README.md: Try it 0", "README.md: Examples 0", "README.md: Examples 1", `${containers}: Docker 0`, `${containers}: Podman 0`];
  const onlyParsed = 10;

  needs("all documents", "bash")(`all are right for a shell, and ${onlyParsed} blocks are only looked at in that way`, async () => {
    const blocks = documents.flatMap(blocksOf).filter(({ language }) => language === "sh");
    const nameOf = (block: Block) =>
      `${block.document}: ${block.heading} ${blocks.filter(({ document, heading }) => document === block.document && heading === block.heading).indexOf(block)}`;
    for (const block of blocks)
      expect([nameOf(block), await execute(["bash", "-n"], { stdin: block.text })]).toMatchObject([nameOf(block), { exitCode: 0, stderr: "" }]);
    const names = blocks.map(nameOf);
    expect(executed.filter((name) => !names.includes(name))).toEqual([]);
    expect(names.filter((name) => !executed.includes(name)).length).toBe(onlyParsed);
  });

  needs("all documents")("those of npm are scripts of package.json, and each of those is named", () => {
    const commands = /\b(?:npm|bun) run (?:--silent )?([\w:-]+)|\bnpm (test)\b/g;
    const named = documents.flatMap((document) => Array.from(textOf(document).matchAll(commands), ([, script, test = ""]) => script ?? test));
    const scripts = Object.keys(packageJson.scripts);
    expect([...new Set(named)].filter((script) => !scripts.includes(script))).toEqual([]);
    // Nobody calls those that npm runs by itself.
    expect(scripts.filter((script) => !named.includes(script) && !/^(pre|post)/.test(script))).toEqual([]);
  });
});
