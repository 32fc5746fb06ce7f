/**
 * handle-places.ts COUNT: opens files, and prints how many handles are listed, and of how many, and how many of the
 * first 1000, the place that made them is recorded. With the environment variable ASK it asks for tracking itself.
 */
import { openHandles, Ring, trackHandles } from "bun-uring";

if (process.env["ASK"] === "1") trackHandles(true);
await using ring = new Ring();
const files = [];
for (let count = 0; count < Number(process.argv[2]); count++) files.push(await ring.open(import.meta.path));
const places = openHandles().map(({ madeAt }) => madeAt.includes("handle-places.ts"));
const recorded = (some: readonly boolean[]) => some.filter(Boolean).length;
console.log(
  JSON.stringify({ open: places.length, first: recorded(places.slice(0, 1000)), withPlace: recorded(places) }),
);
