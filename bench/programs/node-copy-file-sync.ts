/** Copies files one after the other with copyFileSync. */
import { copyFileSync } from "node:fs";
import { serveCopiesSync } from "./written.ts";

await serveCopiesSync(copyFileSync);
