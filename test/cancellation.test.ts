import { expect, test } from "bun:test";
import { IoUringEngine } from "../lib/engines/io-uring.ts";
import * as builders from "../lib/requests/builders.ts";
import type { Operation } from "../lib/requests/operation.ts";
import { RequestQueue } from "../lib/requests/queue.ts";
import { uringOptions } from "../lib/uring/options.ts";
import { thrown } from "./support/errors.ts";
import { sockets } from "./support/pipes.ts";
import { leavingNothing } from "./support/resources.ts";

/** An engine whose first cancellations find nothing, as the kernel's do between two operations of a chain. */
class LateEngine extends IoUringEngine<Operation> {
  lost = 0;

  override cancel(request: Operation): void {
    if (this.lost < 3) this.lost++;
    else super.cancel(request);
  }
}

test("an aborted operation of a chain is cancelled until it completes, although cancellations find nothing at first", () =>
  leavingNothing(async () => {
    using ends = sockets();
    const engine = new LateEngine(uringOptions({ entries: 4, cqEntries: 8 }));
    const queue = new RequestQueue(engine);
    const controller = new AbortController();
    const [first, second] = queue.startChain<Promise<unknown>>([
      () => queue.run(builders.nop),
      () => queue.run(() => builders.poll(ends.readFd, 1), controller.signal),
    ]);
    await first;
    const reason = new Error("out");
    controller.abort(reason);
    expect(await thrown(() => second)).toBe(reason);
    while (queue.inFlight > 0) await queue.run(builders.nop);
    expect(engine.lost).toBe(3);
    await queue.close();
  }));
