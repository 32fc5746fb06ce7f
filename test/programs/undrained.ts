/** Terminates a Worker whose ring cannot be drained. Exits on any input, because the termination never completes. */
import { sockets } from "../support/pipes.ts";
import { TestWorker } from "../support/workers.ts";

using ends = sockets();
const worker = new TestWorker<string>("undrainable", ends.readFd);
await worker.answer();
process.stdin.once("data", () => process.exit(0));
await worker.terminate();
console.log("terminated");
