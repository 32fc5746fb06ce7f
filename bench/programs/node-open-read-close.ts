/** Opens each file through node:fs/promises, reads it into memory of its own and closes it. */
import { open } from "node:fs/promises";
import { inLanes, serveFiles } from "./files.ts";

const free: Buffer[] = [];

await serveFiles((paths) =>
  inLanes(paths, async (path) => {
    const buffer = free.pop() ?? Buffer.alloc(2 ** 16);
    const file = await open(path);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    await file.close();
    free.push(buffer);
    return bytesRead;
  }),
);
