/**
 * Makes pools as root, becomes another user who may lock 8 MiB, and prints how rings here and in a Worker can then use
 * these pools. Argument: "setuid", "seteuid", or "capset", which stays root but drops all capabilities.
 */
import { closeSync, openSync } from "node:fs";
import { BufferPool, Ring, UringError } from "bun-uring";
import { becomeUser, dropCapabilities, limitMemlock } from "../support/restrictions.ts";
import { TestWorker } from "../support/workers.ts";

const fd = openSync(process.execPath, "r");
const small = new BufferPool({ count: 4, size: 65536 });
const second = new BufferPool({ count: 4, size: 65536 });
const large = new BufferPool({ count: 256, size: 65536 });
const before = new Ring({ pool: small });
const worker = new TestWorker<string>("pool-joiner", { handles: [small.share(), second.share()], fd });
await worker.answer(); // the Worker's source may be readable only for root, so it is loaded first

limitMemlock(8 * 2 ** 20);
const id = 2 ** 20 + process.pid;
if (process.argv[2] === "capset") dropCapabilities();
else if (process.argv[2] === "seteuid") process.seteuid?.(id);
else becomeUser(id);

async function use(name: string, pools: readonly BufferPool[], own?: Ring): Promise<void> {
  try {
    await using ring = own ?? new Ring({ pool: [...pools] });
    const reads: number[] = [];
    for (const pool of pools) {
      using buffer = await pool.acquire();
      reads.push(await ring.readFixed(fd, buffer, { position: 0, length: 100 }));
    }
    console.log(`${name}: ${ring.bufferSource}, read ${reads.join(" and ")}`);
  } catch (error) {
    if (!(error instanceof UringError)) throw error;
    console.log(
      `${name}: ${error.code} ${error.syscall}. ${error.hint
        ?.replace(/\d{7,}/g, "N")
        .split(". ")
        .slice(0, 1)
        .join()}`,
    );
  }
}

await use("a ring of before", [small], before);
await use("an older pool", [small]);
await use("two older pools", [small, second]);
await use("an older pool that is too large", [large]);
const later = new BufferPool({ count: 2, size: 4096 });
await use("a later pool", [later]);
await use("a later and an older one", [later, small]);
await use("an older and a later one", [small, later]);
worker.tell("go");
console.log(`in a Worker: ${await worker.answer()}`);
await worker.terminate();
for (const pool of [small, second, large, later]) pool.close();
closeSync(fd);
