/** Asks for the status of each file, in one of several ways. */
import { statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { Ring } from "bun-uring";
import { inLanes, serveFiles } from "./files.ts";

const way = process.argv[6];

if (way === "node:fs sync") {
  await serveFiles((paths) => {
    let sum = 0;
    for (const path of paths) sum += statSync(path).size;
    return sum;
  });
} else if (way === "node:fs/promises") {
  await serveFiles((paths) => inLanes(paths, async (path) => (await stat(path)).size));
} else if (way === "Ring.statx") {
  const ring = new Ring();
  await serveFiles((paths) => inLanes(paths, async (path) => Number((await ring.statx(path)).size)));
} else {
  throw new Error(`no way ${way}`);
}
