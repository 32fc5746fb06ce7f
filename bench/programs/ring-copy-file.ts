/** Copies files with copyFile through one Ring and its pool. */
import { copyFile, Ring } from "bun-uring";
import { pool } from "./shared-pool.ts";
import { serveCopies } from "./written.ts";

const ring = new Ring({ pool });

await serveCopies((source, destination) => copyFile(source, destination, { ring, pool }));
