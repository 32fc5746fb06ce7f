import { expect } from "bun:test";
import { needs } from "./support/capabilities.ts";
import { run } from "./support/programs.ts";

/** The program runs with each number of free descriptors from 0 to this. */
const most = 6;

for (const when of ["first", "later"] as const) {
  needs("a processor that is not emulated")(
    `with few descriptors left, a ${when} use fails with EMFILE or succeeds, and it succeeds once there are more`,
    async () => {
      for (const what of ["ring", "pool", "copyFile", "hashFile"]) {
        const outcomes = await Promise.all(
          Array.from({ length: most + 1 }, (_, left) => run("few-descriptors", { args: [String(left), what, when] })),
        );
        const found = outcomes.map(({ exitCode, stderr, stdout }): string[] => {
          expect([exitCode, stderr]).toEqual([0, ""]);
          return JSON.parse(stdout);
        });
        expect(found.map(([, afterwards]) => afterwards)).toEqual(found.map(() => "done"));
        const few = found.map(([outcome]) => outcome);
        const enough = few.indexOf("done");
        // With a ring that is there already, a small file is hashed without a descriptor of the process.
        const needsNone = when === "later" && what === "hashFile";
        expect([what, needsNone ? enough === 0 : enough > 0]).toEqual([what, true]);
        expect([what, ...few]).toEqual([what, ...few.map((_, left) => (left < enough ? "EMFILE" : "done"))]);
      }
    },
  );
}
