/** Writes files with Ring.writeFile. */
import { Ring } from "bun-uring";
import { pool } from "./shared-pool.ts";
import { content, serveWrites } from "./written.ts";

const ring = new Ring({ pool });

await serveWrites((path) => ring.writeFile(path, content));
