/** Copies files with copyFile of node:fs/promises. */
import { copyFile } from "node:fs/promises";
import { serveCopies } from "./written.ts";

await serveCopies(copyFile);
