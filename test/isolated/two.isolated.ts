import { test } from "bun:test";
import { completeLate, leaveOpen } from "./leave-open.ts";

test("is not hit by what the file before left open", async () => {
  await completeLate();
  leaveOpen();
});
