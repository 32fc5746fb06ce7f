import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { Ring } from "bun-uring";
import { times } from "./support/effort.ts";
import { leavingNothing } from "./support/resources.ts";
import { shared } from "./support/rings.ts";
import { TestWorker } from "./support/workers.ts";
import type { EventfdWriterJob } from "./workers/jobs.ts";

const { eventfd } = dlopen("libc.so.6", { eventfd: { args: ["u32", "i32"], returns: "i32" } }).symbols;
const EFD_CLOEXEC = 0o2000000;
const POLLIN = 1;
const rounds = times(300);

for (const way of ["polls", "reads"])
  test(`all ${way} of an eventfd that another thread writes to complete, even if the kernel signals no ring`, () =>
    leavingNothing(async () => {
      const fd = eventfd(0, EFD_CLOEXEC);
      const word = new Int32Array(new SharedArrayBuffer(4));
      const writer = new TestWorker<string>("eventfd-writer", { fd, word } satisfies EventfdWriterJob);
      await writer.answer();
      {
        await using ring = new Ring();
        const bytes = shared(8);
        for (let round = 0; round < rounds; round++) {
          const comes = way === "polls" ? ring.poll(fd, POLLIN) : ring.read(fd, bytes);
          await Promise.resolve(); // by now a microtask has submitted the request
          Atomics.store(word, 0, 1);
          Atomics.notify(word, 0);
          await comes;
          if (way === "polls") expect(await ring.read(fd, bytes)).toBe(8);
        }
      }
      Atomics.store(word, 0, 2);
      Atomics.notify(word, 0);
      await writer.ended;
      closeSync(fd);
    }));
