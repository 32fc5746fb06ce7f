/** Writes files with Bun.write. */
import { content, serveWrites } from "./written.ts";

await serveWrites((path) => Bun.write(path, content));
