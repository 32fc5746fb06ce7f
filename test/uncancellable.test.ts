import { expect } from "bun:test";
import { needs } from "./support/capabilities.ts";
import { FaultyFiles } from "./support/faulty-files.ts";
import { start } from "./support/programs.ts";
import { fdsOf, ringFds } from "./support/resources.ts";

const warning = /bun-uring: closing a ring waits for (a request|1 requests) that the kernel cannot cancel\n/g;

/**
 * What each kind reports while it closes (`state`) and at the end (`outcome`). A kind without a state blocks in the
 * kernel while it closes, so it can be observed only from outside.
 */
const ring = {
  state: { settled: "no", inFlight: 1, held: 1, rings: 2, pinned: true },
  outcome: { written: 4096, inFlight: 0, rings: 0, files: 0 },
};
const kinds: Record<string, { state?: object; outcome: object }> = {
  Ring: ring,
  "Ring under sinon": ring,
  "Ring under Bun's fake timers": ring,
  Worker: {
    state: { ending: "no", available: 1, rings: 2, files: 1 },
    outcome: { ending: "ended", available: 2, rings: 0, files: 0 },
  },
  plain: { outcome: { right: true, rings: 0 } },
  DEFER_TASKRUN: { outcome: { right: true, rings: 0 } },
  SQPOLL: { outcome: { right: true, rings: 0 } },
};

// Emulated, with one processor, Linux 7 reports RCU stalls before these programs have begun.
needs("mounts of FUSE", "a processor that is not emulated")(
  "Ring.close(), also under fake timers, RawRing.close() of each kind and Worker.terminate() warn once, after 5 s, about a request that cannot be cancelled, and wait until it completes",
  async () => {
    await using files = await FaultyFiles.mount();
    const closings = Object.entries(kinds).map(async ([kind, { state, outcome }], index) => {
      const name = `${state === undefined ? "read" : "write"}-held-0-${index}`;
      const program = start("uncancellable", [kind, files.of(name)]);
      await program.until("reading\n");
      await files.held(name);
      const before = { rings: ringFds(program.pid), files: fdsOf(files.of(name), program.pid) };
      program.tell("close\n");
      await program.untilError("cannot cancel\n");
      return {
        /** Checks that some time later it still waits. */
        async stillWaits() {
          expect({ rings: ringFds(program.pid), files: fdsOf(files.of(name), program.pid) }).toEqual(before);
          if (state === undefined) return;
          program.tell("state\n");
          await program.until("}\n");
        },
        async ends() {
          const { exitCode, stdout, stderr } = await program.outcome();
          const told = state === undefined ? "" : `state ${JSON.stringify(state)}\n`;
          expect({ kind, exitCode, stdout }).toEqual({
            kind,
            exitCode: 0,
            stdout: `reading\n${told}outcome ${JSON.stringify(outcome)}\n`,
          });
          expect({ kind, others: stderr.replaceAll(warning, ""), warnings: stderr.match(warning)?.length }).toEqual({
            kind,
            others: "",
            warnings: 1,
          });
        },
      };
    });
    const waiting = await Promise.all(closings);
    await Bun.sleep(1500); // long enough to notice a warning that repeats every second
    for (const { stillWaits } of waiting) await stillWaits();
    files.release();
    for (const { ends } of waiting) await ends();
  },
  60_000,
);
