import { test } from "bun:test";
import { completeLate, leaveOpen } from "./leave-open.ts";

test("late writes to the rings of the previous file do not hit this file's memory", async () => {
  await completeLate();
  leaveOpen();
});
