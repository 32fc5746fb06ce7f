import { expect } from "bun:test";
import { needs } from "./support/capabilities.ts";

needs("the folder bench")("the tests of how the benchmarks evaluate measurements pass", () => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "test", "./bench/bench.test.ts"], {
    cwd: `${import.meta.dir}/..`,
  });
  expect([exitCode, stderr.toString()]).toEqual([0, expect.stringMatching(/\b10 pass\n\s*0 fail\n/)]);
});
