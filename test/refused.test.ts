import { expect } from "bun:test";
import { needs } from "./support/capabilities.ts";

const suite = new URL("./refused/refused.suite.ts", import.meta.url).pathname;
const under = new URL("./programs/under.ts", import.meta.url).pathname;

for (const code of ["EPERM", "ENOSYS"]) {
  needs("a processor that is not emulated")(
    `if seccomp answers io_uring with ${code}, every first use says so, and what to do`,
    async () => {
      const child = Bun.spawn(
        [process.execPath, under, "--refuse", code, "--", process.execPath, "test", "--timeout", "60000", suite],
        {
          env: { ...process.env, BUN_URING_REFUSED: code },
          stdout: "pipe",
          stderr: "pipe",
        },
      );
      const output = await child.stderr.text();
      expect(
        [await child.exited, /^ *(\d+) fail$/m.exec(output)?.[1], Number(/^ *(\d+) pass$/m.exec(output)?.[1])],
        output,
      ).toEqual([0, "0", 24]);
    },
  );
}
