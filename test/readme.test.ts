import { expect, test } from "bun:test";
import { bufferSource } from "./support/capabilities.ts";

const root = new URL("../", import.meta.url);

const outputs = [`read 6553600 bytes, buffers ${bufferSource.one}\n`, "14 bytes\ncopied 14 bytes: true\n"];

test("the README's programs run as they stand", async () => {
  const readme = await Bun.file(new URL("README.md", root)).text();
  const programs = Array.from(readme.matchAll(/^```ts\n(.*?)^```$/gms), ([, program = ""]) => program);
  expect(programs.length).toBe(outputs.length);
  for (const [index, program] of programs.entries()) {
    const child = Bun.spawn([process.execPath, "run", "-"], { cwd: root.pathname, stdin: Buffer.from(program), stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    await child.exited;
    expect([child.exitCode, stderr, stdout]).toEqual([0, "", outputs[index] ?? ""]);
  }
});
