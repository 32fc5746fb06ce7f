import { expect, test } from "bun:test";

test("the example test suite passes when it is run as its first lines say", () => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "test", "./examples/bun-test.test.ts"], {
    cwd: `${import.meta.dir}/..`,
  });
  expect([exitCode, stderr.toString()]).toEqual([0, expect.stringMatching(/\b3 pass\n\s*0 fail\n/)]);
});
