import { test } from "bun:test";
import { leaveOpen } from "./leave-open.ts";

test("leaves rings open", leaveOpen);
