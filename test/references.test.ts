import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { run } from "./support/programs.ts";

test("an unreferenced ring with an operation in flight does not keep the process alive", async () => {
  expect(await run("unreferenced")).toMatchObject({ exitCode: 0, signal: null, stdout: "last line\n", stderr: "" });
});

test("operations of an unreferenced ring complete while something else keeps the process alive", async () => {
  expect(await run("unreferenced", { args: ["elsewhere"] })).toMatchObject({
    exitCode: 0,
    stdout: "last line\ncompleted with 1\n",
    stderr: "",
  });
});

test("a ring that is referenced again keeps the process alive until its operation has completed", async () => {
  expect(await run("unreferenced", { args: ["again"] })).toMatchObject({
    exitCode: 0,
    stdout: "last line\ncompleted with 1\n",
    stderr: "",
  });
});

test("a dropped ring closes with its files once nothing is in flight, unless one of its files is still referenced", async () => {
  expect(await run("abandoned")).toMatchObject({
    exitCode: 0,
    stdout: "left: 2 rings, 1 files\na file kept its ring: true\na dropped ring read 1\nleft: 1 rings, 4 slots free\n",
    stderr: "",
  });
});

needs("a processor that is not emulated")("reloads by `bun --hot` do not accumulate rings", async () => {
  using folder = new Folder();
  const program = readFileSync(new URL("programs/hot.ts", import.meta.url), "utf8")
    .replace('"bun-uring"', JSON.stringify(join(import.meta.dir, "../lib/index.ts")))
    .replace('"../support/resources.ts"', JSON.stringify(join(import.meta.dir, "support/resources.ts")));
  const generations = Math.max(3, times(8));
  const load = (generation: number) => program.replace("generation 0", `generation ${generation}`);
  const path = folder.write("hot.ts", load(0));
  const child = Bun.spawn([process.execPath, "--hot", "--no-clear-screen", path], {
    stdout: "pipe",
    stderr: "inherit",
  });
  try {
    let output = "";
    let generation = 0;
    for await (const chunk of child.stdout) {
      output += Buffer.from(chunk).toString();
      if (!output.includes(`generation ${generation}:`)) continue;
      if (generation === generations) break;
      writeFileSync(path, load(++generation));
    }
    const counts = Array.from(output.matchAll(/: (\d+) rings/g), ([, count]) => Number(count));
    expect(counts.length).toBeGreaterThan(generations); // one write may cause two reloads
    // The ring of the previous generation may still be open for a moment when the next one makes its own.
    for (const count of counts) expect(count).toBeLessThanOrEqual(2);
  } finally {
    child.kill();
    await child.exited;
  }
});
