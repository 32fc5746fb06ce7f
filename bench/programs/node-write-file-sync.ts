/** Writes files one after the other with writeFileSync. */
import { writeFileSync } from "node:fs";
import { content, serveWritesSync } from "./written.ts";

await serveWritesSync((path) => writeFileSync(path, content));
