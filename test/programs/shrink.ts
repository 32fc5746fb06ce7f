/** Preloaded for checksum.ts: truncates a file as soon as the program has read its size. */

import { mock } from "bun:test";
import * as fs from "node:fs";

const target = process.env["BUN_URING_SHRINK"];
const { statSync, truncateSync } = fs;
mock.module("node:fs", () => ({
  ...fs,
  statSync: (path: string) => {
    const stat = statSync(path);
    if (path === target) truncateSync(path, 10 * 2 ** 20 + 100);
    return stat;
  },
}));
