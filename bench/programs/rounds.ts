/**
 * Protocol between the benchmark and a contender's process. Each line of standard input requests a round and holds its
 * number of operations. Each line of standard output answers with the round's figures as JSON. A contender that runs in
 * a Worker gets and answers messages of its parent instead, which measures the round: see in-workers.ts.
 */
import { createInterface } from "node:readline";
import { parentPort } from "node:worker_threads";

/**
 * Runs a round for each line of standard input, then exits. Properties of an object that `run` returns are added to the
 * figures, or replace them.
 */
export async function serveRounds(run: (operations: number) => unknown): Promise<void> {
  if (parentPort !== null) {
    const port = parentPort;
    port.on("message", async (operations: number) => {
      await run(operations);
      port.postMessage("done");
    });
    port.postMessage("ready");
    return;
  }
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const operations = Number(line);
    const processor = process.cpuUsage();
    const started = Bun.nanoseconds();
    const told: unknown = await run(operations);
    const wallNs = Bun.nanoseconds() - started;
    const { user, system } = process.cpuUsage(processor);
    console.log(
      JSON.stringify({
        operations,
        wallNs,
        processorNs: (user + system) * 1000,
        ...(typeof told === "object" ? told : {}),
      }),
    );
  }
  process.exit(); // even if Workers or servers are still running
}
