import { expect } from "bun:test";
import { needs } from "./support/capabilities.ts";
import { run } from "./support/programs.ts";

const changes = {
  setuid: "user 0 made the pool, and this process has become user N since",
  seteuid: "user 0 made the pool, and this process has become user N since",
  capset: "this process has gained or lost the capability CAP_IPC_LOCK since the pool was made",
};

for (const [how, change] of Object.entries(changes)) {
  needs("root, to become another user", "clone of ranges (Linux 6.13)")(
    `after ${how}, rings register the memory of older pools themselves if the memlock limit allows it, also in Workers; otherwise the error says why`,
    async () => {
      const { exitCode, stdout, stderr } = await run("other-user", { args: [how] });
      expect([exitCode, stderr]).toEqual([0, ""]);
      expect(stdout.trim().split("\n")).toEqual([
        "a ring of before: cloned, read 100",
        "an older pool: registered, read 100",
        "two older pools: registered, read 100 and 100",
        `an older pool that is too large: ENOMEM io_uring_register_buffers. The ring cannot clone the pool's registration and has to make its own, because ${change}`,
        "a later pool: cloned, read 100",
        "a later and an older one: registered, read 100 and 100",
        "an older and a later one: registered, read 100 and 100",
        // Capabilities are per thread, and the Worker started before this thread dropped its own.
        `in a Worker: ${how === "capset" ? "cloned" : "registered"}, read 100`,
      ]);
    },
  );
}
