/** Reads blocks through Bun.file, which allocates memory for each read. */
import { serveRounds } from "./rounds.ts";
import { checkResult, job, Positions, runLanes } from "./transfers.ts";

const file = Bun.file(job.path);
const positions = new Positions();

await serveRounds((operations) =>
  runLanes(operations, job.depth, async (_, count) => {
    for (let operation = 0; operation < count; operation++) {
      const position = positions.next();
      checkResult((await file.slice(position, position + job.blockBytes).arrayBuffer()).byteLength);
    }
  }),
);
