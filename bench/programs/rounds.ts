/** How a contender's process is asked for rounds: a number of operations on a line of its standard input, a line of figures back. */
import { createInterface } from "node:readline";

/** Does a round of `operations` for each line that comes, until there are no more. What it returns is told besides the times, or in their place. */
export async function serveRounds(run: (operations: number) => unknown): Promise<void> {
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const operations = Number(line);
    const processor = process.cpuUsage();
    const started = Bun.nanoseconds();
    const told: unknown = await run(operations);
    const wallNs = Bun.nanoseconds() - started;
    const { user, system } = process.cpuUsage(processor);
    console.log(JSON.stringify({ operations, wallNs, processorNs: (user + system) * 1000, ...(typeof told === "object" ? told : {}) }));
  }
  process.exit(); // whatever Workers and servers there are
}
