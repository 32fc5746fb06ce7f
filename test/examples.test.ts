import { expect, test } from "bun:test";
import { needs } from "./support/capabilities.ts";
import { Folder } from "./support/files.ts";

test("the example test suite passes when it is run as its first lines say", () => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "test", "./examples/bun-test.test.ts"], {
    cwd: `${import.meta.dir}/..`,
  });
  expect([exitCode, stderr.toString()]).toEqual([0, expect.stringMatching(/\b3 pass\n\s*0 fail\n/)]);
});

needs("grep of GNU")("examples/grep.ts prints the lines that grep prints, with a ring and with node:fs", () => {
  using folder = new Folder();
  for (const [name, content] of Object.entries({
    "one line": "a needle",
    lines: "no\nneedle and needle\n\nthe needle\nend\n",
    "needle only in the name": "nothing\n",
    binary: "needle\n\0",
    empty: "",
    large: `${"x\n".repeat(100_000)}needle\n`,
    ".hidden": "needle\n",
  }))
    folder.write(name, content);
  const sorted = (command: readonly string[]) => {
    const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd: `${import.meta.dir}/..` });
    return [exitCode, stdout.toString().split("\n").sort(), stderr.toString()];
  };
  const expected = sorted(["grep", "-rnIF", "needle", folder.path]);
  for (const options of [[], ["--node"]])
    expect(sorted([process.execPath, "examples/grep.ts", ...options, "needle", folder.path])).toEqual(expected);
});
