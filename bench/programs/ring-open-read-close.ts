/** Opens each file through a Ring, reads it into a slot and closes it. */
import { Ring } from "bun-uring";
import { inLanes, serveFiles } from "./files.ts";
import { pool } from "./shared-pool.ts";

const ring = new Ring({ pool });

await serveFiles((paths) =>
  inLanes(paths, async (path) => {
    using buffer = await pool.acquire();
    const file = await ring.open(path);
    const bytesRead = await ring.readFixed(file, buffer, { position: 0 });
    await file.close();
    return bytesRead;
  }),
);
